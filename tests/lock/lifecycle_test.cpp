// SPDX-License-Identifier: Apache-2.0
//
// Tenants of a slot, tenures of a hold, and what stands in a word besides: I10, stale and forged
// handles, INCONSISTENT, QUARANTINED, the dead.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Lifecycle : public ::testing::Test {
 protected:
  /// Every call with a handle that is not one: the error, and that nothing changed.
  void expect_stale(Actor& actor, Handle handle) {
    std::vector<StateWord> words;
    for (std::uint32_t i = 0; i < kSmall.slots; ++i) words.push_back(domain.engine.word(i));
    const std::uint64_t holds = HoldList(actor.context()).bitmap();
    for (const Request& request :
         {trying(), trying(HoldKind::Shared), blocking(), blocking(HoldKind::Shared),
          timed(kLongNs), emergency(), emergency(kLongNs, HoldKind::Shared)}) {
      EXPECT_TRUE(fails_with(actor.acquire(handle, request), ErrorCode::StaleHandle));
    }
    EXPECT_TRUE(fails_with(actor.release(handle), ErrorCode::StaleHandle));
    EXPECT_TRUE(fails_with(actor.release(handle, HoldKind::Shared), ErrorCode::StaleHandle));
    EXPECT_TRUE(fails_with(actor.upgrade(handle), ErrorCode::StaleHandle));
    EXPECT_TRUE(fails_with(actor.upgrade(handle, blocking()), ErrorCode::StaleHandle));
    EXPECT_TRUE(fails_with(actor.downgrade(handle), ErrorCode::StaleHandle));
    EXPECT_TRUE(fails_with(actor.consistent(handle), ErrorCode::StaleHandle));
    EXPECT_TRUE(fails_with(actor.retire(handle), ErrorCode::StaleHandle));
    EXPECT_TRUE(actor.run_call([&](Context& me) -> Outcome {
      Grant grant;
      EXPECT_FALSE(domain.engine.try_exclusive(me, handle, true, {}, grant));
      EXPECT_FALSE(domain.engine.try_shared(me, handle, true, {}, grant));
      make_plain(domain.engine, me);
      for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
        EXPECT_FALSE(take_fast(domain.engine, me, handle, kind));
        EXPECT_FALSE(give_fast(domain.engine, me, handle, kind));
      }
      return grant;
    }));
    EXPECT_EQ(actor.holds(handle), std::nullopt);
    EXPECT_FALSE(domain.engine.is_valid(handle));
    EXPECT_EQ(domain.engine.count_waiters(handle), 0u);
    EXPECT_FALSE(domain.engine.counters(handle));
    domain.engine.for_each_holder(handle, [](const Participant&) { ADD_FAILURE(); });
    for (std::uint32_t i = 0; i < kSmall.slots; ++i) EXPECT_EQ(domain.engine.word(i), words[i]);
    EXPECT_EQ(HoldList(actor.context()).bitmap(), holds);
  }

  Domain domain;
  Handle h = domain.arm(1);
};

TEST_F(Lifecycle, HandlesOfNoResourceAreStaleEverywhere) {
  Actor a(domain);
  expect_stale(a, Handle());
  expect_stale(a, Handle(1, 0));
  expect_stale(a, Handle(1, 2));
  expect_stale(a, Handle(1, Handle::kGenerationMask));
  expect_stale(a, Handle(2, 1));
  expect_stale(a, Handle(kSmall.slots, 1));
  expect_stale(a, Handle(~0u, 1));
  expect_stale(a, Handle::from_bits(~std::uint64_t{0}));
}

TEST_F(Lifecycle, AnOldHandleNeverActsOnTheNextTenant) {
  Actor owner(domain);
  Actor other(domain);
  ASSERT_TRUE(owner.acquire(h));
  ASSERT_TRUE(owner.retire(h));
  expect_stale(owner, h);
  const Handle next = domain.arm(1, 0, 0, 2);
  expect_stale(owner, h);
  ASSERT_TRUE(owner.acquire(next));
  expect_stale(owner, h);
  ASSERT_TRUE(owner.release(next));
  ASSERT_TRUE(owner.share(next));
  expect_stale(owner, h);
  EXPECT_EQ(owner.holds(next), HoldKind::Shared);
  EXPECT_TRUE(domain.engine.is_valid(next));
  EXPECT_TRUE(other.share(next));
}

// Between the first look at the word and the attempt, the resource makes room for another.
TEST_F(Lifecycle, ARequestThatWasSlowFindsTheNextTenantOnly) {
  domain.engine.order().set_policy(OrderPolicy::Warn);
  const Handle first = domain.arm(3, 1);
  const Handle second = domain.arm(4, 2);
  Actor owner(domain);
  ASSERT_TRUE(owner.acquire(first, blocking()));
  ASSERT_TRUE(owner.acquire(second, blocking()));
  ASSERT_TRUE(owner.release(second));
  ASSERT_TRUE(owner.release(first));

  Actor slow(domain);
  ASSERT_TRUE(slow.acquire(second, blocking()));
  int reports = 0;
  domain.names.on_report = [&] {
    ++reports;
    ASSERT_TRUE(owner.acquire(first));
    ASSERT_TRUE(owner.retire(first));
    domain.arm(first.slot(), 1, 0, 2);
  };
  EXPECT_TRUE(fails_with(slow.acquire(first, blocking()), ErrorCode::StaleHandle));
  EXPECT_EQ(reports, 1);
  EXPECT_EQ(domain.word(first), StateWord::free(2));
}

TEST_F(Lifecycle, RetiringNeedsAnExclusiveHold) {
  Actor a(domain);
  EXPECT_TRUE(fails_with(a.retire(h), ErrorCode::NotPermitted));
  ASSERT_TRUE(a.share(h));
  EXPECT_TRUE(fails_with(a.retire(h), ErrorCode::NotPermitted));
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
}

TEST_F(Lifecycle, RetiringWaitsForTheLatchUntilItsDeadline) {
  Context& me = domain.open(0, this_thread());
  ASSERT_TRUE(domain.engine.acquire(me, h, trying()));
  const std::uint16_t stopped = domain.open().id;
  const StateWord latched = domain.word(h).with_latch(stopped);
  store(domain.slot(h).word, latched.bits);
  const auto refused = domain.engine.retire(me, h, monotonic_ns() + 1'000'000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::InUse);
  EXPECT_EQ(domain.word(h), latched);
  EXPECT_EQ(HoldList(me).bitmap(), 1u);
}

TEST_F(Lifecycle, TheLastGenerationIsFollowedByNone) {
  const Handle last = domain.arm(2, 0, 0, Handle::kGenerationMask);
  Actor a(domain);
  ASSERT_TRUE(a.acquire(last));
  ASSERT_TRUE(a.retire(last));
  EXPECT_EQ(domain.word(last).generation(), 0u);
  EXPECT_TRUE(domain.word(last).has(RM_WORD_ABSENT));
  expect_stale(a, last);
  expect_stale(a, Handle(2, 0));
}

TEST_F(Lifecycle, LatecomersNodesAndCellsGoWithTheNextTenant) {
  Actor owner(domain);
  ASSERT_TRUE(owner.acquire(h));
  ASSERT_TRUE(owner.retire(h));
  // One who read the word before the resource went: his node is in the inbox, his cell in the
  // chain.
  Context& late = domain.open(0, this_thread());
  const NodePool nodes(domain.tables());
  rm_node* node = nodes.take(late);
  store(node->slot, h.slot());
  store(node->generation, h.generation());
  WaitQueue(domain.tables(), domain.slot(h), h.slot(), 1).push(*node);
  nodes.leave(late, *node);
  const CellPool cells(domain.tables());
  ASSERT_NE(cells.park(late, domain.slot(h), h.slot(), 1).cell, nullptr);
  cells.unpark_all(late);
  EXPECT_EQ(take_census(domain).nodes_lost, 1u);
  (void)domain.arm(1, 0, 0, 2);
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
  EXPECT_EQ(load(domain.slot(h).cell_link), 0u);
  EXPECT_EQ(take_census(domain).cells_lost, 0u);
}

TEST_F(Lifecycle, AHoldOfAnOldTenureIsRevoked) {
  Actor a(domain);
  const Outcome grant = a.acquire(h);
  ASSERT_TRUE(grant);
  const Handle held = h.with_tenure(grant->tenure);
  store(domain.slot(h).tenure, static_cast<std::uint8_t>(grant->tenure + 1));
  EXPECT_TRUE(fails_with(a.release(held), ErrorCode::Revoked));
  EXPECT_TRUE(fails_with(a.downgrade(held), ErrorCode::Revoked));
  ASSERT_TRUE(a.run_call([&](Context& me) -> Outcome {
    EXPECT_FALSE(give_fast(domain.engine, me, held, HoldKind::Exclusive));
    return Grant{};
  }));
  EXPECT_EQ(domain.word(h).owner(), a.id()) << "his successor's hold, here his own";
  EXPECT_TRUE(a.release(h.with_tenure(static_cast<std::uint8_t>(grant->tenure + 1))));

  const Outcome shared = a.share(h);
  ASSERT_TRUE(shared);
  EXPECT_EQ(shared->tenure, grant->tenure + 1) << "the grant says which tenure it is";
  const Handle old = h.with_tenure(grant->tenure);
  EXPECT_TRUE(fails_with(a.release(old, HoldKind::Shared), ErrorCode::Revoked));
  EXPECT_TRUE(fails_with(a.upgrade(old), ErrorCode::Revoked));
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
  EXPECT_TRUE(a.release(h.with_tenure(shared->tenure), HoldKind::Shared));
}

TEST_F(Lifecycle, InconsistentIsToldUntilItIsRepaired) {
  Actor a(domain);
  Actor b(domain);
  store(domain.slot(h).word, domain.word(h).with(RM_WORD_INCONSISTENT).bits);
  Outcome grant = a.acquire(h);
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  EXPECT_TRUE(fails_with(b.consistent(h), ErrorCode::NotPermitted));
  b.begin(h, blocking());
  ASSERT_TRUE(a.release(h));
  grant = b.finish();
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent) << "nobody repaired it";
  const Handle fenced = h.with_tenure(static_cast<std::uint8_t>(grant->tenure + 1));
  EXPECT_TRUE(fails_with(b.consistent(fenced), ErrorCode::Revoked)) << "another hold's";
  ASSERT_TRUE(b.consistent(h));
  EXPECT_TRUE(fails_with(b.consistent(h), ErrorCode::InvalidArgument));
  ASSERT_TRUE(b.release(h));
  grant = a.share(h);
  ASSERT_TRUE(grant);
  EXPECT_FALSE(grant->inconsistent);
  EXPECT_TRUE(fails_with(a.consistent(h), ErrorCode::NotPermitted)) << "not while it is shared";
}

TEST_F(Lifecycle, SharedHoldersAreToldOfInconsistencyToo) {
  Actor a(domain);
  store(domain.slot(h).word, domain.word(h).with(RM_WORD_INCONSISTENT).bits);
  const Outcome grant = a.share(h);
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  ASSERT_TRUE(a.upgrade(h));
  EXPECT_TRUE(a.consistent(h));
}

TEST_F(Lifecycle, WhatIsQuarantinedIsGivenToNobody) {
  Actor a(domain);
  Actor b(domain);
  store(domain.slot(h).word, domain.word(h).with(RM_WORD_QUARANTINED).bits);
  EXPECT_TRUE(fails_with(a.acquire(h), ErrorCode::Quarantined));
  EXPECT_TRUE(fails_with(a.share(h), ErrorCode::Quarantined));
  a.begin(h, blocking());
  b.begin(h, blocking(HoldKind::Shared));
  EXPECT_FALSE(a.finished());
  EXPECT_FALSE(b.finished());
  store(domain.slot(h).word, domain.word(h).without(RM_WORD_QUARANTINED).bits);
  Actor passing(domain);
  EXPECT_TRUE(fails_with(passing.acquire(h), ErrorCode::WouldBlock)) << "his attempt serves a";
  ASSERT_TRUE(a.finish());
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(b.finish());
}

TEST_F(Lifecycle, WhatTheDeadHoldIsTakenFromThem) {
  Actor a(domain);
  Context& dead = domain.open();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  store(dead.record->state, RM_CONTEXT_DEAD);
  const Outcome grant = a.acquire(h, blocking());
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  ASSERT_TRUE(a.consistent(h));
  ASSERT_TRUE(a.release(h));

  const Handle shared = domain.arm(2);
  store(dead.record->state, RM_CONTEXT_LIVE);
  ASSERT_TRUE(domain.engine.acquire(dead, shared, trying(HoldKind::Shared)));
  store(dead.record->state, RM_CONTEXT_DEAD);
  const Outcome second = a.acquire(shared, blocking());
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->inconsistent) << "who only shared has torn nothing";
}

TEST_F(Lifecycle, CountersAddUp) {
  Actor a(domain);
  Actor b(domain);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(a.acquire(h));
    ASSERT_TRUE(a.release(h));
  }
  for (Actor* actor : {&a, &b, &b}) {
    ASSERT_TRUE(actor->share(h));
    ASSERT_TRUE(actor->release(h, HoldKind::Shared));
  }
  const auto counters = domain.engine.counters(h);
  ASSERT_TRUE(counters);
  EXPECT_EQ(counters->exclusive_acquisitions, 3u);
  EXPECT_EQ(counters->shared_acquisitions, 3u);
  EXPECT_EQ(counters->contended, 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
