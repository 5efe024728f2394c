// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/shares.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

constexpr Rights kUse = Rights::Acquire | Rights::Read;

class Shares : public testing::Test {
 protected:
  World world;
  std::uint32_t owner = world.driver("owner");
  std::uint32_t other = world.driver("other");
  std::uint32_t third = world.driver("third");
  Handle handle = world.add("r", {.flags = ResourceFlags::Shareable, .owner_driver = owner});
  ShareWriter& shares = world.writer.shares();
};

TEST_F(Shares, TheOwnerMayDoEverythingOthersNothing) {
  EXPECT_EQ(world.view.rights(handle, owner).value(), Rights::All);
  EXPECT_EQ(world.view.rights(handle, other).value(), Rights::None);
  EXPECT_EQ(world.view.rights(handle, 0).value(), Rights::None);
}

TEST_F(Shares, RightsAddUp) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, Rights::Acquire)));
  EXPECT_EQ(world.view.rights(handle, other).value(), Rights::Acquire);
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, Rights::Read)));
  EXPECT_EQ(world.view.rights(handle, other).value(), kUse);
  EXPECT_EQ(world.view.shares(handle).value().size(), 1u);
}

TEST_F(Shares, OnlyWhatOneHasCanBePassedOn) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  EXPECT_TRUE(
      failed_with(shares.share(handle, other, third, Rights::Read), ErrorCode::NotPermitted));
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, Rights::Share)));
  EXPECT_TRUE(
      failed_with(shares.share(handle, other, third, Rights::Write), ErrorCode::NotPermitted));
  EXPECT_EQ(world.view.rights(handle, third).value(), Rights::None);
  EXPECT_TRUE(succeeded(shares.share(handle, other, third, Rights::Read)));
  EXPECT_EQ(world.view.rights(handle, third).value(), Rights::Read);
}

TEST_F(Shares, WhatMakesNoSenseIsRefused) {
  EXPECT_TRUE(
      failed_with(shares.share(handle, owner, other, Rights::None), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, other, static_cast<Rights>(0x10)),
                          ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, owner, kUse), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, 0, kUse), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, 7, kUse), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, ~0u, kUse), ErrorCode::InvalidArgument));

  const Handle alone = world.add("alone", {.owner_driver = owner});
  EXPECT_TRUE(failed_with(shares.share(alone, owner, other, kUse), ErrorCode::NotShareable));
  EXPECT_TRUE(is_sound(world));
}

TEST_F(Shares, TheOwnerOrTheSharerEndsAShare) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  ASSERT_TRUE(succeeded(shares.share(handle, owner, third, kUse)));
  EXPECT_TRUE(failed_with(shares.unshare(handle, third, other), ErrorCode::NotPermitted));
  EXPECT_TRUE(succeeded(shares.unshare(handle, other, other)));
  EXPECT_TRUE(failed_with(shares.unshare(handle, owner, other), ErrorCode::NotFound));
  EXPECT_TRUE(succeeded(shares.unshare(handle, owner, third)));
  EXPECT_TRUE(world.view.shares(handle).value().empty());
  EXPECT_TRUE(is_sound(world));
}

TEST_F(Shares, NothingIsSharedThatIsBeingRemoved) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  ASSERT_TRUE(succeeded(world.writer.begin_unregister(handle)));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, third, kUse), ErrorCode::InUse));
  EXPECT_TRUE(failed_with(shares.share(handle, owner, other, kUse), ErrorCode::InUse));
  ASSERT_TRUE(succeeded(world.writer.cancel_unregister(handle)));
  EXPECT_TRUE(succeeded(shares.share(handle, owner, third, kUse)));
}

TEST_F(Shares, TheyGoWithTheResource) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  world.remove(handle);
  EXPECT_TRUE(is_sound(world));
  const Handle next = world.add("r", {.flags = ResourceFlags::Shareable, .owner_driver = owner});
  EXPECT_EQ(world.view.rights(next, other).value(), Rights::None);
}

class Users : public Shares {
 protected:
  // Whether the resource could be unregistered; it stays.
  Result<void> try_remove(const Leaving* leaving = nullptr) {
    auto begun = world.writer.begin_unregister(handle, leaving);
    if (begun) {
      EXPECT_TRUE(succeeded(world.writer.cancel_unregister(handle)));
    }
    return begun;
  }
};

TEST_F(Users, WithResourcesOfTheirOwnKeepIt) {
  const std::string advice =
      ": unshare it, or unregister theirs first; of two that use each other one has to unshare";
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  ASSERT_TRUE(succeeded(shares.share(handle, owner, third, kUse)));
  EXPECT_TRUE(succeeded(try_remove())) << "they have nothing";
  const Handle one = world.add("one", {.owner_driver = other});
  const auto used = try_remove();
  ASSERT_TRUE(failed_with(used, ErrorCode::InUse));
  EXPECT_EQ(used.error().detail(), "used by other" + advice);
  const Handle two = world.add("two", {.owner_driver = third});
  EXPECT_EQ(try_remove().error().detail(), "used by third and 1 more" + advice);

  ASSERT_TRUE(succeeded(shares.unshare(handle, owner, third)));
  EXPECT_TRUE(failed_with(try_remove(), ErrorCode::InUse));
  world.remove(one);
  EXPECT_TRUE(succeeded(try_remove()));
  world.remove(two);
  EXPECT_TRUE(is_sound(world));
}

TEST_F(Users, ThatLeaveWithItDoNotKeepIt) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  const Handle one = world.add("one", {.owner_driver = other});
  world.add("two", {.owner_driver = other});
  const Leaving none;
  const Leaving some{{other, 1}};
  const Leaving all{{other, 2}};
  EXPECT_TRUE(failed_with(try_remove(&none), ErrorCode::InUse));
  EXPECT_TRUE(failed_with(try_remove(&some), ErrorCode::InUse));
  EXPECT_TRUE(succeeded(try_remove(&all)));
  world.remove(one);
  EXPECT_TRUE(succeeded(try_remove(&some)));
}

TEST_F(Users, DoNotKeepItWithWhatItNeeds) {
  ASSERT_TRUE(succeeded(shares.share(handle, owner, other, kUse)));
  const Handle one = world.add("one", {.owner_driver = other});
  const Handle below = world.add("below", {.owner_driver = other});
  ASSERT_TRUE(succeeded(world.writer.dependencies().add(handle, one)));
  ASSERT_TRUE(succeeded(world.writer.dependencies().add(one, below)));
  EXPECT_TRUE(succeeded(try_remove()));
  world.add("another", {.owner_driver = other});
  EXPECT_TRUE(failed_with(try_remove(), ErrorCode::InUse));
}

TEST_F(Shares, RandomSharingAgreesWithAMap) {
  std::mt19937_64 random(seed());
  std::map<std::uint32_t, std::uint32_t> expected;
  while (world.view.drivers().name(6).has_value() == false) {
    world.driver("d" + std::to_string(random()));
  }
  for (int step = 0; step < 20'000; ++step) {
    const auto with = static_cast<std::uint32_t>(2 + random() % 5);
    const auto bits = static_cast<std::uint32_t>(1 + random() % 15);
    if (random() % 3 == 0) {
      ASSERT_EQ(shares.unshare(handle, owner, with).has_value(), expected.erase(with) == 1);
    } else {
      ASSERT_TRUE(succeeded(shares.share(handle, owner, with, static_cast<Rights>(bits))));
      expected[with] |= bits;
    }
    for (std::uint32_t driver = 2; driver < 7; ++driver) {
      const auto known = expected.find(driver);
      ASSERT_EQ(world.view.rights(handle, driver).value(),
                static_cast<Rights>(known == expected.end() ? 0 : known->second));
    }
  }
  EXPECT_TRUE(is_sound(world));
}

}  // namespace
}  // namespace resmgr::registry::test
