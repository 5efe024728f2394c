// SPDX-License-Identifier: Apache-2.0
//
// Registrations that are refused: whatever the reason, not a byte of the region has changed.
#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/registry/writer.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

std::vector<std::byte> bytes_of(const World& world) {
  const std::span<const std::byte> bytes = world.region.bytes();
  return {bytes.begin(), bytes.end()};
}

/// Passes if check() and prepare() say `code`, and change nothing.
testing::AssertionResult refused(World& world, std::string_view name,
                                 const Description& description, ErrorCode code,
                                 bool check_knows = true) {
  const std::vector<std::byte> before = bytes_of(world);
  const auto checked = world.writer.check(name, description);
  if (check_knows ? !failed_with(checked, code) : !succeeded(checked)) {
    return testing::AssertionFailure() << "check() says otherwise";
  }
  if (auto right = failed_with(world.writer.prepare(name, description), code); !right) return right;
  if (bytes_of(world) != before) return testing::AssertionFailure() << "the region changed";
  return testing::AssertionSuccess();
}

TEST(RefusedRegistration, ForItsNameOrDescriptionLeavesNoTrace) {
  World world;
  world.add("taken");
  const PairText pairs[] = {{"k", "1"}, {"k", "2"}};
  const auto invalid = ErrorCode::InvalidArgument;
  EXPECT_TRUE(refused(world, "", {.class_name = "new"}, ErrorCode::InvalidName));
  EXPECT_TRUE(refused(world, std::string(96, 'n'), {.class_name = "new"}, ErrorCode::InvalidName));
  EXPECT_TRUE(refused(world, "a b", {.class_name = "new"}, ErrorCode::InvalidName));
  EXPECT_TRUE(refused(world, "r", {.class_name = "new class"}, ErrorCode::InvalidName));
  EXPECT_TRUE(refused(world, "r", {.class_name = "new", .alignment = 3}, invalid));
  EXPECT_TRUE(refused(world, "r", {.class_name = "new", .owner_driver = 9}, invalid));
  EXPECT_TRUE(refused(world, "r", {.class_name = "new", .pairs = pairs}, invalid));
  EXPECT_TRUE(refused(world, "taken", {.class_name = "new"}, ErrorCode::AlreadyExists));
  EXPECT_TRUE(failed_with(world.view.classes().find("new"), ErrorCode::NotFound));
}

TEST(RefusedRegistration, ForWantOfRoomLeavesNoTrace) {
  const auto full = ErrorCode::CapacityExceeded;
  Capacities few_slots = small_capacities();
  few_slots.slots = 2;
  World slots(few_slots);
  slots.add("a");
  slots.add("b");
  EXPECT_TRUE(refused(slots, "c", {.class_name = "new"}, full, false));

  Capacities few_pairs = small_capacities();
  few_pairs.pairs = 1;
  World pairs(few_pairs);
  const PairText two[] = {{"k", "1"}, {"l", "2"}};
  EXPECT_TRUE(refused(pairs, "a", {.class_name = "new", .pairs = two}, full));

  World classes;
  for (int i = 0; succeeded(classes.writer.classes().intern("c" + std::to_string(i))); ++i) {
  }
  EXPECT_TRUE(refused(classes, "a", {.class_name = "new"}, full));
}

TEST(RefusedRegistration, TakesItsClassBackWhenItIsAbandoned) {
  World world;
  world.add("a", {.class_name = "known"});
  const std::uint32_t driver = world.driver("d");
  const PreparedSlot old = world.writer.prepare("b", {.class_name = "known"}).value();
  ASSERT_TRUE(succeeded(world.writer.abandon(old)));
  EXPECT_TRUE(succeeded(world.view.classes().find("known")));

  const PreparedSlot fresh = world.writer.prepare("b", {.class_name = "new"}).value();
  ASSERT_TRUE(succeeded(world.writer.abandon(fresh)));
  EXPECT_TRUE(failed_with(world.view.classes().find("new"), ErrorCode::NotFound));
  EXPECT_TRUE(failed_with(world.view.classes().name(fresh.class_id), ErrorCode::NotFound));
  EXPECT_EQ(world.view.drivers().find("d").value(), driver);

  // Its number may be another's by the next time.
  const Handle other = world.add("d", {.class_name = "other"});
  const Handle again = world.add("e", {.class_name = "new"});
  EXPECT_EQ(world.view.classes().find("other").value(), world.view.read(other)->class_id);
  EXPECT_EQ(world.view.classes().find("new").value(), world.view.read(again)->class_id);

  // One that others have come to use stays.
  const PreparedSlot first = world.writer.prepare("b", {.class_name = "shared"}).value();
  const Handle second = world.add("c", {.class_name = "shared"});
  ASSERT_TRUE(succeeded(world.writer.abandon(first)));
  EXPECT_EQ(world.view.classes().find("shared").value(), world.view.read(second)->class_id);
  EXPECT_TRUE(is_sound(world));
}

}  // namespace
}  // namespace resmgr::registry::test
