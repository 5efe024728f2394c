// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

// A full table is refused with both amounts, changes nothing, and has room again after a removal.
TEST(Capacity, Slots) {
  World world;
  std::vector<Handle> handles;
  for (int i = 0; i < 12; ++i) handles.push_back(world.add("r/" + std::to_string(i)));
  const std::string before = describe(world.view);
  const auto refused = world.try_add("one-more");
  ASSERT_TRUE(failed_with(refused, ErrorCode::CapacityExceeded));
  EXPECT_EQ(refused.error().requested(), 13u);
  EXPECT_EQ(refused.error().available(), 12u);
  EXPECT_EQ(describe(world.view), before);
  EXPECT_TRUE(failed_with(world.view.find("one-more"), ErrorCode::NotFound));
  EXPECT_TRUE(is_sound(world));

  world.remove(handles[5]);
  EXPECT_EQ(world.add("one-more").slot(), handles[5].slot());
}

TEST(Capacity, PreparedOnesCount) {
  World world;
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(succeeded(world.writer.prepare("r/" + std::to_string(i), {})));
  }
  EXPECT_TRUE(failed_with(world.writer.prepare("one-more", {}), ErrorCode::CapacityExceeded));
}

TEST(Capacity, Pairs) {
  World world;
  std::vector<std::string> keys;
  for (int i = 0; i < 16; ++i) keys.push_back("k" + std::to_string(i));
  std::vector<PairText> pairs;
  for (const std::string& key : keys) pairs.push_back({key, "v"});
  const std::span<const PairText> all(pairs);

  const Handle first = world.add("a", {.pairs = all});
  world.add("b", {.pairs = all.first(3)});
  const auto refused = world.try_add("c", {.pairs = all.first(2)});
  ASSERT_TRUE(failed_with(refused, ErrorCode::CapacityExceeded));
  EXPECT_EQ(refused.error().requested(), 2u);
  EXPECT_EQ(refused.error().available(), 1u);
  EXPECT_TRUE(is_sound(world));
  EXPECT_TRUE(succeeded(world.try_add("c", {.pairs = all.first(1)})));

  world.remove(first);
  EXPECT_TRUE(succeeded(world.try_add("d", {.pairs = all})));
  EXPECT_TRUE(is_sound(world));
}

TEST(Capacity, Classes) {
  World world;
  for (int i = 1; i < 10; ++i) {
    world.add("r/" + std::to_string(i), {.class_name = "class-" + std::to_string(i)});
  }
  EXPECT_TRUE(
      failed_with(world.try_add("x", {.class_name = "class-10"}), ErrorCode::CapacityExceeded));
  EXPECT_TRUE(succeeded(world.try_add("x", {.class_name = "class-9"})));
  EXPECT_TRUE(is_sound(world));
}

TEST(Capacity, Drivers) {
  World world;
  for (int i = 1; i < 8; ++i) world.driver("d" + std::to_string(i));
  const auto refused = world.writer.drivers().intern("d8");
  ASSERT_TRUE(failed_with(refused, ErrorCode::CapacityExceeded));
  EXPECT_EQ(refused.error().available(), 8u);
  EXPECT_EQ(world.driver("d7"), 7u) << "known ones are still found";
}

TEST(Capacity, Shares) {
  Capacities capacities = small_capacities();
  capacities.shares = 2;
  World world(capacities);
  for (int i = 1; i < 8; ++i) world.driver("d" + std::to_string(i));
  const Handle handle = world.add("r", {.flags = ResourceFlags::Shareable, .owner_driver = 1});
  ShareWriter& shares = world.writer.shares();
  ASSERT_TRUE(succeeded(shares.share(handle, 1, 2, Rights::Read)));
  ASSERT_TRUE(succeeded(shares.share(handle, 1, 3, Rights::Read)));
  EXPECT_TRUE(failed_with(shares.share(handle, 1, 4, Rights::Read), ErrorCode::CapacityExceeded));
  EXPECT_TRUE(succeeded(shares.share(handle, 1, 3, Rights::Write))) << "no new record";
  ASSERT_TRUE(succeeded(shares.unshare(handle, 1, 2)));
  EXPECT_TRUE(succeeded(shares.share(handle, 1, 4, Rights::Read)));
  EXPECT_TRUE(is_sound(world));
}

TEST(Capacity, Dependencies) {
  Capacities capacities = small_capacities();
  capacities.dependencies = 1;
  World world(capacities);
  const Handle a = world.add("a");
  const Handle b = world.add("b");
  const Handle c = world.add("c");
  DependencyWriter& graph = world.writer.dependencies();
  ASSERT_TRUE(succeeded(graph.add(a, b)));
  EXPECT_TRUE(failed_with(graph.add(b, c), ErrorCode::CapacityExceeded));
  ASSERT_TRUE(succeeded(graph.remove(a, b)));
  EXPECT_TRUE(succeeded(graph.add(b, c)));
  EXPECT_TRUE(is_sound(world));
}

TEST(Capacity, TablesMayBeEmpty) {
  Capacities capacities = small_capacities();
  capacities.pairs = capacities.dependencies = capacities.shares = 0;
  World world(capacities);
  const PairText pair{"k", "v"};
  const std::uint32_t owner = world.driver("owner");
  const std::uint32_t other = world.driver("other");
  EXPECT_TRUE(
      failed_with(world.try_add("r", {.pairs = std::span(&pair, 1)}), ErrorCode::CapacityExceeded));
  const Handle a = world.add("a", {.flags = ResourceFlags::Shareable, .owner_driver = owner});
  const Handle b = world.add("b");
  EXPECT_TRUE(failed_with(world.writer.shares().share(a, owner, other, Rights::Read),
                          ErrorCode::CapacityExceeded));
  EXPECT_TRUE(failed_with(world.writer.dependencies().add(a, b), ErrorCode::CapacityExceeded));
  EXPECT_EQ(world.view.teardown_order(a).value(), std::vector{a});
  EXPECT_TRUE(is_sound(world));
}

}  // namespace
}  // namespace resmgr::registry::test
