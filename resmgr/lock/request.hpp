// SPDX-License-Identifier: Apache-2.0
//
// Request and Grant: what is asked of the lock engine, and what it gives.
//
// What it is: plain values. What it is not: a wait; see lock/wait.hpp. Lifetime and thread-safety:
// as values; the place of a request names what lives as long as the program.
//
//   engine.acquire(context, handle, {.kind = HoldKind::Shared, .mode = AcquisitionMode::Blocking});
#pragma once

#include <cstdint>
#include <optional>
#include <source_location>

#include "resmgr/base/futex.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::lock {

struct Grant {
  std::uint8_t tenure = 0;
  bool inconsistent = false;
  /// The resource's memory is still to be made (RM_SLOT_ATTR_LAZY). Until it is, the hold counts
  /// for nothing: on_access is not told of it, and revert() takes it back.
  bool lacks_memory = false;
};

struct Request {
  HoldKind kind = HoldKind::Exclusive;
  AcquisitionMode mode = AcquisitionMode::NonBlocking;
  std::uint64_t deadline_ns = kNoDeadline;  ///< CLOCK_MONOTONIC; for Timeout and Emergency
  /// Emergency: how long holders are given to let go by themselves; 0: as usual_yield() says.
  std::uint64_t yield_ns = 0;
  std::optional<ResourcePriority> priority = {};  ///< none: that of the resource
  std::source_location place = {};
  /// Its place among those of one priority; 0: behind all that came before. See take_ticket().
  std::uint64_t ticket = 0;
  /// One of several that are let go of again where waiting for it would be a deadlock: so it
  /// teaches no order of classes.
  bool orderless = false;
  bool authority = false;  ///< of the registry's owner, who needs no rights on what is restricted
  std::uint64_t asked_at = 0;  ///< when, of who read the clock for the deadline; 0: nobody did
};

/// What a resource's slot has counted since it was opened; hints, written without locks.
struct Counters {
  std::uint64_t exclusive_acquisitions = 0;
  std::uint64_t shared_acquisitions = 0;
  std::uint64_t contended = 0;
  std::uint64_t longest_wait_ns = 0;
  std::uint64_t sampled_hold_ns = 0;
};

/// Emergency requests stand before all priorities.
inline constexpr std::uint16_t kEmergencyRank = 0x100;

}  // namespace resmgr::lock
