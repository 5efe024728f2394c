// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of statistics: what became of a type's resources and of requests for them, and
// which resource costs the most waiting.
//
// What it is: plain values that libhal and the tools share, made from what all processes of a
// domain counted. What it is not: exact to the last one: a process that is killed between the end
// of a request and its count leaves it out; nor a secret, nor proof of anything, for every client
// can write those counts.
//
// Lifetime and thread-safety: plain values.
//
//   auto memory = manager->statistics(hal::ResourceType::Memory);
//   if (memory && memory->waits.p99_ns > 1'000'000) ...
#pragma once

#include <cstdint>
#include <string>

#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr {

/// Requests that queued, and those that were refused. (What is free is acquired without a wait;
/// and who had it after a look of a few microseconds did not queue.) Of acquire_any() the resource
/// counts that was granted, or the first one that was asked for.
struct WaitStatistics {
  std::uint64_t granted = 0;  ///< that had queued
  std::uint64_t would_block = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t deadlocks = 0;  ///< victims, and who asked for what he holds
  std::uint64_t preempted = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t gone = 0;  ///< the resource was unregistered, or its owner died
  /// For want of rights, by the order of classes, in quarantine, and the like.
  std::uint64_t refused = 0;
  std::uint64_t granted_ns = 0;  ///< waited by those that were granted
  std::uint64_t failed_ns = 0;   ///< and by the others
  /// Times that so many of the granted did not exceed: at most a quarter above the truth.
  std::uint64_t p50_ns = 0;
  std::uint64_t p90_ns = 0;
  std::uint64_t p99_ns = 0;
  std::uint64_t longest_ns = 0;  ///< of all

  [[nodiscard]] constexpr std::uint64_t failed() const noexcept {
    return would_block + timed_out + deadlocks + preempted + cancelled + gone + refused;
  }
  [[nodiscard]] constexpr std::uint64_t average_ns() const noexcept {
    return granted == 0 ? 0 : granted_ns / granted;
  }
};

/// Of the resources of one type, and of one owner, if one was named.
struct TypeStatistics {
  std::uint64_t current = 0;  ///< resources that there are
  std::uint64_t peak = 0;     ///< that there were at once
  std::uint64_t created = 0;
  std::uint64_t destroyed = 0;
  std::uint64_t acquisitions = 0;  ///< of all that there were, both kinds
  std::uint32_t held = 0;          ///< resources that somebody holds
  std::uint32_t waiting = 0;       ///< requests that are queued
  WaitStatistics waits;
  std::uint64_t average_age_ns = 0;   ///< of those that there are
  std::uint64_t average_hold_ns = 0;  ///< of one recent hold of each that was sampled; 0: none was
  std::uint64_t size_bytes = 0;       ///< of those that there are
  std::uint64_t page_bytes = 0;       ///< the same in whole pages

  /// Of all requests: those that were granted. 1 where there were none.
  [[nodiscard]] constexpr double success_rate() const noexcept {
    const double all = static_cast<double>(acquisitions) + static_cast<double>(waits.failed());
    return all == 0 ? 1 : static_cast<double>(acquisitions) / all;
  }
  /// Of all acquisitions: those that had to queue. 0 where there were none.
  [[nodiscard]] constexpr double contention() const noexcept {
    if (acquisitions == 0) return 0;
    const double share = static_cast<double>(waits.granted) / static_cast<double>(acquisitions);
    return share < 1 ? share : 1;
  }
  /// Internal: the share of the pages behind resources that nobody asked for, since memory comes in
  /// whole pages. (What is free between them is the kernel's, and no fragment of ours.)
  [[nodiscard]] constexpr double fragmentation() const noexcept {
    if (page_bytes == 0) return 0;
    return 1 - static_cast<double>(size_bytes) / static_cast<double>(page_bytes);
  }
};

/// A resource, and what waiting for it has cost.
struct Bottleneck {
  Handle handle;
  std::string name;
  ResourceType type = ResourceType::Custom;
  std::string owner;             ///< driver; empty: none named
  std::uint64_t waited_ns = 0;   ///< by all who queued for it, those included who still do
  std::uint64_t longest_ns = 0;  ///< of these
  std::uint64_t waits = 0;       ///< that ended
  std::uint32_t waiting = 0;     ///< that go on
  /// Who held it when the longest of those that ended began, as far as one context did.
  std::string blamed_driver;     ///< empty: none named, or not known
  std::uint32_t blamed_pid = 0;  ///< 0: not known
  /// Who holds it now, if one context does.
  std::string holder_driver;
  std::uint32_t holder_pid = 0;
  std::uint64_t held_ns = 0;
};

}  // namespace resmgr
