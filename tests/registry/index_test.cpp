// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/name_index.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/names.hpp"
#include "resmgr/registry/current_index.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_key.hpp"
#include "resmgr/registry/name_lookup.hpp"
#include "resmgr/registry/name_search.hpp"
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
  EXPECT_EQ(index_state(world).cells() * sizeof(rm_index_cell), 4096u);
}

// Names come and go in a table that is nearly full.
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
  EXPECT_EQ(index_state(world).cells(), index_entries_for(512));
  EXPECT_TRUE(is_sound(world));
}

// What can't grow any more is swept when tombstones fill it.
TEST(Index, TombstonesGoWithARebuildAtFullSize) {
  World world(with_slots(512));
  const std::uint32_t cells = index_entries_for(512);
  const rm_registry_region& root = *world.region.tables().root;
  std::map<std::string, Handle> expected;
  std::uint32_t rebuilds = 0;
  for (std::uint32_t home = 0; home < cells; home += cells / 4) {
    const std::vector<std::string> names = colliding_names(world, cells, home, 500);
    std::vector<Handle> row;
    for (const std::string& name : names) row.push_back(world.add(name));
    if (home == 0) rebuilds = index_state(world).rebuilds;
    // The last one keeps the row.
    for (std::size_t i = 0; i + 1 < row.size(); ++i) world.remove(row[i]);
    expected.emplace(names.back(), row.back());
  }
  EXPECT_EQ(index_state(world).cells(), cells);
  EXPECT_EQ(index_state(world).rebuilds, rebuilds + 1);
  EXPECT_LT(root.index_tombstones, 500u);
  for (const auto& [name, handle] : expected) ASSERT_EQ(world.view.lookup(name), handle) << name;
  EXPECT_TRUE(is_sound(world));
}

TEST(Index, CollidingNamesAreSlowButRight) {
  World world(with_slots(128));
  // From the last line on the row goes on at the first.
  const std::uint32_t cells = index_entries_for(128);
  const std::vector<std::string> names = colliding_names(world, cells, cells - 2, 60);
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
  EXPECT_TRUE(is_sound(world));
}

// Removed names at the end of a row leave nothing behind, so a domain that comes and goes never
// litters its index.
TEST(Index, TombstonesGoWithTheEndOfTheirRow) {
  World world(with_slots(128));
  const std::uint32_t cells = index_entries_for(128);
  const std::vector<std::string> names = colliding_names(world, cells, 6, 40);
  std::vector<Handle> handles;
  for (const std::string& name : names) handles.push_back(world.add(name));
  const rm_registry_region& root = *world.region.tables().root;
  for (std::size_t i = 0; i + 1 < handles.size(); ++i) {
    world.remove(handles[i]);
    EXPECT_EQ(root.index_tombstones, i + 1) << "the last one is still found behind them";
    EXPECT_TRUE(succeeded(world.view.find(names.back())));
  }
  world.remove(handles.back());
  EXPECT_EQ(root.index_tombstones, 0u);
  for (const std::string& name : names) {
    EXPECT_TRUE(failed_with(world.view.find(name), ErrorCode::NotFound)) << name;
  }
}

// Names of every length, and pairs that differ in one byte only, wherever that is: what a cell
// leaves out of a name must be asked of the entry.
TEST(Index, TellsNamesApartByEachByte) {
  World world(with_slots(1u << 13));
  std::map<std::string, Handle> known;
  for (std::size_t bytes = 1; bytes <= kMaxNameBytes; ++bytes) {
    std::vector<std::string> names{std::string(bytes, 'a')};
    for (std::size_t at = 0; at < bytes; ++at) {
      names.push_back(std::string(bytes, 'a'));
      names.back()[at] = 'b';
    }
    for (const std::string& name : names) known.emplace(name, world.add(name));
  }
  for (const auto& [name, handle] : known) {
    ASSERT_EQ(world.view.find(name).value_or(Handle()), handle) << name;
    ASSERT_EQ(world.view.lookup(name), handle) << name;
    ASSERT_TRUE(failed_with(world.try_add(name), ErrorCode::AlreadyExists)) << name;
  }
}

// Two long names whose cells are equal: only their entries tell them apart.
TEST(Index, EqualKeysOfLongNamesAreCompared) {
  World world(with_slots(16));
  const std::string name = "a/name/that/does/not/fit/into/a/cell";
  const Handle handle = world.add(name);
  const Tables& tables = world.region.tables();
  // As a colliding hash would: the middle of the name in the entry is another one.
  Word* const entry = tables.entries.at(handle.slot());
  entry[3] ^= 0x01;
  EXPECT_TRUE(failed_with(world.view.find(name), ErrorCode::NotFound));
  EXPECT_TRUE(world.view.lookup(name).is_null());
  entry[3] ^= 0x01;
  EXPECT_EQ(world.view.find(name).value_or(Handle()), handle);
}

TEST(Index, APreparedNameIsTakenButNotFound) {
  World world(with_slots(16));
  for (const std::string name :
       {"n", "short/name", "a/name/of/24/bytes/in/all", "a/name/that/does/not/fit/into/a/cell"}) {
    const PreparedSlot prepared = world.writer.prepare(name, {}).value();
    EXPECT_TRUE(failed_with(world.view.find(name), ErrorCode::NotFound)) << name;
    EXPECT_TRUE(world.view.lookup(name).is_null()) << name;
    EXPECT_TRUE(failed_with(world.writer.prepare(name, {}), ErrorCode::AlreadyExists)) << name;
    const Handle handle = world.writer.publish(prepared).value();
    EXPECT_EQ(world.view.lookup(name), handle) << name;
  }
}

// Names as drivers give them must not crowd: the fast half of a look-up relies on it.
TEST(Index, PlausibleNamesSpreadLikeRandomOnes) {
  for (const std::uint64_t domain : {0ull, 1ull, 0x123456789abcdefull}) {
    const NameSecrets secrets = NameSecrets::of_domain(domain);
    for (const char* pattern :
         {"gpu0/frame/", "dma0/channel/", "t", "a/very/long/prefix/of/a/name/"}) {
      constexpr std::uint32_t kNames = 1u << 14;
      std::vector<std::uint32_t> homes(kNames);
      for (std::uint32_t i = 0; i < kNames; ++i) {
        ++homes[name_key(pattern + std::to_string(i), secrets).hash >> (64 - 14)];
      }
      // Poisson with mean 1: 8 % of the homes have more than two; 10 % would be 9 sigma off.
      const auto crowded = std::ranges::count_if(homes, [](auto n) { return n > 2; });
      EXPECT_LT(crowded, kNames / 10) << pattern;
      EXPECT_LT(*std::ranges::max_element(homes), 12u) << pattern;
    }
  }
}

TEST(IndexState, RefusesWhatLeavesTheTable) {
  constexpr std::uint32_t kCells = 1024;
  const IndexState fine{.first = 512, .shift = 64 - 9, .rebuilds = 7};
  const auto decoded = IndexState::decode(fine.encode(), kCells);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->first, 512u);
  EXPECT_EQ(decoded->cells(), 512u);
  EXPECT_EQ(decoded->rebuilds, 7u);
  for (const IndexState bad :
       {IndexState{.first = 512, .shift = 64 - 10}, IndexState{.first = 0, .shift = 64 - 11},
        IndexState{.first = 0, .shift = 0}, IndexState{.first = 0, .shift = 32},
        IndexState{.first = 0, .shift = 63}}) {
    EXPECT_FALSE(IndexState::decode(bad.encode(), kCells)) << bad.first << ' ' << bad.shift;
  }
  for (const Word stray : {0x80u, 0x800u, 0x80000000u}) {
    EXPECT_FALSE(IndexState::decode(fine.encode() | stray, kCells)) << stray;
  }
}

// A look-up takes the part as it stands, whatever the region says.
TEST(CurrentIndex, IsInsideTheTableWhateverTheRegionSays) {
  constexpr std::uint32_t kCells = 1024;
  std::vector<Word> words(kCells * kCellWords);
  const Word* const end = words.data() + words.size();
  std::mt19937_64 random(seed());
  Word index_state = 0;
  CurrentIndex current(index_state, Records<rm_index_cell>(words.data(), kCells));
  std::uint32_t known = 0;
  for (Word low = 0; low <= 0x1000; ++low) {
    index_state = low | random() << RM_INDEX_REBUILDS_SHIFT;
    current.refresh();
    const IndexPart part = current.part();
    known += part.state == index_state ? 1 : 0;
    for (const std::uint64_t hash : {std::uint64_t{0}, random(), ~std::uint64_t{0}}) {
      ASSERT_GE(part.line(hash), words.data()) << low;
      ASSERT_LE(part.line(hash) + RM_INDEX_LINE_CELLS * kCellWords, end) << low;
    }
  }
  EXPECT_GT(known, 0u);
}

// What a process knows of an index that was replaced is not current until it looks again, and that
// is never for one that stopped.
TEST(CurrentIndex, KnowsAStateFromARefreshUntilTheNext) {
  World world(with_slots(16));
  const Tables& tables = world.region.tables();
  EXPECT_NE(tables.current->part().state, *tables.index_state);
  tables.current->refresh();
  EXPECT_EQ(tables.current->part().state, *tables.index_state);
  std::vector<bool> none;
  NameIndex(tables).rebuild(none);
  EXPECT_NE(tables.current->part().state, *tables.index_state);
  EXPECT_TRUE(failed_with(world.view.find("a/plain/name"), ErrorCode::NotFound));
  EXPECT_EQ(tables.current->part().state, *tables.index_state) << "each search looks again";
  world.view.stop_lookups_at_home();
  EXPECT_NE(tables.current->part().state, *tables.index_state);
  tables.current->refresh();
  EXPECT_NE(tables.current->part().state, *tables.index_state);
  const Handle handle = world.add("a/plain/name");
  EXPECT_TRUE(world.view.lookup_at_home("a/plain/name").is_null());
  EXPECT_EQ(world.view.lookup("a/plain/name"), handle);
}

// A reader that knows the index as it was two rebuilds ago reads the same array: cells that are
// right by now, and were others' in between. What it read says nothing, be it a name or none.
TEST(Index, AReaderThatMissedTwoRebuildsBelievesNothing) {
  World world(with_slots(16));
  const Tables& tables = world.region.tables();
  const std::string two_words = "two/words";
  const std::string three_words = "a/name/of/three/words";
  const Handle two = world.add(two_words);
  const Handle three = world.add(three_words);
  tables.current->refresh();
  const IndexPart old = tables.current->part();
  const IndexState old_state = index_state(world);
  ASSERT_EQ(find_at_home<2>(tables, old, two_words), two);
  ASSERT_EQ(find_at_home<3>(tables, old, three_words), three);

  std::vector<bool> live(16);
  live[two.slot()] = live[three.slot()] = true;
  NameIndex index(tables);
  index.rebuild(live);
  index.rebuild(live);
  tables.current->refresh();
  const IndexPart now = tables.current->part();
  ASSERT_EQ(now.cells, old.cells) << "not in the same array again";
  ASSERT_EQ(find_at_home<2>(tables, now, two_words), two);
  ASSERT_EQ(find_at_home<3>(tables, now, three_words), three);

  EXPECT_TRUE(find_at_home<2>(tables, old, two_words).is_null());
  EXPECT_TRUE(find_at_home<3>(tables, old, three_words).is_null());
  for (const std::string& name : {two_words, three_words, std::string("not/there")}) {
    const NameKey key = name_key(name, tables.secrets);
    EXPECT_NE(search_once(tables, now.state, index_state(world), key, name).outcome,
              Search::Outcome::Moved);
    EXPECT_EQ(search_once(tables, old.state, old_state, key, name).outcome, Search::Outcome::Moved);
  }
}

}  // namespace
}  // namespace resmgr::registry::test
