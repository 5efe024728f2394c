// SPDX-License-Identifier: Apache-2.0
//
// Random bytes anywhere: every call ends, stays inside the region, and what it returns is
// well-formed. tests/fuzz/registry_region_fuzz.cpp looks for worse ones than chance makes.
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

#include "tests/registry/damage.hpp"

namespace resmgr::registry::test {
namespace {

constexpr std::size_t kPage = 4096;

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
    ASSERT_NO_FATAL_FAILURE(read_everything(region, known));
    World world(copy_of(image));
    ASSERT_NO_FATAL_FAILURE(write_everything(world));
    ASSERT_NO_FATAL_FAILURE(read_everything(world.region, known));
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
  for (const Word word : {~Word{0}, Word{RM_INDEX_TOMBSTONE}, Word{1}, Word{0x7fffffff}}) {
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

  // Of a name that fits into a cell of the index, and of one that does not.
  for (const std::size_t i : {1u, 4u}) {
    std::vector<std::byte> twice = good;
    const auto first = name_of(twice, known.handles[i]);
    const auto second = name_of(twice, known.handles[i + 1]);
    std::ranges::copy(first, second.begin());
    twice[static_cast<std::size_t>(second.data() - twice.data()) - offsetof(rm_entry, name)] =
        std::byte{static_cast<std::uint8_t>(known.names[i].size())};
    ASSERT_NO_FATAL_FAILURE(survive(twice)) << "one name for two";
    World world(copy_of(twice));
    EXPECT_EQ(world.writer.recover().undone, 1u);
    EXPECT_EQ(world.view.find(known.names[i]).value(), known.handles[i]);
    EXPECT_FALSE(world.view.is_live(known.handles[i + 1]));
  }
}

TEST_F(Damage, ScriptsThatDamageTheHeaderToo) {
  int attached = 0;
  constexpr int kScripts = 1000;
  for (int round = 0; round < kScripts; ++round) {
    std::vector<std::uint8_t> script(1 + random() % 256);
    std::ranges::generate(script, [&] { return static_cast<std::uint8_t>(random()); });
    attached += play_damage(script) ? 1 : 0;
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  EXPECT_GT(attached, kScripts / 2);
  EXPECT_LT(attached, kScripts);
}

// What the writer remembers of the table of classes is not better than the table.
TEST_F(Damage, AClassThatIsLostIsMadeAnew) {
  World world(copy_of(good));
  ASSERT_TRUE(succeeded(world.try_add("first", {.class_name = "the-class"})));
  const Tables& tables = world.region.tables();
  const std::uint32_t id = world.view.classes().find("the-class").value();
  tables.classes.at(id)[0] = 0;
  world.writer.recover();
  ASSERT_TRUE(failed_with(world.view.classes().find("the-class"), ErrorCode::NotFound));
  const Handle handle = world.add("second", {.class_name = "the-class"});
  const std::uint16_t given = world.view.read(handle).value().class_id;
  EXPECT_EQ(world.view.classes().find("the-class").value_or(0), given);
}

}  // namespace
}  // namespace resmgr::registry::test
