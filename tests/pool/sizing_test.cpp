// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/sizing.hpp"

#include <gtest/gtest.h>

#include <random>

#include "resmgr/pool/magazine.hpp"
#include "tests/base/seed.hpp"
#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

constexpr Load kBusy{.capacity = 100'000,
                     .limit = 10'000,
                     .peak = 9'000,
                     .magazine_blocks = 64,
                     .magazines = 2,
                     .allocations = 1'000'000,
                     .refills = 1'000};

TEST(Sizing, LeavesWhatIsGood) {
  Sizing sizing;
  for (int look = 0; look < 20; ++look) {
    const Decision decision = sizing.decide(kBusy);
    EXPECT_EQ(decision.magazine_blocks, 64u);
    EXPECT_EQ(decision.limit, 10'000u);
  }
}

TEST(Sizing, MagazinesFollowTheMisses) {
  Sizing sizing;
  Load load = kBusy;
  load.refills = load.allocations / 20;
  EXPECT_EQ(sizing.decide(load).magazine_blocks, 128u);
  load.refills = load.allocations / 100'000;
  EXPECT_EQ(sizing.decide(load).magazine_blocks, 32u);
  load.allocations = load.refills = 10;  // too few to tell
  EXPECT_EQ(sizing.decide(load).magazine_blocks, 64u);
}

TEST(Sizing, MagazinesLeaveMostOfASmallPoolToOthers) {
  Sizing sizing;
  Load load = kBusy;
  load.capacity = load.limit = 160;
  load.magazines = 4;
  load.refills = load.allocations;
  EXPECT_EQ(sizing.decide(load).magazine_blocks, 10u);
}

TEST(Sizing, GivesUpWhatWasIdleForLong) {
  Sizing sizing(500);
  Load load = kBusy;
  load.peak = 2'000;
  for (int look = 0; look < 3; ++look) EXPECT_EQ(sizing.decide(load).limit, 10'000u);
  EXPECT_EQ(sizing.decide(load).limit, 3'000u);
  load.limit = 3'000;
  EXPECT_EQ(sizing.decide(load).limit, 3'000u);  // more than half of it is used
  load.peak = 0;
  for (int look = 0; look < 3; ++look) EXPECT_EQ(sizing.decide(load).limit, 3'000u);
  EXPECT_EQ(sizing.decide(load).limit, 500u);
}

TEST(Sizing, ABurstStartsTheCountAnew) {
  Sizing sizing;
  Load load = kBusy;
  load.peak = 100;
  for (int look = 0; look < 3; ++look) (void)sizing.decide(load);
  (void)sizing.decide(kBusy);
  for (int look = 0; look < 3; ++look) EXPECT_EQ(sizing.decide(load).limit, 10'000u);
  EXPECT_EQ(sizing.decide(load).limit, 150u);
}

// Whatever was seen: sizes stay in their bounds.
TEST(Sizing, StaysInItsBounds) {
  std::mt19937_64 random(resmgr::test::seed());
  Sizing sizing(10);
  for (int round = 0; round < 100'000; ++round) {
    const auto number = [&] {
      return static_cast<std::uint32_t>(random() >> (32 + random() % 32));
    };
    Load load{.capacity = 1 + number() % RM_POOL_MAX_BLOCKS,
              .magazine_blocks = 1 + number() % Magazine::kMost,
              .magazines = number() % 5000,
              .allocations = number(),
              .refills = number()};
    load.limit = number() % (load.capacity + 1);
    load.peak = number();
    const Decision decision = sizing.decide(load);
    ASSERT_GE(decision.magazine_blocks, 1u);
    ASSERT_LE(decision.magazine_blocks, Magazine::kMost);
    ASSERT_LE(decision.limit, load.limit);
    if (decision.limit < load.limit) {
      ASSERT_GE(decision.limit, load.peak);
    }
  }
}

TEST(Sizing, APoolIsFittedAndSaysWhatItSaved) {
  std::uint64_t paid = 0;
  PoolSettings wanted = settings(4096, 4096);
  wanted.initial_blocks = 0;
  wanted.payer.may_grow = [&](std::uint64_t bytes) -> Result<void> {
    paid += bytes;
    return {};
  };
  wanted.payer.gave_up = [&](std::uint64_t bytes) { paid -= bytes; };
  const PoolPtr pool = BlockPool::create(std::move(wanted)).value();
  free_all(*pool, drain(*pool));
  pool->flush();
  EXPECT_EQ(paid, 4096u * 4096);
  (void)pool->adapt();  // saw the burst
  Adaptation last;
  for (int look = 0; look < 4; ++look) last = pool->adapt();
  EXPECT_TRUE(last.changed());
  EXPECT_EQ(last.limit_before, 4096u);
  EXPECT_EQ(last.saved_bytes, (4096u - last.limit) * 4096ull);
  EXPECT_EQ(pool->statistics().given_up_bytes, last.saved_bytes);
  EXPECT_GE(pool->statistics().adaptations, 1u);
  EXPECT_EQ(paid, last.limit * 4096ull);
  expect_whole(*pool);
}

TEST(Sizing, MayBeTurnedOff) {
  PoolSettings wanted = settings(4096);
  wanted.adaptive = false;
  const PoolPtr pool = BlockPool::create(std::move(wanted)).value();
  for (int look = 0; look < 10; ++look) EXPECT_FALSE(pool->adapt().changed());
  EXPECT_EQ(pool->statistics().limit, 4096u);
}

}  // namespace
}  // namespace resmgr::pool::test
