// SPDX-License-Identifier: Apache-2.0
//
// Refusals: what the manager does not let happen, provoked and kept for explanation.
//
// What it is: two threads that take two buffers crosswise, one of which is refused as it would wait
// for ever; and one thread that takes two classes of resources in one order and then in the other,
// which policy Refuse forbids before anybody waits. Both are real: with plain mutexes the first
// hangs and the second hangs one day. What it is not: a test of the engine; those are in tests/.
// Lifetime and thread-safety: functions with a domain of their own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

#include "tools/demo/failure.hpp"

namespace demo {

/// One of the two threads of the deadlock.
struct Party {
  std::string driver;
  std::string had;
  std::string wanted;
  std::optional<hal::Error> refused = {};
};

struct Deadlock {
  std::vector<Party> parties;
  /// Exactly one was refused, by a deadlock that names a cycle.
  [[nodiscard]] bool as_promised() const;
};

struct Inversion {
  std::optional<hal::Error> refused = {};
  [[nodiscard]] bool as_promised() const;
};

struct Refusals {
  Deadlock deadlock;
  Inversion inversion;
  std::vector<std::string> left;  ///< a line for each hold that was left behind
};

[[nodiscard]] Outcome<Refusals> provoke_refusals(hal::LogSink log);

}  // namespace demo
