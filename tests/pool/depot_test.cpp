// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/depot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

class DepotTest : public testing::Test {
 protected:
  void make(std::uint32_t blocks, std::uint32_t limit) {
    region_.emplace(PoolRegion::create({.block_bytes = 64, .max_blocks = blocks}, "test").value());
    depot_.emplace(region_->tables());
    if (limit != 0) {
      ASSERT_TRUE(depot_->grow(0, limit));
    }
  }
  std::vector<TakenBlock> take(Owner owner, std::size_t wanted, std::uint32_t cursor = 0) {
    std::vector<TakenBlock> got(wanted);
    got.resize(depot_->take(owner, got, cursor));
    return got;
  }
  std::uint64_t& word(std::uint32_t group) { return region_->tables().words[group]; }
  void allocate(Owner owner, std::span<const TakenBlock> blocks) {
    for (const TakenBlock& block : blocks) *block.tag = allocated_tag(owner);
  }

  std::optional<PoolRegion> region_;
  std::optional<Depot> depot_;
};

TEST_F(DepotTest, GivesEachBlockOnce) {
  make(100, 100);
  std::set<std::byte*> seen;
  for (const std::size_t wanted : {1u, 40u, 50u, 50u}) {
    for (const TakenBlock& taken : take(kMaker, wanted)) {
      EXPECT_TRUE(seen.insert(taken.block).second);
      EXPECT_EQ(*taken.tag, cached_tag(kMaker));
    }
  }
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_TRUE(take(kMaker, 1).empty());
  EXPECT_EQ(depot_->count().cached, 100u);
}

TEST_F(DepotTest, GivesNothingBehindTheLimit) {
  make(100, 0);
  EXPECT_TRUE(take(kMaker, 10).empty());
  ASSERT_TRUE(depot_->grow(0, 33));
  EXPECT_EQ(take(kMaker, 100).size(), 33u);
  EXPECT_FALSE(depot_->grow(0, 50));    // it is another by now
  EXPECT_FALSE(depot_->grow(33, 101));  // there are not so many
  ASSERT_TRUE(depot_->grow(33, 100));
  EXPECT_EQ(take(kMaker, 100).size(), 67u);
}

TEST_F(DepotTest, WhatComesBackIsGivenAgain) {
  make(64, 64);
  const auto blocks = take(kMaker, 64);
  EXPECT_EQ(depot_->give_back(std::span(blocks).subspan(10, 30)), 0u);
  EXPECT_EQ(depot_->count().in_depot, 30u);
  EXPECT_EQ(take(kPeer, 64).size(), 30u);
}

TEST_F(DepotTest, CountsWhatComesBackTwice) {
  make(64, 64);
  const auto blocks = take(kMaker, 64);
  EXPECT_EQ(depot_->give_back(std::span(blocks).first(8)), 0u);
  EXPECT_EQ(depot_->give_back(std::span(blocks).first(10)), 8u);
  const std::array twice{blocks[20], blocks[20]};
  EXPECT_EQ(depot_->give_back(twice), 1u);
  EXPECT_EQ(depot_->count().in_depot, 11u);
  EXPECT_EQ(region_->tables().control->refused, 9u);
}

TEST_F(DepotTest, PassesOverClaimedGroups) {
  make(64, 64);
  word(0) = claim_of(kPeer);
  const auto blocks = take(kMaker, 64);
  EXPECT_EQ(blocks.size(), 32u);
  EXPECT_EQ(word(0), claim_of(kPeer));
  EXPECT_TRUE(take(kMaker, 1).empty());
  // Who claimed it died: nothing was taken yet.
  EXPECT_EQ(depot_->recover(kPeer), 0u);
  EXPECT_EQ(take(kMaker, 64).size(), 32u);
}

TEST_F(DepotTest, TakesBackAllOfTheDead) {
  make(200, 200);
  const auto mine = take(kMaker, 50);
  const auto theirs = take(kPeer, 100, 3);
  allocate(kPeer, std::span(theirs).first(40));
  EXPECT_EQ(depot_->recover(kThird), 0u);
  EXPECT_EQ(depot_->recover(kPeer), theirs.size());
  EXPECT_EQ(depot_->recover(kPeer), 0u);
  const Census census = depot_->count();
  EXPECT_EQ(census.in_depot, 150u);
  EXPECT_EQ(census.cached, 50u);
  EXPECT_EQ(take(kMaker, 200).size(), 150u);
}

TEST_F(DepotTest, AllocatedBlocksAloneAreTakenOver) {
  make(32, 32);
  const auto blocks = take(kPeer, 2);
  allocate(kPeer, std::span(blocks).first(1));
  const std::uint16_t next = cached_tag(kMaker);
  EXPECT_FALSE(depot_->take_over(*blocks[0].tag, allocated_tag(kThird), next));
  EXPECT_FALSE(depot_->take_over(*blocks[1].tag, *blocks[1].tag, next));
  EXPECT_TRUE(depot_->take_over(*blocks[0].tag, *blocks[0].tag, next));
  EXPECT_EQ(depot_->recover(kPeer), 1u);
  EXPECT_EQ(depot_->recover(kMaker), 1u);
}

// Of recovery and who frees a block of the dead, one is first.
TEST_F(DepotTest, WhatWasTakenOverIsNotRecovered) {
  make(32, 32);
  const auto blocks = take(kPeer, 32);
  allocate(kPeer, blocks);
  ASSERT_TRUE(depot_->take_over(*blocks[3].tag, allocated_tag(kPeer), allocated_tag(kMaker)));
  EXPECT_EQ(depot_->recover(kPeer), 31u);
  EXPECT_FALSE(depot_->take_over(*blocks[4].tag, allocated_tag(kPeer), allocated_tag(kMaker)));
  EXPECT_EQ(depot_->count().allocated, 1u);
}

TEST_F(DepotTest, ShrinksToTheLastBlockInUse) {
  make(200, 200);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> discarded;
  const auto discard = [&](std::uint32_t begin, std::uint32_t end) {
    discarded.emplace_back(begin, end);
  };
  auto blocks = take(kMaker, 70);
  EXPECT_EQ(depot_->shrink(kMaker, 150, discard), 150u);
  EXPECT_EQ(depot_->shrink(kMaker, 0, discard), 96u);
  EXPECT_EQ(depot_->count().claimed_groups, 0u);
  EXPECT_EQ(take(kMaker, 200).size(), 26u);
  ASSERT_TRUE(depot_->grow(96, 120));
  EXPECT_EQ(take(kMaker, 200).size(), 24u);
  EXPECT_EQ(discarded,
            (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{150, 200}, {96, 150}}));
}

// Whatever runs are said to have nothing: before it is said that there is none, it is looked for.
TEST_F(DepotTest, HintsAreNoMoreThanThat) {
  constexpr std::uint32_t kBlocks = 5 * RM_POOL_RUN_GROUPS * RM_POOL_GROUP_BLOCKS;
  make(kBlocks, kBlocks);
  region_->tables().full[0] = ~std::uint64_t{0};
  std::size_t got = 0;
  for (auto blocks = take(kMaker, 100); !blocks.empty(); blocks = take(kMaker, 100)) {
    got += blocks.size();
  }
  EXPECT_EQ(got, kBlocks);
}

TEST_F(DepotTest, RunsThatHaveNothingAreSkippedUntilSomethingComesBack) {
  constexpr std::uint32_t kRunBlocks = RM_POOL_RUN_GROUPS * RM_POOL_GROUP_BLOCKS;
  make(2 * kRunBlocks, 2 * kRunBlocks);
  const auto first = take(kMaker, kRunBlocks);
  ASSERT_EQ(first.size(), kRunBlocks);
  EXPECT_EQ(take(kMaker, 1).size(), 1u);
  EXPECT_EQ(region_->tables().full[0] & 1, 1u);
  EXPECT_EQ(depot_->give_back(std::span(first).first(1)), 0u);
  EXPECT_EQ(region_->tables().full[0] & 1, 0u);
}

}  // namespace
}  // namespace resmgr::pool::test
