// SPDX-License-Identifier: Apache-2.0
//
// Clock: the domain's time stamps, nanoseconds of CLOCK_MONOTONIC, in two grains.
//
// What it is: now() for waits and reports, exact; stamp() for the start of a hold, which every pair
// pays for. stamp() reads the kernel's last tick (1 to 4 ms old at most) without touching the time
// stamp counter, whose reading costs more than a compare-and-swap on many virtual machines. What it
// is not: a wall clock. Both are one time line for all processes of a machine. Thread-safety: all
// functions may be called from any thread.
//
//   slot.acquired_at = Clock::stamp();
//   std::uint64_t age_ns = Clock::age_ns(slot.acquired_at);   // a multiple of the tick
#pragma once

#include <time.h>

#include <cstdint>

namespace resmgr {

namespace detail {
[[nodiscard]] inline std::uint64_t read_clock(clockid_t id) noexcept {
  timespec ts{};
  ::clock_gettime(id, &ts);
  return static_cast<std::uint64_t>(ts.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(ts.tv_nsec);
}
}  // namespace detail

/// CLOCK_MONOTONIC, nanoseconds.
[[nodiscard]] inline std::uint64_t monotonic_ns() noexcept {
  return detail::read_clock(CLOCK_MONOTONIC);
}

struct Clock {
  /// Exact, some 20 ns.
  [[nodiscard]] static std::uint64_t now() noexcept { return monotonic_ns(); }
  /// Of the last tick, some 5 ns.
  [[nodiscard]] static std::uint64_t stamp() noexcept {
    return detail::read_clock(CLOCK_MONOTONIC_COARSE);
  }
  /// Nanoseconds since an exact time; 0 if it lies ahead or is 0.
  [[nodiscard]] static std::uint64_t elapsed_ns(std::uint64_t since) noexcept {
    const std::uint64_t present = now();
    return since == 0 || since > present ? 0 : present - since;
  }
  /// Nanoseconds since a stamp, in ticks: 0 within the same tick. 0 if it lies ahead or is 0.
  [[nodiscard]] static std::uint64_t age_ns(std::uint64_t since) noexcept {
    const std::uint64_t present = stamp();
    return since == 0 || since > present ? 0 : present - since;
  }
};

}  // namespace resmgr
