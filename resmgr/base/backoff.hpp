// SPDX-License-Identifier: Apache-2.0
//
// Backoff: how long to pause before the next attempt at what failed.
//
// What it is: pauses that double up to a longest one, each cut at random by up to a half, so that
// many who failed at one moment do not come back at one moment. What it is not: a clock, or a
// sleep; nor random enough for secrets. Units: nanoseconds.
//
// Lifetime: a plain value. Thread-safety: one thread.
//
//   Backoff backoff(1'000'000, seed);
//   while (!attempt()) pause_for(backoff.next(1'000'000'000));
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

namespace resmgr {

class Backoff {
 public:
  /// `first_ns`: above 1. `seed`: another one for each who may fail together with others.
  Backoff(std::uint64_t first_ns, std::uint64_t seed) noexcept
      : first_ns_(first_ns), next_ns_(first_ns), random_(seed) {}

  /// From half of what is due to all of it, which is at most `longest_ns`.
  [[nodiscard]] std::uint64_t next(std::uint64_t longest_ns) noexcept {
    const std::uint64_t due = std::min(next_ns_, longest_ns);
    next_ns_ = std::min(2 * due, longest_ns);
    return due - random_() % (due / 2 + 1);
  }
  /// It did not fail: the next pause is a first one.
  void reset() noexcept { next_ns_ = first_ns_; }

 private:
  std::uint64_t first_ns_;
  std::uint64_t next_ns_;
  std::minstd_rand random_;
};

}  // namespace resmgr
