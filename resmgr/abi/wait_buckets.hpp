// SPDX-License-Identifier: Apache-2.0
//
// Buckets of waiting times: quarters of powers of two, and percentiles from them.
//
// What it is: which bucket of rm_wait_row a time belongs to, and what a histogram says of shares of
// its times, at most a quarter too high and never too low. What it is not: a histogram that counts.
// Lifetime and thread-safety: pure functions.
//
//   ++buckets[wait_bucket(ns)];
//   std::uint64_t p99 = percentile(buckets, 990);
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "resmgr/abi/wait_layout.h"

namespace resmgr {

using WaitBuckets = std::array<std::uint64_t, RM_WAIT_BUCKETS>;

[[nodiscard]] constexpr std::uint32_t wait_bucket(std::uint64_t ns) noexcept {
  if (ns < 1u << RM_WAIT_FIRST_SHIFT) return 0;
  const auto exponent = static_cast<std::uint32_t>(std::bit_width(ns)) - 1;
  const auto quarter = static_cast<std::uint32_t>(ns >> (exponent - 2) & 3u);
  const std::uint32_t bucket = 1 + (exponent - RM_WAIT_FIRST_SHIFT) * 4 + quarter;
  return bucket < RM_WAIT_BUCKETS ? bucket : RM_WAIT_BUCKETS - 1;
}

/// The longest time that belongs there, in nanoseconds. REQUIRES: a bucket that there is.
[[nodiscard]] constexpr std::uint64_t longest_of_bucket(std::uint32_t bucket) noexcept {
  if (bucket == RM_WAIT_BUCKETS - 1) return std::numeric_limits<std::uint64_t>::max();
  const std::uint32_t exponent = RM_WAIT_FIRST_SHIFT + bucket / 4;
  return (std::uint64_t{4 + bucket % 4} << (exponent - 2)) - 1;
}

/// A time that `thousandths` of what was counted did not exceed, in nanoseconds: the longest of its
/// bucket. 0 where nothing was. Counts that no clock can have made are taken as they are.
[[nodiscard]] constexpr std::uint64_t percentile(const WaitBuckets& buckets,
                                                 std::uint32_t thousandths) noexcept {
  const auto plus = [](std::uint64_t a, std::uint64_t b) {
    return a > std::numeric_limits<std::uint64_t>::max() - b
               ? std::numeric_limits<std::uint64_t>::max()
               : a + b;
  };
  std::uint64_t all = 0;
  for (const std::uint64_t count : buckets) all = plus(all, count);
  if (all == 0) return 0;
  if (thousandths > 1000) thousandths = 1000;
  // The rank of the one that is meant, from 1 on; rounded up, in two parts that can't overflow.
  const std::uint64_t rest = all % 1000 * thousandths;
  std::uint64_t rank = all / 1000 * thousandths + (rest + 999) / 1000;
  if (rank == 0) rank = 1;
  std::uint64_t seen = 0;
  for (std::uint32_t bucket = 0; bucket < RM_WAIT_BUCKETS; ++bucket) {
    seen = plus(seen, buckets[bucket]);
    if (seen >= rank) return longest_of_bucket(bucket);
  }
  return longest_of_bucket(RM_WAIT_BUCKETS - 1);
}

}  // namespace resmgr
