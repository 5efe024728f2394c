// SPDX-License-Identifier: Apache-2.0
//
// Meters, one thing at a time.
#include "resmgr/budget/meter.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "resmgr/base/clock.hpp"
#include "tests/base/support.hpp"
#include "tests/budget/meter_support.hpp"

namespace resmgr::budget {
namespace {

using resmgr::test::code_of;
using test::kSecond;
using test::rate_of;
using test::took;

// The first token of a second has come by then, at each rate.
constexpr std::uint64_t kNow = 5000 * kSecond + 1;
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

TEST(Meter, UnusedHasItsBurst) {
  const auto rate = rate_of(10, 4);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  EXPECT_EQ(meter.level(kNow), 4);
  EXPECT_TRUE(took(meter.try_charge(3, kNow)));
  EXPECT_EQ(meter.level(kNow), 1);
  EXPECT_FALSE(took(meter.try_charge(2, kNow)));
  EXPECT_TRUE(took(meter.try_charge(1, kNow)));
  EXPECT_EQ(meter.level(kNow), 0);
}

TEST(Meter, RefusedSaysWhenItCouldBe) {
  const auto rate = rate_of(10, 4);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  ASSERT_TRUE(took(meter.try_charge(4, kNow)));
  const std::uint64_t before = word;
  const auto refused = meter.try_charge(3, kNow);
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->taken);
  EXPECT_EQ(word, before);
  EXPECT_NEAR(static_cast<double>(refused->ready_ns - kNow), 0.3 * kSecond, 2);
  EXPECT_TRUE(took(meter.try_charge(3, refused->ready_ns)));
}

TEST(Meter, NothingComesBeyondTheBurst) {
  const auto rate = rate_of(10, 4);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  ASSERT_TRUE(took(meter.try_charge(4, kNow)));
  EXPECT_EQ(meter.level(kNow + kSecond / 4), 2);
  EXPECT_EQ(meter.level(kNow + 3600 * kSecond), 4);
  EXPECT_FALSE(took(meter.try_charge(1, kNow + kSecond / 20)));
}

TEST(Meter, ChargesGoIntoDebt) {
  const auto rate = rate_of(10, 4);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  EXPECT_EQ(meter.charge(4, kNow), kNow);
  const auto ready = meter.charge(10, kNow);
  ASSERT_TRUE(ready);
  EXPECT_NEAR(static_cast<double>(*ready - kNow), kSecond, 2);
  EXPECT_EQ(meter.level(kNow), -10);
  EXPECT_FALSE(took(meter.try_charge(0, kNow)));
  EXPECT_TRUE(took(meter.try_charge(0, *ready)));
  EXPECT_FALSE(took(meter.try_charge(1, *ready)));
}

TEST(Meter, TakesByADeadlineOrNotAtAll) {
  const auto rate = rate_of(10, 1);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  const auto late = meter.charge_by(6, kNow, kNow + kSecond * 4 / 10);
  ASSERT_TRUE(late);
  EXPECT_FALSE(late->taken);
  EXPECT_EQ(word, 0u);
  const auto in_time = meter.charge_by(6, kNow, late->ready_ns);
  ASSERT_TRUE(in_time);
  EXPECT_TRUE(in_time->taken);
  EXPECT_EQ(in_time->ready_ns, late->ready_ns);
  EXPECT_EQ(meter.level(kNow), -5);
}

TEST(Meter, ADeadlineThatIsOverMattersOnlyToWhoWaits) {
  const auto rate = rate_of(10, 1);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  EXPECT_TRUE(took(meter.charge_by(1, kNow, kNow - 1)));
  EXPECT_FALSE(took(meter.charge_by(1, kNow, kNow - 1)));
}

TEST(Meter, RefusesWhatCouldNeverBe) {
  const auto rate = rate_of(10, 4);
  EXPECT_EQ(rate.most(), 4 + 10 * kLongestDebtSeconds);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  EXPECT_EQ(code_of(meter.try_charge(5, kNow)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(meter.try_charge(kNever, kNow)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(meter.charge(rate.most() + 1, kNow)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(meter.charge_by(kNever, kNow, kNever)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(meter.charge_and_sleep(kNever, kNever)), ErrorCode::InvalidArgument);
  EXPECT_EQ(word, 0u);
  EXPECT_TRUE(meter.charge(rate.most(), kNow));
}

TEST(Meter, RatesAndBurstsHaveTheirRanges) {
  constexpr auto kRate = MeterRate::kMostTokensPerSecond;
  EXPECT_EQ(code_of(MeterRate::make(0, 1)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(MeterRate::make(kRate + 1, 1)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(MeterRate::make(1, 0)), ErrorCode::InvalidArgument);
  constexpr auto kBurst = MeterRate::kMostBurstSeconds;
  EXPECT_EQ(code_of(MeterRate::make(1, kBurst + 1)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(MeterRate::make(kRate, kRate * kBurst + 1)), ErrorCode::InvalidArgument);
  const auto widest = MeterRate::make(kRate, kRate * kBurst);
  ASSERT_TRUE(widest);
  EXPECT_EQ(widest->tokens_per_second(), kRate);
  EXPECT_EQ(widest->burst(), kRate * kBurst);
}

TEST(Meter, TheWidestBurstIsWhole) {
  for (const std::uint64_t tokens : test::kRates) {
    const auto rate = rate_of(tokens, tokens * MeterRate::kMostBurstSeconds);
    std::uint64_t word = 0;
    Meter meter(word, rate);
    ASSERT_TRUE(took(meter.try_charge(rate.burst() - 1, kNow)));
    EXPECT_EQ(meter.level(kNow), 1);
    EXPECT_TRUE(took(meter.try_charge(1, kNow)));
    EXPECT_FALSE(took(meter.try_charge(1, kNow)));
    const auto ready = meter.charge(rate.most(), kNow);
    ASSERT_TRUE(ready);
    EXPECT_GT(*ready, kNow);
  }
}

TEST(Meter, DebtsHaveAnEnd) {
  const auto rate = rate_of(1000, 1);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  constexpr std::uint64_t kLongest = kLongestDebtSeconds * kSecond;
  for (int i = 0; i < 3; ++i) {
    const auto ready = meter.charge(rate.most(), kNow);
    ASSERT_TRUE(ready);
    EXPECT_NEAR(static_cast<double>(*ready - kNow), kLongest, 2);
  }
  EXPECT_EQ(meter.level(kNow + kLongest + 2), 0);
}

TEST(Meter, GarbageFromFarAwayCountsAsUnused) {
  const auto rate = rate_of(1000, 5);
  constexpr std::uint64_t kGrains = std::uint64_t{1} << 40;
  // Ahead of the time by more than twice the longest debt, and behind it by any amount.
  std::uint64_t honest = 0;
  ASSERT_TRUE(took(Meter(honest, rate).try_charge(5, kNow)));
  for (const std::uint64_t away :
       {2 * kLongestDebtSeconds + 2, std::uint64_t{1} << 23, (std::uint64_t{1} << 24) - 2}) {
    std::uint64_t word = honest + away * kGrains;
    Meter meter(word, rate);
    EXPECT_EQ(meter.level(kNow), 5) << away;
    EXPECT_TRUE(took(meter.try_charge(5, kNow)));
    EXPECT_EQ(meter.level(kNow), 0) << "and is healed";
  }
}

TEST(Meter, AnotherRateTakesTheDebtsOver) {
  const auto slow = rate_of(10, 1);
  const auto fast = rate_of(1'000'000, 1000);
  std::uint64_t word = 0;
  const auto ready = Meter(word, slow).charge(101, kNow);
  ASSERT_TRUE(ready);
  EXPECT_EQ(Meter(word, fast).level(kNow), -10'000'000) << "10 s of what it gets";
  const auto same = Meter(word, fast).charge(0, kNow);
  ASSERT_TRUE(same);
  EXPECT_NEAR(static_cast<double>(*same), static_cast<double>(*ready), 1000);
}

TEST(Meter, RefundsWhatWasNotUsed) {
  const auto rate = rate_of(10, 4);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  ASSERT_TRUE(meter.charge(24, kNow));
  EXPECT_EQ(meter.level(kNow), -20);
  meter.refund(19, kNow);
  EXPECT_EQ(meter.level(kNow), -1);
  meter.refund(kNever, kNow);
  EXPECT_EQ(meter.level(kNow), 4);
}

// Where the time of a word wraps to 0 the word does not: it would be a meter that nobody used.
TEST(Meter, IsNeverUnusedAgain) {
  constexpr std::uint64_t kWrap = (std::uint64_t{1} << 24) * kSecond;
  for (const std::uint64_t tokens : test::kRates) {
    const auto rate = rate_of(tokens, tokens);
    // Words of the last tokens before the wrap, and of the first ones after it.
    for (std::uint64_t back = 0; back < 4; ++back) {
      std::uint64_t word = 0;
      Meter meter(word, rate);
      ASSERT_TRUE(meter.charge(3 * tokens / 2 + 2 - back, kWrap - kSecond / 2));
      EXPECT_NE(word, 0u) << tokens;
    }
  }
}

TEST(Meter, SleepsUntilItIsPaidFor) {
  const auto rate = rate_of(1000, 1);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  const std::uint64_t start = Clock::now();
  ASSERT_TRUE(meter.charge_and_sleep(1, start));
  ASSERT_TRUE(meter.charge_and_sleep(5, start + 600 * kSecond));
  EXPECT_GE(Clock::now(), start + 4'000'000);
  EXPECT_TRUE(took(meter.try_charge(0, Clock::now())));
}

TEST(Meter, DoesNotSleepForWhatCantBeInTime) {
  const auto rate = rate_of(1, 1);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  ASSERT_TRUE(meter.charge(1000, Clock::now()));
  const std::uint64_t before = word;
  EXPECT_EQ(code_of(meter.charge_and_sleep(1, Clock::now() + kSecond)), ErrorCode::TimedOut);
  EXPECT_EQ(word, before);
}

}  // namespace
}  // namespace resmgr::budget
