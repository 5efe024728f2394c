// SPDX-License-Identifier: Apache-2.0
//
// How many resources there were and are; that the numbers fit what is there, is_sound() says.
#include "resmgr/registry/tallies.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

constexpr auto kHardware = ResourceType::Hardware;

TEST(Tallies, CountWhatComesAndGoes) {
  World world;
  const std::uint32_t dma = world.driver("dma");
  const Handle a = world.add("a", {.type = kHardware, .owner_driver = dma});
  (void)world.add("b", {.type = kHardware});
  (void)world.add("m", {.type = ResourceType::Memory, .size_bytes = 9, .owner_driver = dma});
  world.remove(a);
  (void)world.add("c", {.type = kHardware});
  const Tally all = world.view.tally(0, kHardware);
  EXPECT_EQ(all.created, 3u);
  EXPECT_EQ(all.destroyed, 1u);
  EXPECT_EQ(all.peak, 2u);
  EXPECT_EQ(all.current(), 2u);
  EXPECT_EQ(world.view.tally(dma, kHardware).created, 1u);
  EXPECT_EQ(world.view.tally(dma, kHardware).current(), 0u);
  EXPECT_EQ(world.view.tally(dma, ResourceType::Memory).current(), 1u);
  EXPECT_TRUE(is_sound(world));
}

TEST(Tallies, WhatWasPreparedOnlyNeverCame) {
  World world;
  const auto prepared = world.writer.prepare("a", {.type = kHardware});
  ASSERT_TRUE(prepared);
  ASSERT_TRUE(world.writer.abandon(*prepared));
  EXPECT_EQ(world.view.tally(0, kHardware).created, 0u);
}

TEST(Tallies, NobodyHasNone) {
  const World world;
  EXPECT_EQ(world.view.tally(~0u, kHardware).created, 0u);
  EXPECT_EQ(world.view.tally(0, static_cast<ResourceType>(6)).created, 0u);
}

// A writer was killed between a change and its count, or the rows hold anything.
TEST(Tallies, AreMadeToFitWhatIsThere) {
  std::array<rm_tally, 2 * RM_RESOURCE_TYPES> rows{};
  Tallies tallies(rows.data(), 2);
  rows[0] = {.created = 5, .destroyed = 2, .peak = 3, .reserved = 0};
  rows[RM_RESOURCE_TYPES] = {.created = 1, .destroyed = 99, .peak = 0, .reserved = 0};
  tallies.recover(2, [](const Tallies::Add& add) {
    add(1, kHardware);
    add(0, kHardware);
    add(7, kHardware);
    add(0, static_cast<ResourceType>(200));
  });
  const Tally all = tallies.read(0, kHardware);
  EXPECT_EQ(all.created, 5u);
  EXPECT_EQ(all.current(), 3u);
  EXPECT_EQ(all.peak, 3u);
  const Tally own = tallies.read(1, kHardware);
  EXPECT_EQ(own.current(), 1u);
  EXPECT_EQ(own.peak, 1u);
  tallies.recover(1000, [](const Tallies::Add&) {});
  EXPECT_EQ(tallies.read(0, kHardware).current(), 0u);
}

}  // namespace
}  // namespace resmgr::registry::test
