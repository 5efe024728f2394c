// SPDX-License-Identifier: Apache-2.0
//
// One meter, many threads, by a clock that they move themselves.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <random>
#include <thread>
#include <vector>

#include "resmgr/budget/meter.hpp"
#include "tests/base/seed.hpp"
#include "tests/budget/meter_support.hpp"

namespace resmgr::budget {
namespace {

using test::kSecond;
using test::rate_of;
using test::took;

constexpr std::uint64_t kStart = 1000 * kSecond;
constexpr std::uint64_t kEnd = kStart + 10 * kSecond;

struct Scene {
  MeterRate rate;
  std::latch start;
  std::uint64_t step;  ///< nanoseconds that the clock moves when somebody was refused
  alignas(64) std::uint64_t word = 0;
  alignas(64) std::atomic<std::uint64_t> now{kStart};
};

/// Takes what it can get until the time is over, in amounts that are a small part of the burst.
std::uint64_t take_part(Scene& scene, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::uint64_t> amounts(1, scene.rate.burst() / 1000);
  Meter meter(scene.word, scene.rate);
  std::uint64_t total = 0;
  scene.start.arrive_and_wait();
  for (std::uint64_t now = scene.now; now < kEnd; now = scene.now) {
    const std::uint64_t amount = amounts(random);
    if (took(meter.try_charge(amount, now))) {
      total += amount;
    } else {
      scene.now += scene.step;
    }
  }
  return total;
}

class MeterThreads : public ::testing::TestWithParam<unsigned> {};

// Together they get the burst and what came in ten seconds. Nothing runs over: whoever was refused
// saw less than a thousandth of a burst, and a step is a hundredth of one.
TEST_P(MeterThreads, GetWhatOneWouldGet) {
  const std::uint64_t seed = resmgr::test::seed();
  for (const std::uint64_t tokens :
       {100'000ull, 999'983ull, 10'000'000'019ull, 999'999'999'989ull}) {
    const std::uint64_t burst = tokens / 10;
    Scene scene{
        .rate = rate_of(tokens, burst), .start = std::latch(GetParam()), .step = kSecond / 1000};
    std::vector<std::uint64_t> totals(GetParam());
    {
      std::vector<std::jthread> threads;
      for (unsigned i = 0; i < GetParam(); ++i) {
        threads.emplace_back([&, i] { totals[i] = take_part(scene, seed + i); });
      }
    }
    std::uint64_t total = 0;
    for (const std::uint64_t part : totals) total += part;
    const std::uint64_t end = scene.now;
    const std::int64_t rest = Meter(scene.word, scene.rate).level(end);
    ASSERT_GE(rest, 0);
    ASSERT_LT(rest, static_cast<std::int64_t>(burst / 2));
    const double come = static_cast<double>(tokens) * (static_cast<double>(end - kStart) / kSecond);
    EXPECT_NEAR(static_cast<double>(total) + static_cast<double>(rest),
                static_cast<double>(burst) + come, 3)
        << tokens << " a second";
  }
}

INSTANTIATE_TEST_SUITE_P(OfOneAndOfEight, MeterThreads, ::testing::Values(1u, 8u));

}  // namespace
}  // namespace resmgr::budget
