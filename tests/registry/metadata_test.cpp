// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "resmgr/abi/description.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

TEST(Metadata, ComesBackAsItWasGiven) {
  World world;
  const std::uint32_t owner = world.driver("dma-edu");
  const std::array<PairText, 3> pairs{{{"format", "XR24"}, {"width", "1920"}, {"empty", ""}}};
  const Handle handle =
      world.add("gpu0/frame/3", {.type = ResourceType::Memory,
                                 .class_name = "gpu-buffer",
                                 .size_bytes = 1u << 20,
                                 .alignment = 4096,
                                 .access_pattern = AccessPattern::Streaming,
                                 .priority = ResourcePriority::High,
                                 .flags = ResourceFlags::Shareable | ResourceFlags::Persistent,
                                 .numa_node = 1,
                                 .pairs = pairs,
                                 .owner_driver = owner,
                                 .owner_client = 5,
                                 .cookie = 0xfeedu,
                                 .created_at = 123456789,
                                 .type_tag = 42,
                                 .backing = 3,
                                 .fd_kind = 9});
  const EntryCopy entry = world.view.read(handle).value();
  EXPECT_EQ(entry.handle, handle);
  EXPECT_EQ(entry.name_text(), "gpu0/frame/3");
  EXPECT_EQ(entry.state, Lifecycle::Ready);
  EXPECT_EQ(entry.type, ResourceType::Memory);
  EXPECT_STREQ(world.view.classes().name(entry.class_id).value().data(), "gpu-buffer");
  EXPECT_EQ(entry.size_bytes, 1u << 20);
  EXPECT_EQ(entry.alignment, 4096u);
  EXPECT_EQ(entry.access_pattern, AccessPattern::Streaming);
  EXPECT_EQ(entry.priority, ResourcePriority::High);
  EXPECT_EQ(entry.flags, ResourceFlags::Shareable | ResourceFlags::Persistent);
  EXPECT_EQ(entry.numa_node, 1);
  EXPECT_EQ(entry.owner_driver, owner);
  EXPECT_EQ(entry.owner_client, 5u);
  EXPECT_EQ(entry.cookie, 0xfeedu);
  EXPECT_EQ(entry.created_at, 123456789u);
  EXPECT_EQ(entry.type_tag, 42u);
  EXPECT_EQ(entry.backing, 3u);
  EXPECT_EQ(entry.fd_kind, 9u);

  const std::vector<PairCopy> copies = world.view.pairs(handle).value();
  ASSERT_EQ(copies.size(), pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    EXPECT_EQ(copies[i].key.data(), pairs[i].key);
    EXPECT_EQ(copies[i].value.data(), pairs[i].value);
  }
  EXPECT_STREQ(world.view.drivers().name(owner).value().data(), "dma-edu");
}

TEST(Metadata, WithoutAClassTheTypeNamesIt) {
  World world;
  const Handle handle = world.add("a", {.type = ResourceType::Communication});
  const std::uint16_t id = world.view.read(handle).value().class_id;
  EXPECT_STREQ(world.view.classes().name(id).value().data(), "communication");
  EXPECT_EQ(world.view.classes().find("communication").value(), id);
}

TEST(Metadata, WhatIsOutOfRangeIsRefused) {
  World world;
  const std::array<Description, 15> refused{{
      {.type = static_cast<ResourceType>(6)},
      {.size_bytes = kMaxResourceBytes + 1},
      {.size_bytes = ~std::uint64_t{0}},
      {.alignment = 3},
      {.alignment = kMaxAlignment * 2},
      {.access_pattern = static_cast<AccessPattern>(6)},
      {.priority = static_cast<ResourcePriority>(5)},
      {.flags = static_cast<ResourceFlags>(0x100)},
      {.flags = ResourceFlags::Shareable | ResourceFlags::ExclusiveOnly},
      {.flags = ResourceFlags::Restricted},  // without an owner
      {.flags = ResourceFlags::Persistent | ResourceFlags::Transient},
      {.numa_node = -2},
      {.numa_node = kMaxNumaNode + 1},
      {.owner_driver = 1},  // nobody has that number yet
      {.owner_driver = ~0u},
  }};
  for (std::size_t i = 0; i < refused.size(); ++i) {
    EXPECT_TRUE(failed_with(world.try_add("r", refused[i]), ErrorCode::InvalidArgument)) << i;
  }
  EXPECT_TRUE(failed_with(world.try_add("r", {.class_name = "no blanks"}), ErrorCode::InvalidName));
  EXPECT_TRUE(failed_with(world.try_add("r", {.class_name = "a-class-name-of-thirty-two-bytes"}),
                          ErrorCode::InvalidName));
  EXPECT_EQ(world.view.size(), 0u);
  EXPECT_TRUE(is_sound(world));

  EXPECT_TRUE(succeeded(world.try_add(
      "largest",
      {.size_bytes = kMaxResourceBytes, .alignment = kMaxAlignment, .numa_node = kMaxNumaNode})));
}

TEST(Metadata, PairsAreBounded) {
  World world;
  const std::string key(23, 'k');
  const std::string value(35, '\xff');
  const auto with = [&](std::vector<PairText> pairs) {
    return world.try_add("r", {.pairs = pairs});
  };
  const auto refused = [&](std::vector<PairText> pairs) {
    return failed_with(with(std::move(pairs)), ErrorCode::InvalidArgument);
  };
  EXPECT_TRUE(refused({{"", "v"}}));
  EXPECT_TRUE(refused({{key + "k", "v"}}));
  EXPECT_TRUE(refused({{"a key", "v"}}));
  EXPECT_TRUE(refused({{"k", value + "v"}}));
  EXPECT_TRUE(refused({{"k", std::string_view("a\0b", 3)}}));
  EXPECT_TRUE(refused({{"k", "1"}, {"other", "2"}, {"k", "3"}}));

  std::vector<std::string> keys;
  for (int i = 0; i < 17; ++i) keys.push_back("k" + std::to_string(i));
  std::vector<PairText> many;
  for (const std::string& k : keys) many.push_back({k, "v"});
  EXPECT_TRUE(refused(many));
  many.pop_back();
  const auto handle = with(many);
  ASSERT_TRUE(succeeded(handle));
  EXPECT_EQ(world.view.pairs(*handle).value().size(), 16u);
  world.remove(*handle);

  const auto longest = with({{key, value}});
  ASSERT_TRUE(succeeded(longest));
  const PairCopy copy = world.view.pairs(*longest).value().front();
  EXPECT_EQ(copy.key.data(), key);
  EXPECT_EQ(copy.value.data(), value);
  EXPECT_TRUE(is_sound(world));
}

TEST(Tags, TheSameNameGivesTheSameNumber) {
  World world;
  const std::uint32_t first = world.driver("dma");
  EXPECT_NE(first, 0u);
  EXPECT_EQ(world.driver("dma"), first);
  EXPECT_NE(world.driver("dma2"), first);
  EXPECT_EQ(world.view.drivers().find("dma").value(), first);
  EXPECT_TRUE(failed_with(world.view.drivers().find("dm"), ErrorCode::NotFound));
  EXPECT_TRUE(failed_with(world.writer.drivers().intern(""), ErrorCode::InvalidName));
  EXPECT_TRUE(failed_with(world.view.drivers().name(7), ErrorCode::NotFound));
  EXPECT_TRUE(failed_with(world.view.drivers().name(~0u), ErrorCode::NotFound));
  EXPECT_STREQ(world.view.drivers().name(0).value().data(), "");
}

TEST(Tags, ManyNamesShareTheirBuckets) {
  Capacities capacities = small_capacities();
  capacities.drivers = RM_MAX_DRIVERS;
  World world(capacities);
  for (std::uint32_t i = 1; i < RM_MAX_DRIVERS; ++i) {
    ASSERT_EQ(world.driver("driver-" + std::to_string(i)), i);
  }
  for (std::uint32_t i = 1; i < RM_MAX_DRIVERS; ++i) {
    ASSERT_EQ(world.view.drivers().find("driver-" + std::to_string(i)).value(), i);
  }
  EXPECT_TRUE(failed_with(world.writer.drivers().intern("one-more"), ErrorCode::CapacityExceeded));
}

}  // namespace
}  // namespace resmgr::registry::test
