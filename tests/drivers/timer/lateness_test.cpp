// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/lateness.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <vector>

namespace drivers::timer::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

TEST(Lateness, IsZeroWithoutSamples) {
  const Lateness lateness;
  EXPECT_EQ(lateness.summary().samples, 0u);
  EXPECT_EQ(lateness.summary().p99, 0ns);
  EXPECT_EQ(lateness.quantile(0), 0ns);
  EXPECT_EQ(lateness.quantile(1000), 0ns);
}

TEST(Lateness, OneSampleIsAllQuantiles) {
  for (const nanoseconds value : {0ns, 1ns, 31ns, 32ns, 33ns, 1000ns, 999'999'999ns}) {
    Lateness lateness;
    lateness.record(value);
    const LatenessSummary summary = lateness.summary();
    EXPECT_EQ(summary.samples, 1u);
    EXPECT_EQ(summary.min, value);
    EXPECT_EQ(summary.max, value);
    EXPECT_EQ(summary.mean, value);
    EXPECT_EQ(summary.p50, value) << "never above the maximum";
    EXPECT_EQ(summary.p99, value);
    EXPECT_EQ(lateness.quantile(0), value);
  }
}

TEST(Lateness, EarlyCountsAsNotLate) {
  Lateness lateness;
  lateness.record(-5ms);
  lateness.record(nanoseconds::min());
  EXPECT_EQ(lateness.summary().samples, 2u);
  EXPECT_EQ(lateness.summary().max, 0ns);
}

TEST(Lateness, MergedIsAsIfRecordedHere) {
  std::mt19937_64 random(1);
  Lateness all;
  Lateness one;
  Lateness other;
  const auto expect_equal = [](const Lateness& expected, const Lateness& found) {
    EXPECT_EQ(found.summary().samples, expected.summary().samples);
    EXPECT_EQ(found.summary().min, expected.summary().min);
    EXPECT_EQ(found.summary().max, expected.summary().max);
    EXPECT_EQ(found.summary().mean, expected.summary().mean);
    for (std::uint32_t permille = 0; permille <= 1000; permille += 50) {
      EXPECT_EQ(found.quantile(permille), expected.quantile(permille)) << permille;
    }
  };
  for (int i = 0; i < 1000; ++i) {
    const nanoseconds sample(100 + static_cast<std::int64_t>(random() >> (24 + random() % 40)));
    all.record(sample);
    (i % 3 == 0 ? one : other).record(sample);
  }
  one.merge(Lateness());
  Lateness merged;
  merged.merge(one);
  expect_equal(one, merged);
  merged.merge(other);
  expect_equal(all, merged);
}

TEST(Lateness, ExtremesStayInTheTable) {
  Lateness lateness;
  lateness.record(nanoseconds::max());
  lateness.record(nanoseconds(std::int64_t{1} << 42));
  lateness.record(nanoseconds((std::int64_t{1} << 42) - 1));
  EXPECT_EQ(lateness.summary().max, nanoseconds::max());
  EXPECT_EQ(lateness.summary().p99, nanoseconds::max()) << "the last bucket says its maximum";
  EXPECT_EQ(lateness.summary().p50, nanoseconds::max());
}

TEST(Lateness, QuantilesAreAtMostOneIn32TooHigh) {
  const char* given = std::getenv("RESMGR_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::cout << "RESMGR_SEED=" << seed << '\n';
  std::mt19937_64 random(seed);
  for (int round = 0; round < 50; ++round) {
    Lateness lateness;
    std::vector<std::int64_t> samples(1 + random() % 3000);
    for (std::int64_t& sample : samples) {
      sample = static_cast<std::int64_t>(random() >> (24 + random() % 40));
      lateness.record(nanoseconds(sample));
    }
    std::ranges::sort(samples);
    for (const std::uint32_t permille : {0u, 1u, 250u, 500u, 990u, 999u, 1000u, 5000u}) {
      const std::size_t rank = (samples.size() * std::min(permille, 1000u) + 999) / 1000;
      const std::int64_t exact = samples[std::max<std::size_t>(rank, 1) - 1];
      const std::int64_t found = lateness.quantile(permille).count();
      EXPECT_GE(found, exact) << permille;
      EXPECT_LE(found, exact + exact / 32) << permille;
    }
  }
}

}  // namespace
}  // namespace drivers::timer::test
