// SPDX-License-Identifier: Apache-2.0
//
// What is restricted is asked for, by whichever way it is acquired.
#include <gtest/gtest.h>

#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kUser = 3;
constexpr std::uint32_t kStranger = 4;

class RightsOfContexts : public ::testing::Test {
 protected:
  void SetUp() override { domain.names.barred_driver = kStranger; }

  [[nodiscard]] ErrorCode refused(Context& context, const Request& request) {
    const auto grant = domain.engine.acquire(context, restricted, request);
    return grant ? ErrorCode{} : grant.error().code();
  }

  Domain domain;
  Handle restricted = domain.arm(0, 0, RM_SLOT_ATTR_RESTRICTED);
  Handle open = domain.arm(1);
  Context& user = domain.open(kUser, this_thread());
  Context& stranger = domain.open(kStranger, this_thread());
};

TEST_F(RightsOfContexts, AStrangerIsRefusedInEveryMode) {
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    for (const Request& request :
         {trying(kind), blocking(kind), timed(kLongNs, kind), emergency(kLongNs, kind)}) {
      EXPECT_EQ(refused(stranger, request), ErrorCode::NotPermitted);
    }
  }
  Grant grant;
  EXPECT_FALSE(domain.engine.try_exclusive(stranger, restricted, false, {}, grant));
  EXPECT_FALSE(domain.engine.try_shared(stranger, restricted, false, {}, grant));
  EXPECT_TRUE(is_free(domain.word(restricted)));
}

TEST_F(RightsOfContexts, TheFastPathLeavesItToOthers) {
  make_plain(domain.engine, user);
  make_plain(domain.engine, stranger);
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    // A cell is parked by the first shared hold.
    const auto grant = domain.engine.acquire(user, restricted, trying(kind));
    ASSERT_TRUE(grant);
    ASSERT_TRUE(domain.engine.release(user, restricted.with_tenure(grant->tenure), kind));
    EXPECT_FALSE(take_fast(domain.engine, user, restricted, kind));
    EXPECT_FALSE(take_fast(domain.engine, stranger, restricted, kind));
  }
  std::uint8_t tenure = 0;
  EXPECT_EQ(FastPath::try_exclusive_beside(user, &domain.engine.order(), restricted, {}, tenure),
            FastPath::Outcome::NotMine);
}

TEST_F(RightsOfContexts, WhatIsOpenIsNotAskedFor) {
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    ASSERT_TRUE(domain.engine.acquire(stranger, open, trying(kind)));
    ASSERT_TRUE(domain.engine.release(stranger, open, kind));
  }
  EXPECT_EQ(domain.names.questions(), 0);
}

TEST_F(RightsOfContexts, AHoldOutlivesThemButDoesNotGrow) {
  ASSERT_TRUE(domain.engine.acquire(user, restricted, trying(HoldKind::Shared)));
  domain.names.barred_driver = kUser;
  for (const Request& request : {trying(), blocking()}) {
    const auto upgraded = domain.engine.upgrade(user, restricted, request);
    ASSERT_FALSE(upgraded);
    EXPECT_EQ(upgraded.error(), ErrorCode::NotPermitted);
  }
  EXPECT_TRUE(domain.engine.release(user, restricted, HoldKind::Shared));
  EXPECT_EQ(refused(user, trying(HoldKind::Shared)), ErrorCode::NotPermitted);
}

TEST_F(RightsOfContexts, TheAuthorityNeedsNone) {
  Request request = trying();
  request.authority = true;
  EXPECT_EQ(refused(stranger, request), ErrorCode{});
  EXPECT_EQ(domain.names.questions(), 0);
}

}  // namespace
}  // namespace resmgr::lock::test
