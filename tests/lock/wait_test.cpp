// SPDX-License-Identifier: Apache-2.0
//
// Who is served when: priorities, loans, emergencies; and waits that meet the end of a resource.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/lock/at_first_touch.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Wait : public ::testing::Test {
 protected:
  /// Contexts in the order in which they get the resource that `holder` has now.
  std::vector<int> order_of_grants(Handle handle, Actor& holder,
                                   std::vector<std::unique_ptr<Actor>>& waiters) {
    std::vector<int> order;
    EXPECT_TRUE(holder.release(handle));
    while (order.size() < waiters.size()) {
      const std::uint16_t owner = domain.word(handle).owner();
      for (std::size_t i = 0; i < waiters.size(); ++i) {
        if (waiters[i]->id() != owner) continue;
        EXPECT_TRUE(waiters[i]->finish());
        order.push_back(static_cast<int>(i));
        EXPECT_TRUE(waiters[i]->release(handle));
      }
    }
    return order;
  }
  [[nodiscard]] std::uint16_t priority_of(const Actor& actor) {
    std::uint16_t priority = 0;
    domain.engine.graph().for_each_wait(actor.id(), [&](const Waiter& waiter) {
      priority = waiter.rank.priority;
      return false;
    });
    return priority;
  }

  Domain domain;
};

constexpr ResourcePriority kLow = ResourcePriority::Low;
constexpr ResourcePriority kNormal = ResourcePriority::Normal;
constexpr ResourcePriority kCritical = ResourcePriority::Critical;

TEST_F(Wait, ByPriorityAndInOrderOfArrivalInsideOne) {
  const Handle h = domain.arm(1);
  Actor holder(domain);
  ASSERT_TRUE(holder.acquire(h));
  std::vector<std::unique_ptr<Actor>> waiters;
  for (const ResourcePriority priority : {kNormal, kLow, kCritical, kNormal, kCritical, kLow}) {
    waiters.push_back(std::make_unique<Actor>(domain));
    waiters.back()->begin(h, blocking(HoldKind::Exclusive, priority));
  }
  EXPECT_EQ(order_of_grants(h, holder, waiters), (std::vector<int>{2, 4, 0, 3, 1, 5}));
}

TEST_F(Wait, EmergencyStandsBeforeAllPriorities) {
  const Handle h = domain.arm(1);
  Actor holder(domain);
  ASSERT_TRUE(holder.acquire(h));
  std::vector<std::unique_ptr<Actor>> waiters;
  for (int i = 0; i < 3; ++i) waiters.push_back(std::make_unique<Actor>(domain));
  waiters[0]->begin(h, blocking(HoldKind::Exclusive, kCritical));
  waiters[1]->begin(h, emergency());
  waiters[2]->begin(h, emergency());
  EXPECT_EQ(order_of_grants(h, holder, waiters), (std::vector<int>{1, 2, 0}));
}

// a (critical) waits for b, b for c, c for d: b and c get a's rank where they wait.
TEST_F(Wait, ALoanGoesAlongTheChain) {
  const Handle first = domain.arm(1);
  const Handle second = domain.arm(2);
  const Handle third = domain.arm(3);
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  Actor d(domain);
  Actor rival(domain);
  ASSERT_TRUE(b.acquire(first));
  ASSERT_TRUE(c.acquire(second));
  ASSERT_TRUE(d.acquire(third));
  rival.begin(third, blocking(HoldKind::Exclusive, kNormal));
  c.begin(third, blocking(HoldKind::Exclusive, kLow));
  b.begin(second, blocking(HoldKind::Exclusive, kLow));
  EXPECT_EQ(priority_of(c), unsigned{static_cast<std::uint8_t>(kLow)});
  a.begin(first, blocking(HoldKind::Exclusive, kCritical));
  EXPECT_EQ(priority_of(b), unsigned{static_cast<std::uint8_t>(kCritical)});
  EXPECT_EQ(priority_of(c), unsigned{static_cast<std::uint8_t>(kCritical)});

  ASSERT_TRUE(d.release(third));
  ASSERT_TRUE(c.finish()) << "before the rival, who came first";
  EXPECT_FALSE(rival.finished());
  ASSERT_TRUE(c.release(third));
  ASSERT_TRUE(rival.finish());
  ASSERT_TRUE(c.release(second));
  ASSERT_TRUE(b.finish());
  ASSERT_TRUE(b.release(first));
  EXPECT_TRUE(a.finish());
}

TEST_F(Wait, ALoanEndsWithTheWait) {
  const Handle first = domain.arm(1);
  const Handle second = domain.arm(2);
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  ASSERT_TRUE(b.acquire(first));
  ASSERT_TRUE(c.acquire(second));
  b.begin(second, blocking(HoldKind::Exclusive, kLow));
  a.begin(first, blocking(HoldKind::Exclusive, kCritical));
  ASSERT_TRUE(c.release(second));
  ASSERT_TRUE(b.finish());
  ASSERT_TRUE(b.release(first));
  ASSERT_TRUE(a.finish());
  ASSERT_TRUE(c.acquire(first, timed(0)).error() == ErrorCode::TimedOut);
  ASSERT_TRUE(b.release(second));
  ASSERT_TRUE(c.acquire(second));
  b.begin(second, blocking(HoldKind::Exclusive, kLow));
  EXPECT_EQ(priority_of(b), unsigned{static_cast<std::uint8_t>(kLow)});
  ASSERT_TRUE(c.release(second));
  EXPECT_TRUE(b.finish());
}

TEST_F(Wait, AHolderInheritsTheRankOfThoseWhoWaitAlready) {
  const Handle first = domain.arm(1);
  const Handle second = domain.arm(2);
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  Actor rival(domain);
  ASSERT_TRUE(b.acquire(first));
  ASSERT_TRUE(c.acquire(second));
  a.begin(first, blocking(HoldKind::Exclusive, kCritical));
  rival.begin(second, blocking(HoldKind::Exclusive, kNormal));
  b.begin(second, blocking(HoldKind::Exclusive, kLow));
  EXPECT_EQ(priority_of(b), unsigned{static_cast<std::uint8_t>(kCritical)});
  ASSERT_TRUE(c.release(second));
  ASSERT_TRUE(b.finish());
  EXPECT_FALSE(rival.finished());
}

TEST_F(Wait, AnUpgradeInFrontHidesNoRankBehindIt) {
  const Handle first = domain.arm(1);
  const Handle second = domain.arm(2);
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  Actor holder(domain);
  ASSERT_TRUE(b.share(first));
  ASSERT_TRUE(c.share(first));
  ASSERT_TRUE(holder.acquire(second));
  c.begin_upgrade(first, blocking(HoldKind::Exclusive, kLow));
  a.begin(first, blocking(HoldKind::Exclusive, kCritical));
  b.begin(second, blocking(HoldKind::Exclusive, kLow));
  EXPECT_EQ(priority_of(b), unsigned{static_cast<std::uint8_t>(kCritical)});
  ASSERT_TRUE(holder.release(second));
  ASSERT_TRUE(b.finish());
}

// An entry of the hold list that another thread freed names nothing any more.
TEST_F(Wait, NothingIsInheritedThroughAHoldThatIsGone) {
  const Handle zero = domain.arm(0);
  const Handle first = domain.arm(1);
  const Handle second = domain.arm(2);
  Actor a(domain);
  Actor b(domain);
  Actor holder(domain);
  ASSERT_TRUE(b.acquire(zero));
  ASSERT_TRUE(b.acquire(first));
  ASSERT_TRUE(holder.acquire(second));
  ASSERT_TRUE(domain.engine.release(b.context(), zero, HoldKind::Exclusive));
  ASSERT_TRUE(holder.acquire(zero));
  a.begin(zero, blocking(HoldKind::Exclusive, kCritical));
  b.begin(second, blocking(HoldKind::Exclusive, kLow));
  EXPECT_EQ(priority_of(b), unsigned{static_cast<std::uint8_t>(kLow)});
  ASSERT_TRUE(holder.release(second));
  ASSERT_TRUE(b.finish());
  ASSERT_TRUE(holder.release(zero));
  ASSERT_TRUE(a.finish());
}

TEST_F(Wait, RetiringSendsTheWaitersAway) {
  const Handle h = domain.arm(1);
  Actor owner(domain);
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(owner.acquire(h));
  a.begin(h, blocking());
  b.begin(h, blocking(HoldKind::Shared));
  ASSERT_TRUE(owner.retire(h));
  EXPECT_TRUE(fails_with(a.finish(), ErrorCode::StaleHandle));
  EXPECT_TRUE(fails_with(b.finish(), ErrorCode::StaleHandle));
  EXPECT_TRUE(domain.word(h).has(RM_WORD_ABSENT));
  EXPECT_TRUE(HoldList(owner.context()).empty());
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
}

// S0. WORK stands before the queue is looked at; who comes after that look sets it again, although
// nothing else of the word is new.
TEST_F(Wait, WhoAsksInTheMiddleOfAServiceIsServed) {
  const Handle h = domain.arm(1);
  Actor holder(domain);
  Actor leaver(domain);
  Actor late(domain);
  ASSERT_TRUE(holder.acquire(h));
  leaver.begin(h, blocking());
  // As if a service that is over for too long had left it to the holder (S6).
  store(domain.slot(h).word, domain.word(h).with(RM_WORD_WORK).bits);
  rm_node* node = nullptr;
  domain.engine.graph().for_each_wait(leaver.id(), [&](const Waiter& waiter) {
    node = waiter.node;
    return false;
  });
  ASSERT_NE(node, nullptr);
  ASSERT_NE(AtFirstTouch::page_of(node), AtFirstTouch::page_of(&domain.slot(h)));
  bool queued = false;
  {
    const AtFirstTouch touch(node, [&] {
      leaver.cancel();
      EXPECT_TRUE(fails_with(leaver.finish(), ErrorCode::Cancelled));
      late.begin(h, blocking());
      queued = !late.finished();
    });
    ASSERT_TRUE(holder.release(h));
  }
  EXPECT_TRUE(queued);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(late.id()));
}

TEST_F(Wait, ASleeperIsWokenByTheDecision) {
  const Handle h = domain.arm(1);
  Actor holder(domain);
  Actor waiter(domain);
  ASSERT_TRUE(holder.acquire(h));
  waiter.begin(h, blocking());
  rm_node* node = nullptr;
  Waiter seen;
  domain.engine.graph().for_each_wait(waiter.id(), [&](const Waiter& found) {
    seen = found;
    node = found.node;
    return false;
  });
  ASSERT_NE(node, nullptr);
  ASSERT_TRUE(NodeWord{load(node->word)}.asleep());
  ASSERT_TRUE(domain.engine.decide(seen, RM_NODE_CANCELLED));
  EXPECT_FALSE(domain.engine.decide(seen, RM_NODE_GRANTED)) << "decided once (I6)";
  EXPECT_TRUE(fails_with(waiter.finish(), ErrorCode::Cancelled));
}

// A granter that was stopped with a pick of a wait that is over, and whose node waits again.
TEST_F(Wait, AnOldPickDecidesNothing) {
  const Handle h = domain.arm(1);
  Actor holder(domain);
  Actor waiter(domain);
  ASSERT_TRUE(holder.acquire(h));
  waiter.begin(h, timed(50'000'000));
  Waiter old;
  domain.engine.graph().for_each_wait(waiter.id(), [&](const Waiter& found) {
    old = found;
    return false;
  });
  ASSERT_TRUE(fails_with(waiter.finish(), ErrorCode::TimedOut));
  waiter.begin(h, blocking());
  Waiter now;
  domain.engine.graph().for_each_wait(waiter.id(), [&](const Waiter& found) {
    now = found;
    return false;
  });
  ASSERT_EQ(now.node, old.node) << "the spare node serves again";
  EXPECT_FALSE(domain.engine.decide(old, RM_NODE_GRANTED));
  EXPECT_FALSE(waiter.finished());
  ASSERT_TRUE(holder.release(h));
  EXPECT_TRUE(waiter.finish());
}

TEST_F(Wait, AllWaitsInUseIsCapacityExceeded) {
  Capacities few = kSmall;
  few.nodes = 2;
  Domain tiny(few);
  const Handle h = tiny.arm(1);
  Actor holder(tiny);
  Actor a(tiny);
  Actor b(tiny);
  Actor c(tiny);
  ASSERT_TRUE(holder.acquire(h));
  a.begin(h, blocking());
  b.begin(h, blocking());
  const Outcome full = c.acquire(h, blocking());
  ASSERT_TRUE(fails_with(full, ErrorCode::CapacityExceeded));
  EXPECT_EQ(full.error().available(), 2u);
  EXPECT_EQ(tiny.engine.count_waiters(h), 2u);
  EXPECT_TRUE(fails_with(c.acquire(h), ErrorCode::WouldBlock)) << "a try needs no node";
  ASSERT_TRUE(holder.release(h));
  ASSERT_TRUE(a.finish());
  ASSERT_TRUE(a.release(h));
  ASSERT_TRUE(b.finish());
}

TEST_F(Wait, AllCellsInUseIsCapacityExceeded) {
  Capacities few = kSmall;
  few.cells = 1;
  few.nodes = 1;
  Domain tiny(few);
  const Handle h = tiny.arm(1);
  Actor a(tiny);
  Actor b(tiny);
  ASSERT_TRUE(a.share(h));
  EXPECT_TRUE(fails_with(b.share(h), ErrorCode::CapacityExceeded));
  EXPECT_TRUE(fails_with(b.acquire(h, blocking(HoldKind::Shared)), ErrorCode::CapacityExceeded));
  ASSERT_TRUE(a.release(h, HoldKind::Shared));
  ASSERT_TRUE(b.acquire(h)) << "exclusive holds need none";
  EXPECT_TRUE(fails_with(b.downgrade(h), ErrorCode::CapacityExceeded));
  EXPECT_EQ(b.holds(h), HoldKind::Exclusive);
}

// No wait node is left when the cell has been parked already, as a temporary one.
TEST_F(Wait, AFullNodeTableKeepsNoCell) {
  Domain tiny(Capacities{.slots = 256, .contexts = 8, .clients = 1, .nodes = 1, .cells = 16});
  const Handle near = tiny.arm(1);
  const Handle far = tiny.arm(1 + Context::kParked);
  {
    Actor holder(tiny);
    Actor a(tiny);
    Actor b(tiny);
    ASSERT_TRUE(holder.acquire(far));
    ASSERT_TRUE(a.share(near));
    b.begin(far, blocking());
    ASSERT_TRUE(
        fails_with(a.acquire(far, blocking(HoldKind::Shared)), ErrorCode::CapacityExceeded));
    ASSERT_TRUE(holder.release(far));
    ASSERT_TRUE(b.finish());
  }
  const Census census = take_census(tiny);
  EXPECT_EQ(census.cells_owned, 0u);
  EXPECT_EQ(census.cells_lost, 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
