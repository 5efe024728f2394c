// SPDX-License-Identifier: Apache-2.0
//
// Clock: the domain's time stamps, as cheap as the machine allows.
//
// What it is: the time stamp counter where it is invariant, CLOCK_MONOTONIC otherwise; which one,
// and how ticks become nanoseconds, stands in the region header so that all clients agree. What it
// is not: a wall clock. Thread-safety: all functions may be called from any thread.
//
//   std::uint64_t ticks = clock.now();
//   std::uint64_t age_ns = clock.elapsed_ns(ticks);
#pragma once

#include <time.h>

#include <cstdint>

#include "resmgr/abi/layout.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace resmgr {

/// CLOCK_MONOTONIC, nanoseconds.
[[nodiscard]] inline std::uint64_t monotonic_ns() noexcept {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<std::uint64_t>(ts.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(ts.tv_nsec);
}

__extension__ using WideTicks = unsigned __int128;  // products of 64-bit ticks and multipliers

class Clock {
 public:
  Clock() noexcept = default;
  /// Follows the parameters found in a region header; a kind this build does not know counts as
  /// CLOCK_MONOTONIC.
  explicit Clock(const rm_clock& parameters) noexcept : p_(parameters) {}

  /// Chooses a source and calibrates it; takes some milliseconds the first time in a process.
  [[nodiscard]] static rm_clock calibrate() noexcept;

  [[nodiscard]] std::uint64_t now() const noexcept {
#if defined(__x86_64__)
    if (p_.kind == 1) return __rdtsc();
#endif
    return monotonic_ns();
  }
  /// Nanoseconds between `since` (ticks) and now; 0 if `since` lies ahead or is 0.
  [[nodiscard]] std::uint64_t elapsed_ns(std::uint64_t since) const noexcept {
    const std::uint64_t ticks = now();
    return since == 0 || since > ticks ? 0 : to_ns(ticks - since);
  }
  /// A duration in ticks as nanoseconds.
  [[nodiscard]] std::uint64_t to_ns(std::uint64_t ticks) const noexcept {
    if (p_.kind == 0) return ticks;
    return static_cast<std::uint64_t>((static_cast<WideTicks>(ticks) * p_.mult) >>
                                      (p_.shift & 63u));
  }
  /// A time stamp as CLOCK_MONOTONIC nanoseconds.
  [[nodiscard]] std::uint64_t to_monotonic_ns(std::uint64_t ticks) const noexcept {
    if (p_.kind == 0) return ticks;
    return ticks >= p_.base_ticks ? p_.base_ns + to_ns(ticks - p_.base_ticks)
                                  : p_.base_ns - to_ns(p_.base_ticks - ticks);
  }

 private:
  rm_clock p_{};
};

}  // namespace resmgr
