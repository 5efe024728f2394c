// SPDX-License-Identifier: Apache-2.0
//
// What a process of a soak writes down about itself, where it is found when it is dead.
//
// What it is: SoakRing, a ring of entries in shared memory with one writer and one reader, and
// SoakLog, all that was read of one process's life. What it is not: a wait for the reader: entries
// that he missed are overwritten, and he is told. An entry is there when it is whole, so that one
// whose writer died in the middle is not there.
// Lifetime: a ring is where its processes share it. Thread-safety: one writer, one reader.
//
//   ring.write({.what = SoakEvent::Asked, .resource = 3, .exclusive = true, .deadline_ns = end});
//   ...
//   if (!ring.read_into(log.entries)) ...   // in another process; some were missed
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "resmgr/base/clock.hpp"

namespace resmgr::test {

enum class SoakEvent : std::uint8_t {
  Asked,         ///< is about to acquire
  Granted,       ///< has it
  Refused,       ///< was told why not
  Repaired,      ///< has told that it is consistent again
  Releasing,     ///< is about to let it go
  Released,      ///< has let it go
  Registered,    ///< was told that its own resource is
  LookedUp,      ///< that one, by its name
  Unregistered,  ///< was told that it is
  Stopped,       ///< by who runs the soak: is about to be stopped
  Continued,     ///< was told to go on
  Killed,        ///< is about to be killed
  Buried,        ///< is dead, and the domain knows it
};

struct SoakEntry {
  SoakEvent what = SoakEvent::Asked;
  std::uint8_t resource = 0;
  bool exclusive = false;
  bool inconsistent = false;      ///< Granted: it was told so
  std::uint64_t deadline_ns = 0;  ///< Asked: when an outcome is due
  std::uint64_t handle = 0;       ///< Registered, LookedUp: its bits; 0: none
  std::uint64_t at_ns = 0;        ///< CLOCK_MONOTONIC
};

class SoakRing {
 public:
  /// Stamps the entry, unless it has a stamp.
  void write(SoakEntry entry) noexcept {
    if (entry.at_ns == 0) entry.at_ns = monotonic_ns();
    const std::uint64_t number = written_.load(std::memory_order_relaxed);
    entries_[number % kEntries] = entry;
    written_.store(number + 1, std::memory_order_release);
  }
  /// Appends what is new. False if something was overwritten before it was read.
  [[nodiscard]] bool read_into(std::vector<SoakEntry>& entries) {
    const std::uint64_t end = written_.load(std::memory_order_acquire);
    for (std::uint64_t number = read_; number < end; ++number) {
      entries.push_back(entries_[number % kEntries]);
    }
    // The next one to be written has the place of the oldest.
    const bool whole = written_.load(std::memory_order_acquire) - read_ < kEntries;
    read_ = end;
    return whole;
  }
  /// For the next process. REQUIRES: nobody writes.
  void clear() noexcept {
    read_ = 0;
    written_.store(0);
  }

 private:
  static constexpr std::size_t kEntries = 1u << 14;

  std::atomic<std::uint64_t> written_ = 0;
  std::uint64_t read_ = 0;
  std::array<SoakEntry, kEntries> entries_{};
};

/// The life of one process.
struct SoakLog {
  std::vector<SoakEntry> entries;  ///< its own, in order
  std::vector<SoakEntry> fate;     ///< what was done to it, in order
};

}  // namespace resmgr::test
