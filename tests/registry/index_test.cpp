// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/name_index.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "resmgr/base/hash.hpp"
#include "resmgr/registry/index_state.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

Capacities with_slots(std::uint32_t slots) {
  Capacities capacities = small_capacities();
  capacities.slots = slots;
  return capacities;
}

TEST(Index, GrowsAndFindsEverything) {
  World world(with_slots(1u << 15));
  std::vector<Handle> handles;
  for (int i = 0; i < 20'000; ++i) handles.push_back(world.add("r/" + std::to_string(i)));
  EXPECT_GT(index_state(world).rebuilds, 3u);
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(world.view.find("r/" + std::to_string(i)).value_or(Handle()),
              handles[static_cast<std::size_t>(i)]);
  }
  EXPECT_TRUE(is_sound(world));
}

TEST(Index, AnEmptyDomainPaysForOnePageOfIt) {
  const World world(with_slots(1u << 20));
  EXPECT_EQ(index_state(world).buckets() * RM_INDEX_BUCKET_WORDS * sizeof(Word), 4096u);
}

// Names come and go in a table that is nearly full, so that tombstones pile up and the index is
// rebuilt at its largest size.
TEST(Index, ChurnAtFullSizeAgreesWithAMap) {
  std::mt19937_64 random(seed());
  World world(with_slots(512));
  std::map<std::string, Handle> expected;
  for (int step = 0; step < 60'000; ++step) {
    const std::string name = "n" + std::to_string(random() % 900);
    const auto known = expected.find(name);
    const auto found = world.view.find(name);
    ASSERT_EQ(found.has_value(), known != expected.end()) << name;
    if (known != expected.end()) {
      ASSERT_EQ(*found, known->second);
      if (random() % 2 == 0) {
        world.remove(known->second);
        expected.erase(known);
      }
    } else if (expected.size() < 512) {
      expected.emplace(name, world.add(name));
    } else {
      ASSERT_TRUE(failed_with(world.try_add(name), ErrorCode::CapacityExceeded));
    }
  }
  EXPECT_GT(index_state(world).rebuilds, 3u);
  EXPECT_TRUE(is_sound(world));
}

TEST(Index, CollidingNamesAreSlowButRight) {
  World world(with_slots(128));
  const std::uint32_t last_bucket = index_state(world).buckets() - 1;
  // From the last bucket on the chain wraps around.
  const std::vector<std::string> names = colliding_names(world, last_bucket, 60);
  std::vector<Handle> handles;
  for (const std::string& name : names) handles.push_back(world.add(name));
  for (std::size_t i = 0; i < names.size(); i += 2) world.remove(handles[i]);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = world.view.find(names[i]);
    if (i % 2 == 0) {
      EXPECT_TRUE(failed_with(found, ErrorCode::NotFound)) << names[i];
    } else {
      EXPECT_EQ(found.value_or(Handle()), handles[i]) << names[i];
    }
  }
  for (std::size_t i = 0; i < names.size(); i += 2) handles[i] = world.add(names[i]);
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(world.view.find(names[i]).value_or(Handle()), handles[i]) << names[i];
  }
  EXPECT_EQ(index_state(world).rebuilds, 0u);
  EXPECT_TRUE(is_sound(world));
}

// Names as drivers give them must not crowd: the fast half of a look-up relies on it.
TEST(Index, PlausibleNamesSpreadLikeRandomOnes) {
  for (const std::uint64_t domain : {0ull, 1ull, 0x123456789abcdefull}) {
    const std::uint64_t name_seed = hash_bytes("resmgr registry", domain);
    for (const char* pattern :
         {"gpu0/frame/", "dma0/channel/", "t", "a/very/long/prefix/of/a/name/"}) {
      constexpr std::uint32_t kNames = 1u << 14;
      std::vector<std::uint32_t> buckets(kNames);
      for (std::uint32_t i = 0; i < kNames; ++i) {
        const std::uint64_t hash = hash_bytes(pattern + std::to_string(i), name_seed);
        ++buckets[hash >> (64 - 14)];
      }
      // Poisson with mean 1: 8 % of the buckets have more than two; 10 % would be 9 sigma off.
      const auto crowded = std::ranges::count_if(buckets, [](auto n) { return n > 2; });
      EXPECT_LT(crowded, kNames / 10) << pattern;
      EXPECT_LT(*std::ranges::max_element(buckets), 12u) << pattern;
    }
  }
}

TEST(IndexState, RefusesWhatLeavesTheTable) {
  constexpr std::uint32_t kBuckets = 1024;
  const IndexState fine{.first = 512, .shift = 64 - 9, .rebuilds = 7};
  const auto decoded = IndexState::decode(fine.encode(), kBuckets);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->first, 512u);
  EXPECT_EQ(decoded->buckets(), 512u);
  EXPECT_EQ(decoded->rebuilds, 7u);
  for (const IndexState bad :
       {IndexState{.first = 513, .shift = 64 - 9}, IndexState{.first = 0, .shift = 64 - 11},
        IndexState{.first = 0xffffffff, .shift = 64 - 9}, IndexState{.first = 0, .shift = 64},
        IndexState{.first = 0, .shift = 0}, IndexState{.first = 0, .shift = 32}}) {
    EXPECT_FALSE(IndexState::decode(bad.encode(), kBuckets)) << bad.first << ' ' << bad.shift;
  }
}

}  // namespace
}  // namespace resmgr::registry::test
