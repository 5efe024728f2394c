// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/lock_order.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint16_t kA = 1;
constexpr std::uint16_t kB = 2;
constexpr std::uint16_t kC = 1000;

class LockOrderTest : public ::testing::Test {
 protected:
  LockOrderTest() { domain.engine.order().set_policy(OrderPolicy::Warn); }
  /// Takes both, one while holding the other, and lets them go.
  Outcome take(Handle first, Handle second, const Request& request = blocking()) {
    EXPECT_TRUE(domain.engine.acquire(me, first, blocking()));
    Outcome outcome = domain.engine.acquire(me, second, request);
    const Result<void> released =
        outcome ? domain.engine.release(me, second, request.kind) : Result<void>();
    EXPECT_TRUE(released);
    EXPECT_TRUE(domain.engine.release(me, first, HoldKind::Exclusive));
    return outcome;
  }
  [[nodiscard]] std::vector<std::string> reports() const { return domain.names.reports(); }
  [[nodiscard]] std::uint64_t inversions() const {
    return load(domain.tables().region->order_inversions);
  }
  static bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  Domain domain;
  Context& me = domain.open(0, this_thread());
  Handle a = domain.arm(1, kA);
  Handle b = domain.arm(2, kB);
  Handle c = domain.arm(3, kC);
};

TEST_F(LockOrderTest, AnInversionIsReportedOnceWithBothPlaces) {
  ASSERT_TRUE(take(a, b, blocking()));
  const auto first = std::source_location::current();
  ASSERT_TRUE(take(a, b));
  EXPECT_TRUE(reports().empty());
  ASSERT_TRUE(take(b, a)) << "a warning refuses nothing";
  const auto second = std::source_location::current();
  ASSERT_TRUE(take(b, a));
  ASSERT_TRUE(take(a, b));
  ASSERT_EQ(reports().size(), 1u);
  const std::string text = reports()[0];
  EXPECT_TRUE(mentions(text, "class class-1 acquired at")) << text;
  EXPECT_TRUE(mentions(text, "while holding class-2")) << text;
  const std::string here = "lock_order_test.cpp:";
  EXPECT_TRUE(mentions(text, here + std::to_string(first.line() - 1))) << text;
  EXPECT_TRUE(mentions(text, here + std::to_string(second.line() - 1))) << text;
  EXPECT_EQ(inversions(), 1u);
}

TEST_F(LockOrderTest, AnInversionThroughAThirdClassIsFound) {
  ASSERT_TRUE(take(a, b));
  ASSERT_TRUE(take(b, c));
  EXPECT_TRUE(reports().empty());
  ASSERT_TRUE(take(c, a));
  ASSERT_EQ(reports().size(), 1u);
  EXPECT_TRUE(mentions(reports()[0], "class-2 while holding class-1")) << reports()[0];
  EXPECT_TRUE(mentions(reports()[0], "class-1000 while holding class-2")) << reports()[0];
}

TEST_F(LockOrderTest, RefuseRefusesEachTimeAndLearnsNothingWrong) {
  domain.engine.order().set_policy(OrderPolicy::Refuse);
  ASSERT_TRUE(take(a, b));
  for (int i = 0; i < 2; ++i) {
    const Outcome refused = take(b, a);
    ASSERT_TRUE(fails_with(refused, ErrorCode::OrderViolation));
    EXPECT_TRUE(mentions(std::string(refused.error().detail()), "lock_order_test.cpp:"));
    EXPECT_TRUE(is_free(domain.word(a)));
  }
  EXPECT_TRUE(reports().empty()) << "the caller is told, nobody else";
  EXPECT_EQ(inversions(), 1u);
  EXPECT_TRUE(take(a, b));
  EXPECT_TRUE(fails_with(take(b, a, blocking(HoldKind::Shared)), ErrorCode::OrderViolation))
      << "shared requests queue behind exclusive ones";
}

TEST_F(LockOrderTest, OffLooksAtNothing) {
  domain.engine.order().set_policy(OrderPolicy::Off);
  ASSERT_TRUE(take(a, b));
  ASSERT_TRUE(take(b, a));
  EXPECT_TRUE(reports().empty());
  EXPECT_EQ(load(domain.tables().region->order_edges), 0u);
}

TEST_F(LockOrderTest, OneClassHasNoOrderAmongItself) {
  const Handle other = domain.arm(4, kA);
  ASSERT_TRUE(take(a, other));
  ASSERT_TRUE(take(other, a));
  EXPECT_TRUE(reports().empty());
}

TEST_F(LockOrderTest, WhatHasNoClassHasNoOrder) {
  const Handle none = domain.arm(4, 0);
  ASSERT_TRUE(take(none, a));
  ASSERT_TRUE(take(a, none));
  EXPECT_TRUE(reports().empty());
  EXPECT_EQ(load(domain.tables().region->order_edges), 0u);
  EXPECT_TRUE(domain.engine.order().permits(me, 0));
}

TEST_F(LockOrderTest, AnAttemptThatDoesNotWaitTeachesNothing) {
  ASSERT_TRUE(take(a, b));
  ASSERT_TRUE(take(b, a, trying()));
  EXPECT_TRUE(reports().empty());
  EXPECT_EQ(load(domain.tables().region->order_edges), 1u);
}

TEST_F(LockOrderTest, TheFastPathAsksForWhatIsNotKnown) {
  Grant grant;
  ASSERT_TRUE(domain.engine.try_exclusive(me, a, true, {}, grant));
  EXPECT_FALSE(domain.engine.try_exclusive(me, b, true, {}, grant)) << "to be learned";
  EXPECT_TRUE(domain.engine.try_exclusive(me, b, false, {}, grant)) << "does not wait";
  ASSERT_TRUE(domain.engine.release(me, b, HoldKind::Exclusive));
  ASSERT_TRUE(domain.engine.acquire(me, b, blocking()));
  ASSERT_TRUE(domain.engine.release(me, b, HoldKind::Exclusive));
  EXPECT_TRUE(domain.engine.try_exclusive(me, b, true, {}, grant)) << "known by now";
  EXPECT_TRUE(domain.engine.release_all(me, [](Handle, HoldKind) {}) == 2);
}

// The answer is remembered for the holds that it was given for, and for no others.
TEST_F(LockOrderTest, TheShortestPathGoesBesideHoldsWhoseOrderIsKnown) {
  make_plain(domain.engine, me);
  const auto take_b_fast = [&] {
    const bool taken = take_fast(domain.engine, me, b, HoldKind::Exclusive);
    if (taken) {
      EXPECT_TRUE(domain.engine.release(me, b, HoldKind::Exclusive));
    }
    return taken;
  };
  ASSERT_TRUE(take(a, b));
  ASSERT_TRUE(domain.engine.acquire(me, a, blocking()));
  EXPECT_FALSE(take_b_fast()) << "nobody has asked beside this hold";
  ASSERT_TRUE(domain.engine.order().permits(me, kB));
  EXPECT_TRUE(take_b_fast());
  EXPECT_TRUE(take_b_fast());
  EXPECT_FALSE(take_fast(domain.engine, me, c, HoldKind::Exclusive)) << "another class";
  ASSERT_TRUE(domain.engine.release(me, a, HoldKind::Exclusive));
  ASSERT_TRUE(domain.engine.acquire(me, c, blocking()));
  EXPECT_FALSE(take_b_fast()) << "the same entry of the list, of another class";
  EXPECT_FALSE(domain.engine.order().permits(me, kB));
  ASSERT_TRUE(domain.engine.release(me, c, HoldKind::Exclusive));
}

// An entry that another thread freed still stands in the list, and was not asked about.
TEST_F(LockOrderTest, NoOrderIsRememberedBesideAHoldReleasedElsewhere) {
  make_plain(domain.engine, me);
  ASSERT_TRUE(take(a, b));
  ASSERT_TRUE(domain.engine.acquire(me, c, blocking()));
  ASSERT_TRUE(domain.engine.acquire(me, a, blocking()));
  std::thread([&] { EXPECT_TRUE(domain.engine.release(me, c, HoldKind::Exclusive)); }).join();
  EXPECT_TRUE(domain.engine.order().permits(me, kB));
  EXPECT_FALSE(take_fast(domain.engine, me, b, HoldKind::Exclusive));
  ASSERT_TRUE(domain.engine.release(me, a, HoldKind::Exclusive));
}

TEST_F(LockOrderTest, SharedHoldsAndDowngradedOnesCount) {
  ASSERT_TRUE(domain.engine.acquire(me, a, blocking()));
  ASSERT_TRUE(domain.engine.downgrade(me, a));
  ASSERT_TRUE(domain.engine.acquire(me, b, blocking(HoldKind::Shared)));
  EXPECT_EQ(domain.engine.release_all(me, [](Handle, HoldKind) {}), 2u);
  ASSERT_TRUE(take(b, a));
  EXPECT_EQ(reports().size(), 1u);
}

TEST_F(LockOrderTest, AHoldReleasedElsewhereCountsNoMore) {
  ASSERT_TRUE(take(a, b));
  Actor actor(domain);
  ASSERT_TRUE(actor.acquire(b));
  ASSERT_TRUE(domain.engine.release(actor.context(), b, HoldKind::Exclusive));
  ASSERT_TRUE(actor.acquire(a, blocking()));
  EXPECT_TRUE(reports().empty());
}

TEST_F(LockOrderTest, AFullTableOfPlacesLosesPlacesOnly) {
  rm_order_edge* edges = domain.tables().order_edges;
  for (std::uint32_t i = 0; i < RM_ORDER_EDGES; ++i) {
    store(edges[i].key, std::uint64_t{1} << 32 | 0xfff0fff0u);
  }
  ASSERT_TRUE(take(a, b));
  ASSERT_TRUE(take(b, a));
  ASSERT_EQ(reports().size(), 1u);
  EXPECT_TRUE(mentions(reports()[0], "an unknown place")) << reports()[0];
}

TEST_F(LockOrderTest, AClassOutsideTheTableHasNoOrder) {
  const Handle wild = domain.arm(4, 0xffff);
  ASSERT_TRUE(take(wild, a));
  ASSERT_TRUE(take(a, wild));
  EXPECT_TRUE(reports().empty());
}

}  // namespace
}  // namespace resmgr::lock::test
