// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/credits.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <latch>
#include <random>
#include <thread>
#include <vector>

#include "tests/base/seed.hpp"

namespace resmgr::budget {
namespace {

TEST(Credits, AreChargedUpToWhatWasGranted) {
  std::uint64_t used = 0;
  std::uint64_t granted = 10;
  EXPECT_TRUE(charge(used, granted, 7));
  EXPECT_FALSE(charge(used, granted, 4));
  EXPECT_EQ(used, 7u);
  EXPECT_TRUE(charge(used, granted, 3));
  EXPECT_TRUE(charge(used, granted, 0));
  EXPECT_FALSE(charge(used, granted, ~std::uint64_t{0}));
  give_back(used, 10);
  EXPECT_EQ(used, 0u);
}

TEST(Credits, AreRefusedWhereTheWordWasOverwritten) {
  std::uint64_t used = ~std::uint64_t{0} - 1;
  const std::uint64_t granted = 10;
  EXPECT_FALSE(charge(used, granted, 1));
  EXPECT_EQ(charge_up_to(used, granted, 5), 0u);
}

TEST(Credits, AsMuchAsIsLeft) {
  std::uint64_t used = 4;
  const std::uint64_t granted = 10;
  EXPECT_EQ(charge_up_to(used, granted, 100), 6u);
  EXPECT_EQ(charge_up_to(used, granted, 100), 0u);
  EXPECT_EQ(used, 10u);
}

TEST(Credits, ThatWereReturnedSinceItWasDecidedAreNotCharged) {
  std::uint64_t used = 10;
  std::uint64_t granted = 100;
  // `used` is what it was before: only `granted` tells.
  EXPECT_FALSE(charge(used, granted, 50, [&] {
    ASSERT_EQ(charge_up_to(used, granted, 80), 80u);
    granted -= 80;
    give_back(used, 80);
  }));
  EXPECT_EQ(used, 10u);
}

// Eight charge and give back, one returns credits to an authority and gets others; all know what is
// held altogether, and it is never more than was granted at some moment since.
TEST(Credits, AreExactUnderEightThreadsWhileSomeAreReturned) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 20'000;
  constexpr std::uint64_t kGranted = 100;
  alignas(64) std::uint64_t used = 0;
  alignas(64) std::uint64_t granted = kGranted;
  // What those who succeeded hold. Added to after, and taken from before: never more than they do.
  std::atomic<std::uint64_t> held{0};
  std::atomic<std::uint64_t> too_much{0};
  std::atomic<int> running{kThreads};
  std::latch begin(kThreads + 1);
  const std::uint64_t seeded = resmgr::test::seed();

  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(seeded + static_cast<std::uint64_t>(i));
      begin.arrive_and_wait();
      for (int round = 0; round < kRounds; ++round) {
        const std::uint64_t amount = random() % 40;
        if (!charge(used, granted, amount)) continue;
        if (held.fetch_add(amount) + amount > kGranted) too_much.fetch_add(1);
        held.fetch_sub(amount);
        give_back(used, amount);
      }
      running.fetch_sub(1);
    });
  }
  begin.arrive_and_wait();
  std::mt19937_64 random(seeded ^ 1);
  while (running.load() != 0) {
    const std::uint64_t some = charge_up_to(used, granted, random() % 60);
    // The authority's two steps: what was returned is anybody's, until it is drawn again.
    store_release(granted, load_relaxed(granted) - some);
    give_back(used, some);
    if (held.fetch_add(some) + some > kGranted) too_much.fetch_add(1);
    held.fetch_sub(some);
    store_release(granted, load_relaxed(granted) + some);
  }
  threads.clear();
  EXPECT_EQ(used, 0u);
  EXPECT_EQ(too_much.load(), 0u);
}

}  // namespace
}  // namespace resmgr::budget
