// SPDX-License-Identifier: Apache-2.0
//
// SoakOracle: whether what the processes of a soak wrote down can be true of a sound domain.
//
// What it is: a judge of all their logs together, by their stamps, when it is over. A hold is known
// to last from when its holder had it in hand until he was about to let it go, or to be killed, so
// that what overlaps there overlapped in truth (I1). Each request has one outcome, not long after
// it is due, or its process died (I6). Who is granted what a dead one held exclusively is told that
// it is inconsistent, until somebody repaired it, and nobody else is told so; who died while he
// asked or let go may have held it or not, and leaves both open. So he does until he is buried: who
// waits is granted what he waits for as long as nobody knows that he is dead. What a process was
// told that it registered it finds, under the same handle, until it unregisters it, and not after
// that, whichever daemon it asks.
// What it is not: exact where a stamp is too late for an overlap to show.
// Lifetime: owns what it was given. Thread-safety: one thread.
//
//   SoakOracle oracle(kGraceNs);
//   for (SoakLog& log : logs) oracle.add(std::move(log));
//   for (const std::string& violation : oracle.judge()) ADD_FAILURE() << violation;
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/kill/soak_log.hpp"

namespace resmgr::test {

class SoakOracle {
 public:
  /// What an outcome may be late by; the time in which its process was stopped counts extra.
  explicit SoakOracle(std::uint64_t grace_ns) : grace_ns_(grace_ns) {}

  void add(SoakLog log) { logs_.push_back(std::move(log)); }
  /// What can't be, in words.
  [[nodiscard]] std::vector<std::string> judge();

  struct Counts {
    std::uint64_t grants = 0;
    std::uint64_t refusals = 0;
    std::uint64_t died_holding = 0;  ///< exclusive holds that ended so
    std::uint64_t told = 0;          ///< grants of what was inconsistent
    std::uint64_t look_ups = 0;      ///< of what was registered
    std::uint64_t latest_ns = 0;     ///< after it was due, not stopped
  };
  [[nodiscard]] const Counts& counts() const noexcept { return counts_; }

 private:
  enum class Kind : std::uint8_t;  ///< of what happened to a resource
  struct Point;
  class Life;
  class History;

  std::uint64_t grace_ns_;
  std::vector<SoakLog> logs_;
  Counts counts_;
};

}  // namespace resmgr::test
