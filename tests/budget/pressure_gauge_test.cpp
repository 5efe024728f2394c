// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/pressure_gauge.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "tests/base/seed.hpp"
#include "tests/base/support.hpp"

namespace resmgr::budget {
namespace {

using enum ResourcePressure;

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

PressureGauge gauge_of(const PressureThresholds& thresholds) {
  auto gauge = PressureGauge::make(thresholds);
  EXPECT_TRUE(gauge) << gauge.error().message();
  return *gauge;
}
// Medium from 60 %, High from 80 %, Critical from 100 % on; each lasts for 100 at least.
PressureGauge plain() {
  return gauge_of({.warning_percent = 60, .critical_percent = 80, .shortest_ns = 100});
}
PressureSample used(std::uint64_t percent) { return {.budget = {percent, 100}}; }

TEST(PressureGauge, RisesAtOnce) {
  auto gauge = plain();
  EXPECT_EQ(gauge.level(), Low);
  EXPECT_EQ(gauge.update(used(59), 1), Low);
  EXPECT_EQ(gauge.update(used(60), 1), Medium);
  EXPECT_EQ(gauge.update(used(80), 1), High);
  EXPECT_EQ(gauge.update(used(99), 1), High);
  EXPECT_EQ(gauge.update(used(100), 1), Critical);
  EXPECT_EQ(gauge.level(), Critical);
  EXPECT_EQ(plain().update(used(100), 1), Critical) << "over all levels between";
}

TEST(PressureGauge, FallsFivePointsLower) {
  auto gauge = plain();
  ASSERT_EQ(gauge.update(used(100), 1), Critical);
  EXPECT_EQ(gauge.update(used(95), 1000), Critical);
  EXPECT_EQ(gauge.update(used(94), 1000), High);
  EXPECT_EQ(gauge.update(used(75), 2000), High);
  EXPECT_EQ(gauge.update(used(74), 2000), Medium);
  EXPECT_EQ(gauge.update(used(55), 3000), Medium);
  EXPECT_EQ(gauge.update(used(54), 3000), Low);
}

TEST(PressureGauge, LastsForAWhile) {
  auto gauge = plain();
  ASSERT_EQ(gauge.update(used(80), 1000), High);
  EXPECT_EQ(gauge.update(used(0), 1099), High);
  EXPECT_EQ(gauge.update(used(60), 1100), Medium);
  EXPECT_EQ(gauge.update(used(0), 1199), Medium) << "each level by itself";
  EXPECT_EQ(gauge.update(used(0), 1200), Low);
}

TEST(PressureGauge, ATimeThatGoesBackEndsNothing) {
  auto gauge = plain();
  ASSERT_EQ(gauge.update(used(80), 1000), High);
  EXPECT_EQ(gauge.update(used(0), 10), High);
}

TEST(PressureGauge, TheFullestCounts) {
  auto gauge = plain();
  EXPECT_EQ(gauge.update({.budget = {10, 100}, .cgroup = {65, 100}}, 1), Medium);
  EXPECT_EQ(gauge.update({.budget = {85, 100}, .cgroup = {65, 100}}, 1), High);
}

TEST(PressureGauge, WithoutALimitNothingPresses) {
  EXPECT_EQ(plain().update({.budget = {kMost, kUnlimited}, .cgroup = {kMost, kUnlimited}}, 1), Low);
}

TEST(PressureGauge, AmountsMayBeAsLargeAsTheyGet) {
  EXPECT_EQ(plain().update({.budget = {kMost, kMost - 1}}, 1), Critical);
  EXPECT_EQ(plain().update({.budget = {kMost / 2, kMost - 1}}, 1), Low);
  EXPECT_EQ(plain().update({.budget = {kMost, 1}}, 1), Critical) << "overdrawn";
}

TEST(PressureGauge, AStallIsHighForAWhile) {
  auto gauge = plain();
  ASSERT_EQ(gauge.update({.budget = {0, 100}, .stalled = true}, 1000), High);
  EXPECT_EQ(gauge.update(used(0), 1050), High);
  EXPECT_EQ(gauge.update({.budget = {0, 100}, .stalled = true}, 1050), High);
  EXPECT_EQ(gauge.update(used(0), 1149), High) << "since the last one";
  EXPECT_EQ(gauge.update(used(0), 1150), Low);
  EXPECT_EQ(gauge.update({.budget = {100, 100}, .stalled = true}, 2000), Critical);
}

TEST(PressureGauge, LowThresholdsEndToo) {
  auto gauge = gauge_of({.warning_percent = 1, .critical_percent = 4, .shortest_ns = 0});
  ASSERT_EQ(gauge.update(used(4), 1), High);
  EXPECT_EQ(gauge.update(used(1), 2), High);
  EXPECT_EQ(gauge.update(used(0), 3), Low);
}

TEST(PressureGauge, ThresholdsHaveTheirRanges) {
  const auto code = [](unsigned warning, unsigned critical) {
    return test::code_of(
        PressureGauge::make({.warning_percent = warning, .critical_percent = critical}));
  };
  EXPECT_EQ(code(0, 50), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(51, 50), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(50, 101), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(1, 1), ErrorCode{});
  EXPECT_EQ(code(100, 100), ErrorCode{});
}

// ---- what holds for all -----------------------------------------------------

struct Dice {
  std::mt19937_64 random{test::seed()};

  std::uint64_t up_to(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(0, most)(random);
  }
  PressureThresholds thresholds() {
    const auto critical = static_cast<unsigned>(1 + up_to(99));
    return {.warning_percent = static_cast<unsigned>(1 + up_to(critical - 1)),
            .critical_percent = critical,
            .shortest_ns = up_to(200)};
  }
};

TEST(PressureGaugeProperty, ALevelIsNeverBelowItsAmounts) {
  Dice dice;
  for (int i = 0; i < 1000; ++i) {
    const PressureThresholds thresholds = dice.thresholds();
    auto gauge = gauge_of(thresholds);
    std::uint64_t now = 0;
    for (int step = 0; step < 200; ++step) {
      now += dice.up_to(100);
      const PressureSample sample{
          .budget = {dice.up_to(110), 100},
          .cgroup = {dice.up_to(110), dice.up_to(1) == 0 ? 100 : kUnlimited},
          .stalled = dice.up_to(20) == 0};
      const auto level = gauge.update(sample, now);
      ASSERT_GE(level, gauge_of(thresholds).update(sample, now));
      ASSERT_EQ(level, gauge.level());
    }
  }
}

TEST(PressureGaugeProperty, NoLevelIsLeftDownwardsBeforeItsTime) {
  Dice dice;
  for (int i = 0; i < 1000; ++i) {
    const PressureThresholds thresholds = dice.thresholds();
    auto gauge = gauge_of(thresholds);
    std::uint64_t now = 1000;
    std::uint64_t changed = now;
    for (int step = 0; step < 500; ++step) {
      now += dice.up_to(50);
      const auto before = gauge.level();
      const auto after =
          gauge.update({.budget = {dice.up_to(110), 100}, .stalled = dice.up_to(20) == 0}, now);
      if (after < before) {
        ASSERT_GE(now - changed, thresholds.shortest_ns);
      }
      if (after != before) changed = now;
    }
  }
}

// An amount that moves within five points, up and down, changes the level upwards alone.
TEST(PressureGaugeProperty, NothingFlapsWithinFivePoints) {
  Dice dice;
  for (int i = 0; i < 1000; ++i) {
    auto gauge = gauge_of(dice.thresholds());
    const std::uint64_t lowest = 1000 + dice.up_to(100'000);
    std::uint64_t now = 0;
    auto before = Low;
    for (int step = 0; step < 200; ++step) {
      now += dice.up_to(1000);
      const auto after = gauge.update({.budget = {lowest + dice.up_to(5000), 100'000}}, now);
      ASSERT_GE(after, before);
      before = after;
    }
  }
}

// Whatever was before, an amount that stays for long enough has a level that was reached by it, or
// by what is less than five points more.
TEST(PressureGaugeProperty, WhatStaysIsToldInTime) {
  Dice dice;
  for (int i = 0; i < 10'000; ++i) {
    const PressureThresholds thresholds = dice.thresholds();
    auto gauge = gauge_of(thresholds);
    for (std::uint64_t step = 0; step < 5; ++step) {
      gauge.update({.budget = {dice.up_to(110), 100}, .stalled = dice.up_to(5) == 0}, step);
    }
    const std::uint64_t stays = dice.up_to(110);
    gauge.update(used(stays), 1000);
    const auto level = gauge.update(used(stays), 2000);
    ASSERT_GE(level, gauge_of(thresholds).update(used(stays), 1));
    ASSERT_LE(level, gauge_of(thresholds).update(used(stays + kHysteresisPoints), 1));
  }
}

}  // namespace
}  // namespace resmgr::budget
