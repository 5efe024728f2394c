// SPDX-License-Identifier: Apache-2.0
//
// Random bytes anywhere behind the header: every call ends, stays inside the region, and what it
// returns is well-formed.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

constexpr std::size_t kPage = 4096;

// A registry with some of everything.
struct Populated {
  Populated() : world(small_capacities(), RM_DOMAIN_COMPACT_HANDLES) {
    const std::uint32_t owner = world.driver("owner");
    const std::uint32_t other = world.driver("other");
    const std::array<PairText, 2> pairs{{{"k1", "v1"}, {"k2", "v2"}}};
    for (int i = 0; i < 9; ++i) {
      names.push_back("a/resource/of/some/length/" +
                      std::string(static_cast<std::size_t>(i * 6), 'x'));
      handles.push_back(world.add(names.back(), {.class_name = "class-" + std::to_string(i % 3),
                                                 .flags = ResourceFlags::Shareable,
                                                 .pairs = pairs,
                                                 .owner_driver = owner}));
      EXPECT_TRUE(
          succeeded(world.writer.shares().share(handles.back(), owner, other, Rights::All)));
      if (i > 0) {
        EXPECT_TRUE(succeeded(world.writer.dependencies().add(
            handles[static_cast<std::size_t>(i)], handles[static_cast<std::size_t>(i) / 2])));
      }
    }
    world.remove(handles.back());
    EXPECT_TRUE(succeeded(world.writer.begin_unregister(handles[7])));
  }

  World world;
  std::vector<std::string> names;
  std::vector<Handle> handles;
};

template <std::size_t N>
bool is_terminated(const std::array<char, N>& text) {
  return std::ranges::find(text, '\0') != text.end();
}

void read_entry_well_formed(const EntryCopy& entry) {
  ASSERT_TRUE(is_valid_name(entry.name_text()));
  ASSERT_LT(static_cast<unsigned>(entry.type), kResourceTypes);
  ASSERT_LE(entry.priority, ResourcePriority::Critical);
  ASSERT_LE(entry.access_pattern, AccessPattern::Streaming);
  ASSERT_EQ(static_cast<std::uint32_t>(entry.flags) & ~kKnownResourceFlags, 0u);
  ASSERT_NE(to_string(entry.state), "unknown");
  ASSERT_TRUE(entry.alignment == 0 || std::has_single_bit(entry.alignment));
}

// Every call a reader has, on everything he may know of.
void read_everything(const RegistryView& view, const Populated& known) {
  for (const std::string& name : known.names) {
    if (const auto found = view.find(name)) {
      ASSERT_LT(found->slot(), 12u);
    }
  }
  (void)view.find("not/there");
  view.for_each([&](const EntryCopy& entry) {
    read_entry_well_formed(entry);
    return true;
  });
  std::vector<Handle> handles = known.handles;
  for (std::uint32_t slot = 0; slot < 14; ++slot) {
    handles.emplace_back(slot, view.generation(slot));
  }
  for (const Handle handle : handles) {
    (void)view.is_live(handle);
    if (const auto entry = view.read(handle)) read_entry_well_formed(*entry);
    if (const auto pairs = view.pairs(handle)) {
      ASSERT_LE(pairs->size(), RM_MAX_PAIRS);
      for (const PairCopy& pair : *pairs) {
        ASSERT_TRUE(is_terminated(pair.key));
        ASSERT_TRUE(is_terminated(pair.value));
      }
    }
    if (const auto shares = view.shares(handle)) {
      ASSERT_LE(shares->size(), 16u);
    }
    (void)view.rights(handle, 1);
    (void)view.rights(handle, 2);
    if (const auto needs = view.needs(handle)) {
      ASSERT_LE(needs->size(), 24u);
    }
    if (const auto needed = view.needed_by(handle)) {
      ASSERT_LE(needed->size(), 24u);
    }
    if (const auto order = view.teardown_order(handle)) {
      ASSERT_LE(order->size(), 12u);
    }
    if (const auto small = view.compact(handle)) {
      ASSERT_EQ(view.expand(*small).value_or(Handle()), handle);
    }
  }
  for (std::uint32_t id = 0; id < 12; ++id) {
    if (const auto name = view.classes().name(id)) {
      ASSERT_TRUE(is_terminated(*name));
    }
    if (const auto name = view.drivers().name(id)) {
      ASSERT_TRUE(is_terminated(*name));
    }
  }
  (void)view.classes().find("class-1");
  (void)view.drivers().find("other");
}

// What a new authority does with a region of unknown state, and then with its resources.
void write_everything(World& world) {
  const Recovery recovery = world.writer.recover();
  ASSERT_LE(recovery.live, 12u);
  for (const Handle handle : recovery.pending) {
    ASSERT_TRUE(succeeded(world.writer.finish_unregister(handle)));
  }
  ASSERT_TRUE(is_sound(world));
  std::vector<Handle> handles;
  world.view.for_each([&](const EntryCopy& entry) {
    handles.push_back(entry.handle);
    return true;
  });
  for (int i = 0; i < 12; ++i) {
    if (const auto handle = world.try_add("new/" + std::to_string(i))) handles.push_back(*handle);
  }
  for (const Handle a : handles) {
    (void)world.writer.shares().share(a, 1, 2, Rights::Read);
    for (const Handle b : handles) (void)world.writer.dependencies().add(a, b);
  }
  ASSERT_TRUE(is_sound(world));
  // Damaged edges may form a cycle, so they go first.
  for (const Handle a : handles) {
    for (const Handle b : handles) (void)world.writer.dependencies().remove(a, b);
  }
  for (const Handle handle : handles) {
    ASSERT_TRUE(succeeded(world.writer.begin_unregister(handle)));
    ASSERT_TRUE(succeeded(world.writer.finish_unregister(handle)));
  }
  ASSERT_EQ(world.view.size(), 0u);
  ASSERT_TRUE(is_sound(world));
}

class Damage : public testing::Test {
 protected:
  void randomise(std::span<std::byte> bytes) {
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  }
  // Small numbers look like links and so lead further into the tables than random ones do.
  void plant(std::span<std::byte> bytes, std::size_t at) {
    const std::array<std::uint32_t, 6> values{static_cast<std::uint32_t>(random() % 26),
                                              static_cast<std::uint32_t>(random()),
                                              0u,
                                              1u,
                                              ~0u,
                                              1u << (random() % 32)};
    const std::uint32_t value = values[random() % values.size()];
    std::memcpy(bytes.data() + at / 4 * 4, &value, sizeof value);
  }
  void survive(std::span<const std::byte> image) {
    const RegistryRegion region = copy_of(image);
    ASSERT_NO_FATAL_FAILURE(read_everything(RegistryView(region), known));
    World world(copy_of(image));
    ASSERT_NO_FATAL_FAILURE(write_everything(world));
    ASSERT_NO_FATAL_FAILURE(read_everything(world.view, known));
  }

  Populated known;
  std::vector<std::byte> good{known.world.region.bytes().begin(), known.world.region.bytes().end()};
  std::mt19937_64 random{seed()};
};

TEST_F(Damage, TheUndamagedRegionPasses) { ASSERT_NO_FATAL_FAILURE(survive(good)); }

TEST_F(Damage, APageOfRandomBytes) {
  for (int round = 0; round < 20; ++round) {
    for (std::size_t page = 0; page < good.size() / kPage; ++page) {
      std::vector<std::byte> image = good;
      const std::size_t begin = std::max(page * kPage, sizeof(rm_region_header));
      randomise(std::span(image).subspan(begin, (page + 1) * kPage - begin));
      ASSERT_NO_FATAL_FAILURE(survive(image)) << "page " << page;
    }
  }
}

TEST_F(Damage, RandomBytesEverywhere) {
  for (int round = 0; round < 100; ++round) {
    std::vector<std::byte> image = good;
    randomise(std::span(image).subspan(sizeof(rm_region_header)));
    ASSERT_NO_FATAL_FAILURE(survive(image));
  }
}

TEST_F(Damage, AFewPlausibleNumbersInUsedPlaces) {
  std::vector<std::size_t> used;
  for (std::size_t i = sizeof(rm_region_header); i < good.size(); i += 4) {
    if (good[i] != std::byte{0}) used.push_back(i);
  }
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::byte> image = good;
    for (std::size_t n = 1 + random() % 6; n > 0; --n) {
      plant(image, used[random() % used.size()]);
    }
    ASSERT_NO_FATAL_FAILURE(survive(image)) << "round " << round;
  }
}

// Chains that run in circles are the classic way to make a reader loop.
TEST_F(Damage, EveryLinkToItself) {
  for (const auto& [table, bytes, offset] :
       {std::tuple{RM_TABLE_PAIRS, sizeof(rm_pair), offsetof(rm_pair, next_link)},
        std::tuple{RM_TABLE_SHARES, sizeof(rm_share), offsetof(rm_share, next_link)},
        std::tuple{RM_TABLE_DEPENDENCIES, sizeof(rm_dependency),
                   offsetof(rm_dependency, next_needs_link)},
        std::tuple{RM_TABLE_DEPENDENCIES, sizeof(rm_dependency),
                   offsetof(rm_dependency, next_needed_link)},
        std::tuple{RM_TABLE_CLASSES, sizeof(rm_tag), offsetof(rm_tag, next_link)}}) {
    std::vector<std::byte> image = good;
    const std::size_t begin = known.world.region.header().offset[table];
    for (std::uint32_t i = 0; i < 10; ++i) {
      const std::uint32_t self = i + 1;
      std::memcpy(image.data() + begin + i * bytes + offset, &self, sizeof self);
    }
    ASSERT_NO_FATAL_FAILURE(survive(image)) << table;
  }
}

TEST_F(Damage, AFullIndexOfWrongWords) {
  std::vector<std::byte> image = good;
  const std::size_t begin = known.world.region.header().offset[RM_TABLE_INDEX];
  const std::size_t end = known.world.region.header().offset[RM_TABLE_PAIRS];
  for (const Word word : {~Word{0}, RM_INDEX_TOMBSTONE, Word{1}, Word{0x7fffffff}}) {
    for (std::size_t i = begin; i < end; i += sizeof word) {
      std::memcpy(image.data() + i, &word, sizeof word);
    }
    ASSERT_NO_FATAL_FAILURE(survive(image)) << word;
  }
}

// Either would leave a resource that has a name and is not found by it.
TEST_F(Damage, NamesThatAreNotFound) {
  const auto name_of = [&](std::vector<std::byte>& image, Handle handle) {
    return std::span(image).subspan(known.world.region.header().offset[RM_TABLE_ENTRIES] +
                                        handle.slot() * sizeof(rm_entry) + offsetof(rm_entry, name),
                                    RM_NAME_BYTES);
  };
  std::vector<std::byte> padding = good;
  name_of(padding, known.handles[0])[RM_NAME_BYTES - 1] = std::byte{'x'};
  ASSERT_NO_FATAL_FAILURE(survive(padding)) << "bytes behind a name";

  std::vector<std::byte> twice = good;
  const auto first = name_of(twice, known.handles[1]);
  const auto second = name_of(twice, known.handles[2]);
  std::ranges::copy(first, second.begin());
  twice[static_cast<std::size_t>(second.data() - twice.data()) - offsetof(rm_entry, name)] =
      std::byte{static_cast<std::uint8_t>(known.names[1].size())};
  ASSERT_NO_FATAL_FAILURE(survive(twice)) << "one name for two";
  World world(copy_of(twice));
  EXPECT_EQ(world.writer.recover().undone, 1u);
  EXPECT_EQ(world.view.find(known.names[1]).value(), known.handles[1]);
  EXPECT_FALSE(world.view.is_live(known.handles[2]));
}

}  // namespace
}  // namespace resmgr::registry::test
