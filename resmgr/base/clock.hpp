// SPDX-License-Identifier: Apache-2.0
//
// Clock: the domain's time, nanoseconds of CLOCK_MONOTONIC, and stamps that say how exact they are.
//
// What it is: now() for waits and reports; coarse() for what many pay for, the kernel's last tick
// (1 to 10 ms old at most), which spares the time stamp counter, whose reading costs more than a
// compare-and-swap on many machines. A stamp is a time whose lowest bit tells whether it was read
// by now(). What it is not: a wall clock. All are one time line for all processes of a machine.
// Thread-safety: all functions may be called from any thread.
//
//   slot.acquired_at = Clock::stamp(Clock::coarse());
//   std::uint64_t age_ns = Clock::elapsed_ns(slot.acquired_at);   // as exact as the stamp
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
  [[nodiscard]] static std::uint64_t coarse() noexcept {
    return detail::read_clock(CLOCK_MONOTONIC_COARSE);
  }
  /// The stamp of a time that may be some milliseconds old.
  [[nodiscard]] static constexpr std::uint64_t stamp(std::uint64_t coarse) noexcept {
    return coarse & ~std::uint64_t{1};
  }
  /// The stamp of a time that now() returned.
  [[nodiscard]] static constexpr std::uint64_t exact_stamp(std::uint64_t now) noexcept {
    return now | 1;
  }
  [[nodiscard]] static constexpr bool is_exact(std::uint64_t stamp) noexcept {
    return (stamp & 1) != 0;
  }
  /// Nanoseconds since a time or a stamp; 0 if it lies ahead or is 0.
  [[nodiscard]] static std::uint64_t elapsed_ns(std::uint64_t since) noexcept {
    return between(since, now());
  }
  /// The same at a time that now() returned.
  [[nodiscard]] static constexpr std::uint64_t between(std::uint64_t since,
                                                       std::uint64_t present) noexcept {
    return since == 0 || since > present ? 0 : present - since;
  }
};

}  // namespace resmgr
