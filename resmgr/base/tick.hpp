// SPDX-License-Identifier: Apache-2.0
//
// Tick: the time as somebody wrote it down a moment ago.
//
// What it is: one word that a ticker sets every few milliseconds while many ask for the time, so
// that each of them pays for a load instead of a clock. What it is not: a clock. It stands still
// when its ticker is late, and is 0 while nobody keeps it; then ask Clock.
//
// Thread-safety: any thread. Lifetime: a plain value, never moved while others look at it.
//
//   const std::uint64_t ns = tick.ns();
//   if (ns == 0) ns = Clock::coarse();
#pragma once

#include <cstdint>

#include "resmgr/base/atomic.hpp"

namespace resmgr {

class Tick {
 public:
  /// CLOCK_MONOTONIC of the last tick, nanoseconds; 0: nobody keeps it. Relaxed: nothing is read by
  /// the order of times.
  [[nodiscard]] std::uint64_t ns() const noexcept { return load_relaxed(ns_); }
  void set(std::uint64_t ns) noexcept { store_relaxed(ns_, ns); }
  void stop() noexcept { store_relaxed(ns_, 0); }

 private:
  std::uint64_t ns_ = 0;
};

}  // namespace resmgr
