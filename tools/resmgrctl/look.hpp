// SPDX-License-Identifier: Apache-2.0
//
// Look: a copy of both regions of a domain, as they were at one time.
//
// What it is: what all verbs read: regions of this process's own, in which nothing moves, checked
// like those of any domain. Words are copied one by one, each whole; what belongs to one slot (its
// entry, its line, its cells, its waiters, and the contexts that they name) is copied again until
// nothing of it moved meanwhile, or kSettleAttempts are over. What it is not: one moment: different
// slots are of different ones; nor trusted, for the regions may hold anything.
//
// Lifetime: owns the copies. Thread-safety: a plain value.
//
//   auto look = Look::take(registry, locks, process_of);
//   Picture picture = Picture::of(*look);
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/lock/region.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgrctl {

/// What is known of a client's process.
enum class Process : std::uint8_t {
  Unknown = 0,  ///< it can't be seen from here
  Alive = 1,
  Gone = 2,
};

/// Says it of the process that has this pid and began at that time (clock ticks since boot).
using ProcessOf = std::function<Process(std::uint32_t pid, std::uint64_t start_time)>;

struct Look {
  static constexpr int kSettleAttempts = 16;

  /// Copies what the regions have memory for. Errors: System, CapacityExceeded (no descriptor
  /// left); those of attaching to regions.
  [[nodiscard]] static resmgr::Result<Look> take(const resmgr::registry::RegistryRegion& registry,
                                                 const resmgr::lock::LockRegion& locks,
                                                 const ProcessOf& process_of);

  resmgr::registry::RegistryRegion registry;
  resmgr::lock::LockRegion locks;
  std::uint64_t taken_at = 0;           ///< ns, CLOCK_MONOTONIC of the domain's machine
  std::uint64_t resident_bytes = 0;     ///< of the two regions that were copied
  std::uint32_t unsettled = 0;          ///< slots that moved at each attempt
  std::vector<Process> processes = {};  ///< by index of the client

  [[nodiscard]] Process process(std::uint32_t client) const noexcept {
    return client < processes.size() ? processes[client] : Process::Unknown;
  }
};

}  // namespace resmgrctl
