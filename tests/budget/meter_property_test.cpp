// SPDX-License-Identifier: Apache-2.0
//
// Meters against what must hold for all rates, bursts, amounts and times; and against an oracle
// that reckons in fractions and rounds nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "resmgr/budget/meter.hpp"
#include "tests/base/seed.hpp"
#include "tests/budget/meter_support.hpp"

namespace resmgr::budget {
namespace {

using test::kRates;
using test::kSecond;
using test::kStarts;
using test::rate_of;
using test::took;

using Random = std::mt19937_64;
__extension__ using Exact = __int128;

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

std::uint64_t up_to(Random& random, std::uint64_t most) {
  return std::uniform_int_distribution<std::uint64_t>(0, most)(random);
}
// As often small as large.
std::uint64_t any_size(Random& random, std::uint64_t most) {
  const auto bits = static_cast<unsigned>(up_to(random, 62));
  return std::min(most, up_to(random, (std::uint64_t{2} << bits) - 1));
}

// Everything that a meter has, in charges of many sizes.
std::uint64_t drain(Meter& meter, std::uint64_t burst, std::uint64_t now, Random& random) {
  std::uint64_t taken = 0;
  for (;;) {
    const std::uint64_t amount = 1 + any_size(random, burst - 1);
    if (!took(meter.try_charge(amount, now))) break;
    taken += amount;
  }
  const auto rest = static_cast<std::uint64_t>(meter.level(now));
  EXPECT_TRUE(took(meter.try_charge(rest, now)));
  EXPECT_FALSE(took(meter.try_charge(1, now)));
  return taken + rest;
}

// Who takes all that there is for ten seconds gets the burst and what came, to the token.
TEST(MeterProperty, RatesAreExact) {
  Random random(resmgr::test::seed());
  constexpr std::uint64_t kLength = 10 * kSecond;
  for (const std::uint64_t tokens : kRates) {
    for (const std::uint64_t burst : {tokens / 500 + 1, tokens, 5 * tokens}) {
      const auto rate = rate_of(tokens, burst);
      // Nothing is lost if it is drained before half a burst has come.
      const auto half = static_cast<std::uint64_t>(Exact{burst} * (kSecond / 2) / tokens);
      const std::uint64_t longest = std::min(kSecond / 50, half);
      for (const std::uint64_t start : kStarts) {
        std::uint64_t word = 0;
        Meter meter(word, rate);
        std::uint64_t total = drain(meter, burst, start, random);
        for (std::uint64_t at = 0; at < kLength;) {
          at = std::min(kLength, at + 1 + up_to(random, longest));
          total += drain(meter, burst, start + at, random);
        }
        // One for where the first second began, one for the grain that a nanosecond begins in.
        const double wrong = static_cast<double>(total) - static_cast<double>(burst + 10 * tokens);
        ASSERT_LE(std::abs(wrong), 2) << tokens << " a second from " << start;
      }
    }
  }
}

// The same by who goes into debt and waits as he is told.
TEST(MeterProperty, WaitingAsToldIsExact) {
  Random random(resmgr::test::seed());
  for (const std::uint64_t tokens : kRates) {
    const std::uint64_t burst = tokens / 10 + 1;
    const auto rate = rate_of(tokens, burst);
    for (const std::uint64_t start : kStarts) {
      std::uint64_t word = 0;
      Meter meter(word, rate);
      std::uint64_t now = start;
      Exact total = 0;
      while (now < start + 10 * kSecond) {
        const std::uint64_t amount = 1 + up_to(random, std::max(tokens / 100, std::uint64_t{1}));
        const auto ready = meter.charge(amount, now);
        ASSERT_TRUE(ready);
        ASSERT_GE(*ready, now);
        total += amount;
        now = *ready;
      }
      const Exact due = burst + Exact{now - start} * tokens / kSecond;
      // He wakes up to two nanoseconds after the moment of his last token.
      ASSERT_LE(due - total, Exact{2 + 2 * tokens / kSecond}) << tokens << " from " << start;
      ASSERT_LE(total - due, 2) << tokens << " from " << start;
    }
  }
}

// A bucket whose level is a fraction: tokens times 10^9.
class Oracle {
 public:
  Oracle(std::uint64_t tokens, std::uint64_t burst, std::uint64_t now)
      : tokens_(tokens), burst_(burst), now_(now), level_(Exact{burst} * kSecond) {}

  void go_on_to(std::uint64_t now) {
    add(Exact{now - now_} * tokens_);
    now_ = now;
  }
  void take(std::uint64_t amount) { level_ -= Exact{amount} * kSecond; }
  void give(std::uint64_t amount) { add(Exact{amount} * kSecond); }
  /// How far a meter's level is from this one, in tokens.
  [[nodiscard]] double distance(std::int64_t level) const {
    return static_cast<double>(Exact{level} * kSecond - level_) / kSecond;
  }

 private:
  void add(Exact much) { level_ = std::min(level_ + much, Exact{burst_} * kSecond); }

  std::uint64_t tokens_;
  std::uint64_t burst_;
  std::uint64_t now_;
  Exact level_;
};

// How a meter, asked at random, keeps to the oracle.
void follow_oracle(std::uint64_t tokens, std::uint64_t burst, std::uint64_t start, Random& random) {
  const auto rate = rate_of(tokens, burst);
  std::uint64_t word = 0;
  Meter meter(word, rate);
  Oracle oracle(tokens, burst, start);
  std::uint64_t now = start;
  // Debts stay below the longest.
  const std::uint64_t most = std::min(rate.most() / 2, 2 * burst + tokens);
  for (int step = 0; step < 1000; ++step) {
    if (up_to(random, 2) == 0) now += any_size(random, 10 * kSecond);
    oracle.go_on_to(now);
    const std::uint64_t amount = any_size(random, most);
    const std::int64_t before = meter.level(now);
    const std::uint64_t latest = now + any_size(random, 20 * kSecond);
    if (step % 10 == 0) {
      meter.refund(amount, now);
      oracle.give(amount);
    } else {
      const auto charge = meter.charge_by(amount, now, latest);
      ASSERT_TRUE(charge);
      if (charge->taken) oracle.take(amount);
      ASSERT_EQ(charge->taken, charge->ready_ns <= latest);
      ASSERT_EQ(charge->ready_ns == now, before >= static_cast<std::int64_t>(amount));
    }
    // Each of two rounds down what has come, by a token and the tokens of a grain, and loses as
    // much again where the bucket ran over.
    ASSERT_LE(std::abs(oracle.distance(meter.level(now))), 4) << tokens << ", step " << step;
  }
}

TEST(MeterProperty, KeepsToTheOracle) {
  Random random(resmgr::test::seed());
  for (const std::uint64_t tokens : kRates) {
    for (const std::uint64_t start : kStarts) {
      for (int i = 0; i < 10; ++i) {
        const std::uint64_t burst = 1 + any_size(random, 20 * tokens - 1);
        ASSERT_NO_FATAL_FAILURE(follow_oracle(tokens, burst, start, random));
      }
    }
  }
}

// When it says that it could be, it can; and not two nanoseconds earlier.
TEST(MeterProperty, TellsWhenItCouldBe) {
  Random random(resmgr::test::seed());
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t tokens = 1 + any_size(random, MeterRate::kMostTokensPerSecond - 1);
    const auto rate = rate_of(tokens, 1 + any_size(random, 5 * tokens - 1));
    const std::uint64_t now = any_size(random, kStarts[4]);
    std::uint64_t word = 0;
    Meter meter(word, rate);
    ASSERT_TRUE(meter.charge(any_size(random, rate.burst() + 5 * tokens), now));
    const std::uint64_t amount = any_size(random, rate.burst());
    const auto refused = meter.try_charge(amount, now);
    ASSERT_TRUE(refused);
    if (refused->taken) continue;
    ASSERT_GT(refused->ready_ns, now);
    if (refused->ready_ns >= now + 3) {
      ASSERT_FALSE(took(meter.try_charge(amount, refused->ready_ns - 3))) << tokens;
    }
    ASSERT_TRUE(took(meter.try_charge(amount, refused->ready_ns))) << tokens;
  }
}

// Whatever a peer wrote, nobody waits longer than for the longest debt, and the word is sound
// after the first charge.
TEST(MeterProperty, GarbageIsBounded) {
  Random random(resmgr::test::seed());
  constexpr std::uint64_t kLongest = kLongestDebtSeconds * kSecond + 2;
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t tokens = 1 + any_size(random, MeterRate::kMostTokensPerSecond - 1);
    const auto rate = rate_of(tokens, 1 + any_size(random, 5 * tokens - 1));
    const std::uint64_t now = any_size(random, kStarts[4]);
    // Any word; and one near the time of an honest one.
    std::uint64_t word = random();
    if (i % 2 == 0) {
      word = 0;
      (void)Meter(word, rate).charge(0, now);
      word += any_size(random, kNever >> 1) * (i % 4 == 0 ? 1 : kNever);
    }
    Meter meter(word, rate);
    ASSERT_LE(meter.level(now), static_cast<std::int64_t>(rate.burst()));
    const std::uint64_t amount = any_size(random, rate.most());
    const auto ready = meter.charge(amount, now);
    ASSERT_TRUE(ready);
    ASSERT_LE(*ready - now, kLongest) << tokens;
    ASSERT_GE(meter.level(now), -static_cast<std::int64_t>(tokens * kLongestDebtSeconds));
    ASSERT_NE(word, 0u);
  }
}

// A word that was made by one rate loses or wins less than a token and a grain under another.
TEST(MeterProperty, RatesMayChange) {
  Random random(resmgr::test::seed());
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t now = any_size(random, kStarts[4]);
    const std::uint64_t first = 1 + any_size(random, MeterRate::kMostTokensPerSecond - 1);
    const std::uint64_t second = 1 + any_size(random, MeterRate::kMostTokensPerSecond - 1);
    const auto before = rate_of(first, first);
    const auto after = rate_of(second, second);
    std::uint64_t word = 0;
    const auto debt = Meter(word, before).charge(first + up_to(random, 100 * first), now);
    ASSERT_TRUE(debt);
    const auto same = Meter(word, after).charge(0, now);
    ASSERT_TRUE(same);
    if (*debt == now) continue;
    ASSERT_LE(*same, *debt + kSecond / second + 2);
    ASSERT_GE(*same + 2, *debt);
  }
}

}  // namespace
}  // namespace resmgr::budget
