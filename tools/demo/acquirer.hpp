// SPDX-License-Identifier: Apache-2.0
//
// Acquirer: acquires for one thread, and measures how long it took.
//
// What it is: tries first, then queues, so that requests that were granted at once and those that
// had to wait are told apart. What it is not: needed to acquire; it is three lines of the manager's
// calls between two readings of the clock.
// Lifetime: the manager and the latencies outlive it. Thread-safety: an Acquirer for each thread;
// Latencies by any number.
//
//   Acquirer acquirer(manager, latencies);
//   auto hold = acquirer.acquire(frame, hal::HoldKind::Shared);
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include <hal/resource_manager.hpp>

#include "drivers/timer/lateness.hpp"
#include "tools/demo/failure.hpp"

namespace demo {

/// Two histograms, shared by all threads.
class Latencies {
 public:
  using Summary = drivers::timer::LatenessSummary;

  void record_at_once(std::chrono::nanoseconds time);
  void record_waited(std::chrono::nanoseconds time);
  [[nodiscard]] Summary at_once() const;
  [[nodiscard]] Summary waited() const;
  /// The histograms themselves, and those of another process.
  void copy(drivers::timer::Lateness& at_once, drivers::timer::Lateness& waited) const;
  void merge(const drivers::timer::Lateness& at_once, const drivers::timer::Lateness& waited);

 private:
  mutable std::mutex mutex_;  // for what follows
  drivers::timer::Lateness at_once_;
  drivers::timer::Lateness waited_;
};

class Acquirer {
 public:
  Acquirer(hal::ResourceManager& manager, Latencies& latencies) noexcept
      : manager_(manager), latencies_(latencies) {}

  /// Acquires as the calling thread's own context, waiting as long as it takes.
  [[nodiscard]] Outcome<hal::ScopedResource> acquire(hal::Handle handle, hal::HoldKind kind);
  /// Requests that had to wait.
  [[nodiscard]] std::uint64_t waits() const noexcept { return waits_; }

 private:
  hal::ResourceManager& manager_;
  Latencies& latencies_;
  std::uint64_t waits_ = 0;
};

}  // namespace demo
