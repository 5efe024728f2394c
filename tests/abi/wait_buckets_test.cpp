// SPDX-License-Identifier: Apache-2.0
//
// Percentiles of waiting times against the times themselves.
#include "resmgr/abi/wait_buckets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace resmgr {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST(WaitBuckets, FollowEachOtherWithoutAGap) {
  for (std::uint32_t bucket = 0; bucket + 1 < RM_WAIT_BUCKETS; ++bucket) {
    const std::uint64_t longest = longest_of_bucket(bucket);
    EXPECT_EQ(wait_bucket(longest), bucket);
    EXPECT_EQ(wait_bucket(longest + 1), bucket + 1);
  }
  EXPECT_EQ(wait_bucket(0), 0u);
  EXPECT_EQ(wait_bucket(kMost), RM_WAIT_BUCKETS - 1);
  EXPECT_EQ(longest_of_bucket(RM_WAIT_BUCKETS - 1), kMost);
}

// The definition: the smallest time that so many do not exceed.
std::uint64_t exact(const std::vector<std::uint64_t>& sorted, std::uint32_t thousandths) {
  const std::uint64_t rank = (sorted.size() * thousandths + 999) / 1000;
  return sorted[std::max<std::uint64_t>(rank, 1) - 1];
}

TEST(WaitBuckets, APercentileIsAtMostAQuarterAboveTheTruth) {
  std::mt19937_64 random(20240607);
  for (int round = 0; round < 200; ++round) {
    std::uniform_real_distribution<double> exponent(6, 6 + round % 30);
    std::vector<std::uint64_t> times(1 + random() % 3000);
    WaitBuckets buckets{};
    for (std::uint64_t& ns : times) {
      ns = static_cast<std::uint64_t>(std::exp2(exponent(random)));
      ++buckets[wait_bucket(ns)];
    }
    std::ranges::sort(times);
    for (const std::uint32_t thousandths : {1u, 500u, 900u, 990u, 999u, 1000u}) {
      const std::uint64_t truth = exact(times, thousandths);
      const std::uint64_t said = percentile(buckets, thousandths);
      ASSERT_GE(said, truth) << thousandths << " of " << times.size();
      ASSERT_LE(said, truth + truth / 4) << thousandths << " of " << times.size();
    }
  }
}

TEST(WaitBuckets, NothingCountedIsNoTime) {
  const WaitBuckets none{};
  EXPECT_EQ(percentile(none, 500), 0u);
  EXPECT_EQ(percentile(none, 5000), 0u);
}

// What anybody may have written there.
TEST(WaitBuckets, NoiseIsATimeOfSomeBucket) {
  WaitBuckets noise{};
  noise.fill(kMost);
  EXPECT_EQ(percentile(noise, 0), longest_of_bucket(0));
  EXPECT_EQ(percentile(noise, 1000), longest_of_bucket(0)) << "sums stay at the most there is";
  std::mt19937_64 random(7);
  for (int round = 0; round < 1000; ++round) {
    for (std::uint64_t& count : noise) count = random() >> random() % 64;
    const std::uint64_t said = percentile(noise, static_cast<std::uint32_t>(random() % 1001));
    EXPECT_EQ(longest_of_bucket(wait_bucket(said)), said);
  }
}

}  // namespace
}  // namespace resmgr
