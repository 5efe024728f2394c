// SPDX-License-Identifier: Apache-2.0
//
// Exclusive holds: acquire.cpp, and the exclusive half of release.cpp.
#include <gtest/gtest.h>

#include <vector>

#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Exclusive : public ::testing::Test {
 protected:
  Domain domain;
  Handle h = domain.arm(1);
};

TEST_F(Exclusive, FastPairIsOneWordThereAndBack) {
  Context& me = domain.open(0, this_thread());
  make_plain(domain.engine, me);
  ASSERT_TRUE(take_fast(domain.engine, me, h, HoldKind::Exclusive));
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(me.id));
  EXPECT_EQ(load(domain.slot(h).acquisitions), 1u);
  EXPECT_EQ(load(domain.slot(h).acquired_at), domain.engine.tick().ns());
  EXPECT_EQ(HoldList(me).bitmap(), 1u);
  EXPECT_EQ(domain.engine.held_kind(me, h).value(), HoldKind::Exclusive);

  EXPECT_FALSE(take_fast(domain.engine, me, h, HoldKind::Exclusive)) << "not recursive";
  ASSERT_TRUE(give_fast(domain.engine, me, h, HoldKind::Exclusive));
  EXPECT_FALSE(give_fast(domain.engine, me, h, HoldKind::Exclusive));
  EXPECT_EQ(domain.word(h), StateWord::free(1));
  EXPECT_TRUE(HoldList(me).empty());
}

TEST_F(Exclusive, FastPathsLeaveTheRestToTheSlowOnes) {
  Context& me = domain.open(0, this_thread());
  Grant grant;
  for (const std::uint32_t flag :
       {RM_WORD_WAITERS, RM_WORD_WORK, RM_WORD_INCONSISTENT, RM_WORD_QUARANTINED, RM_WORD_SHARED}) {
    store(domain.slot(h).word, StateWord::free(1).with(flag).bits);
    make_plain(domain.engine, me);
    EXPECT_FALSE(take_fast(domain.engine, me, h, HoldKind::Exclusive)) << flag;
    EXPECT_FALSE(domain.engine.try_exclusive(me, h, true, {}, grant)) << flag;
    EXPECT_EQ(domain.word(h), StateWord::free(1).with(flag));
  }
  store(domain.slot(h).word, StateWord::free(1).bits);
  ASSERT_TRUE(domain.engine.try_exclusive(me, h, true, {}, grant));
  const StateWord waited = domain.word(h).with(RM_WORD_WAITERS);
  store(domain.slot(h).word, waited.bits);
  EXPECT_FALSE(give_fast(domain.engine, me, h, HoldKind::Exclusive));
  EXPECT_EQ(domain.word(h), waited);
  EXPECT_EQ(HoldList(me).bitmap(), 1u) << "as it was";
  ASSERT_TRUE(domain.engine.release(me, h, HoldKind::Exclusive));
  EXPECT_TRUE(is_free(domain.word(h))) << "WAITERS that nobody stood behind are cleared";
  EXPECT_TRUE(HoldList(me).empty());
}

TEST_F(Exclusive, FastPathsLeaveWhatLacksMemoryToTheSlowOnes) {
  Context& me = domain.open(0, this_thread());
  const Handle lazy = domain.arm(2, 0, RM_SLOT_ATTR_LAZY);
  for (const HoldKind kind : {HoldKind::Shared, HoldKind::Exclusive}) {
    const auto grant = domain.engine.acquire(me, lazy, trying(kind));
    ASSERT_TRUE(grant) << "and a cell is kept";
    EXPECT_TRUE(grant->lacks_memory);
    ASSERT_TRUE(domain.engine.release(me, lazy, kind));
    make_plain(domain.engine, me);
    EXPECT_FALSE(take_fast(domain.engine, me, lazy, kind));
  }
  domain.engine.has_memory(lazy);
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    make_plain(domain.engine, me);
    EXPECT_TRUE(take_fast(domain.engine, me, lazy, kind));
    EXPECT_TRUE(give_fast(domain.engine, me, lazy, kind));
  }
}

TEST_F(Exclusive, AHoldThatIsRevertedCountsForNothing) {
  Context& me = domain.open(0, this_thread());
  for (const HoldKind kind : {HoldKind::Shared, HoldKind::Exclusive}) {
    const auto grant = domain.engine.acquire(me, h, trying(kind));
    ASSERT_TRUE(grant);
    EXPECT_FALSE(grant->lacks_memory);
    domain.engine.revert(me, h, kind);
    EXPECT_FALSE(domain.engine.held_kind(me, h));
  }
  const Counters counted = domain.engine.counters(h).value();
  EXPECT_EQ(counted.exclusive_acquisitions, 0u);
  EXPECT_EQ(counted.shared_acquisitions, 0u);
}

TEST_F(Exclusive, AReleaseThatMeetsAWaiterTakesOneEntryOut) {
  Actor a(domain);
  Actor b(domain);
  const Handle other = domain.arm(2);
  ASSERT_TRUE(a.acquire(h));
  ASSERT_TRUE(a.acquire(other));
  b.begin(h, blocking());
  ASSERT_TRUE(a.run_call([&](Context& me) -> Outcome {
    EXPECT_FALSE(give_fast(domain.engine, me, h, HoldKind::Exclusive));
    EXPECT_TRUE(domain.engine.release(me, h, HoldKind::Exclusive));
    EXPECT_EQ(HoldList(me).bitmap(), 2u) << "the other hold is still listed";
    return Grant{};
  }));
  EXPECT_TRUE(b.finish());
}

TEST_F(Exclusive, TryNamesTheHolder) {
  Actor a(domain, 7);
  Actor b(domain, 8);
  ASSERT_TRUE(a.acquire(h));
  const Outcome refused = b.acquire(h);
  ASSERT_TRUE(fails_with(refused, ErrorCode::WouldBlock));
  const Participant& blame = refused.error().blame();
  EXPECT_EQ(blame.context, a.id());
  EXPECT_EQ(blame.pid, 4711u);
  EXPECT_EQ(blame.kind, HoldKind::Exclusive);
  EXPECT_EQ(blame.handle, h);
  EXPECT_STREQ(blame.driver.data(), "driver-7");
  EXPECT_STREQ(blame.resource.data(), "resource-1");
  EXPECT_EQ(refused.error().blamed(), 1u);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(a.id()));
  EXPECT_TRUE(a.release(h));
  EXPECT_TRUE(b.acquire(h));
}

TEST_F(Exclusive, TryCountsAllSharedHolders) {
  Actor a(domain, 1);
  Actor b(domain, 2);
  Actor c(domain, 3);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  const Outcome refused = c.acquire(h);
  ASSERT_TRUE(fails_with(refused, ErrorCode::WouldBlock));
  EXPECT_EQ(refused.error().blamed(), 2u);
  EXPECT_EQ(refused.error().blame().kind, HoldKind::Shared);
}

TEST_F(Exclusive, ASecondAcquireByTheHolderIsRefused) {
  Actor a(domain);
  ASSERT_TRUE(a.acquire(h));
  const StateWord before = domain.word(h);
  for (const Request& request : {trying(), blocking(), timed(kLongNs), emergency(),
                                 trying(HoldKind::Shared), blocking(HoldKind::Shared)}) {
    const Outcome refused = a.acquire(h, request);
    ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
    EXPECT_EQ(refused.error().blame().context, a.id()) << "he is told that it is himself";
    EXPECT_EQ(domain.word(h), before);
  }
}

TEST_F(Exclusive, ABlockingRequestGetsItFromTheRelease) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  ASSERT_FALSE(b.finished());
  EXPECT_EQ(domain.engine.count_waiters(h), 1u);
  EXPECT_TRUE(domain.word(h).has(RM_WORD_WAITERS));
  ASSERT_TRUE(a.release(h));
  ASSERT_TRUE(b.finish());
  EXPECT_EQ(b.holds(h), HoldKind::Exclusive);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(b.id()));
  EXPECT_EQ(domain.engine.count_waiters(h), 0u);
  EXPECT_EQ(load(domain.slot(h).contended), 1u);
  EXPECT_EQ(load(domain.slot(h).waits_ended), 1u);
  EXPECT_GT(load(domain.slot(h).longest_wait_ns), 0u);
  EXPECT_TRUE(b.release(h));
}

TEST_F(Exclusive, NewcomersDoNotPassThoseWhoWait) {
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  // Free for a moment, with somebody waiting and the latch in other hands.
  const std::uint16_t stopped = domain.open().id;
  store(domain.slot(h).word, domain.word(h).with_latch(stopped).bits);
  ASSERT_TRUE(a.release(h));
  ASSERT_EQ(domain.word(h).owner(), 0);
  EXPECT_TRUE(fails_with(c.acquire(h), ErrorCode::WouldBlock));
  EXPECT_TRUE(fails_with(c.share(h), ErrorCode::WouldBlock));
  store(domain.slot(h).word, domain.word(h).with_latch(0).bits);
  EXPECT_TRUE(fails_with(c.acquire(h), ErrorCode::WouldBlock)) << "his attempt serves b";
  ASSERT_TRUE(b.finish());
}

TEST_F(Exclusive, ATimeoutLeavesNoTrace) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.acquire(h));
  const Outcome late = b.acquire(h, timed(1'000'000));
  ASSERT_TRUE(fails_with(late, ErrorCode::TimedOut));
  EXPECT_EQ(late.error().blame().context, a.id());
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(a.id())) << "nobody waits any more";
  EXPECT_TRUE(a.release(h));
  EXPECT_TRUE(is_free(domain.word(h)));
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
}

TEST_F(Exclusive, ADeadlineInThePastEndsAtOnceOrSucceedsAtOnce) {
  Actor a(domain);
  Actor b(domain);
  Request past = timed(0);
  past.deadline_ns = 1;
  EXPECT_TRUE(a.acquire(h, past));
  EXPECT_TRUE(fails_with(b.acquire(h, past), ErrorCode::TimedOut));
  past.mode = AcquisitionMode::Emergency;
  EXPECT_TRUE(fails_with(b.acquire(h, past), ErrorCode::TimedOut));
}

TEST_F(Exclusive, ThoseWhoGaveUpDoNotPileUpInTheQueue) {
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  for (std::uint32_t i = 0; i < 3 * kSmall.nodes; ++i) {
    ASSERT_TRUE(fails_with(c.acquire(h, timed(0)), ErrorCode::TimedOut)) << i;
  }
  EXPECT_LE(load(domain.tables().region->nodes.high_water), 4u);
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(b.finish());
}

TEST_F(Exclusive, ReleaseByAnotherContextChangesNothing) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.acquire(h));
  const StateWord before = domain.word(h);
  EXPECT_TRUE(fails_with(b.release(h), ErrorCode::NotPermitted));
  EXPECT_TRUE(fails_with(b.release(h, HoldKind::Shared), ErrorCode::NotPermitted));
  EXPECT_TRUE(fails_with(a.release(h, HoldKind::Shared), ErrorCode::NotPermitted));
  EXPECT_EQ(domain.word(h), before);
  EXPECT_EQ(a.holds(h), HoldKind::Exclusive);
}

TEST_F(Exclusive, ASecondReleaseChangesNothing) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.acquire(h));
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(fails_with(a.release(h), ErrorCode::NotPermitted));
  EXPECT_TRUE(is_free(domain.word(h)));
  ASSERT_TRUE(b.acquire(h));
  EXPECT_TRUE(fails_with(a.release(h), ErrorCode::NotPermitted));
  EXPECT_EQ(b.holds(h), HoldKind::Exclusive);
}

TEST_F(Exclusive, AnOfferIsNoHoldYet) {
  Actor a(domain);
  ASSERT_TRUE(a.acquire(h));
  const StateWord offered = domain.word(h).with(RM_WORD_GRANTING);
  store(domain.slot(h).word, offered.bits);
  EXPECT_TRUE(fails_with(a.release(h), ErrorCode::NotPermitted));
  EXPECT_EQ(a.holds(h), std::nullopt);
  EXPECT_EQ(domain.word(h), offered);
}

TEST_F(Exclusive, AnyThreadMayRelease) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.acquire(h));
  EXPECT_FALSE(give_fast(domain.engine, a.context(), h, HoldKind::Exclusive)) << "its own only";
  EXPECT_TRUE(domain.engine.release(a.context(), h, HoldKind::Exclusive));
  EXPECT_TRUE(HoldList(a.context()).empty());
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  EXPECT_TRUE(domain.engine.release(a.context(), h, HoldKind::Exclusive));
  EXPECT_TRUE(b.finish());
  EXPECT_TRUE(HoldList(a.context()).empty());
}

TEST_F(Exclusive, HoldsBeyondTheListAreHoldsToo) {
  Domain wide(Capacities{.slots = 256, .contexts = 4, .clients = 1, .nodes = 8, .cells = 8});
  Context& me = wide.open(0, this_thread());
  constexpr std::uint32_t kHolds = 3 * RM_CONTEXT_HOLDS;
  for (std::uint32_t i = 0; i < kHolds; ++i) {
    const Handle handle = wide.arm(i, static_cast<std::uint16_t>(i % 5));
    ASSERT_TRUE(wide.engine.acquire(me, handle, blocking())) << i;
  }
  EXPECT_EQ(HoldList(me).overflow(), kHolds - RM_CONTEXT_HOLDS);
  ASSERT_TRUE(wide.engine.release(me, Handle(kHolds - 1, 1), HoldKind::Exclusive));
  ASSERT_TRUE(wide.engine.release(me, Handle(3, 1), HoldKind::Exclusive));
  EXPECT_EQ(HoldList(me).overflow(), kHolds - RM_CONTEXT_HOLDS - 1);

  std::vector<std::uint32_t> reported;
  const std::uint32_t released = wide.engine.release_all(me, [&](Handle handle, HoldKind kind) {
    EXPECT_EQ(kind, HoldKind::Exclusive);
    reported.push_back(handle.slot());
  });
  EXPECT_EQ(released, kHolds - 2);
  EXPECT_EQ(reported.size(), kHolds - 2);
  EXPECT_TRUE(HoldList(me).empty());
  for (std::uint32_t i = 0; i < kHolds; ++i) EXPECT_TRUE(is_free(wide.engine.word(i))) << i;
}

TEST_F(Exclusive, AThreadThatEndsLeavesNothingBehind) {
  const Handle shared = domain.arm(2);
  Actor waiter(domain);
  {
    Actor ending(domain);
    ASSERT_TRUE(ending.acquire(h));
    ASSERT_TRUE(ending.share(shared));
    waiter.begin(h, blocking());
  }
  EXPECT_TRUE(waiter.finish());
  EXPECT_TRUE(is_free(domain.word(shared)));
  EXPECT_EQ(domain.contexts.size(), 1u);
  EXPECT_EQ(take_census(domain).cells_in_use, 0u);
}

TEST_F(Exclusive, AccessHooksAreTold) {
  Actor a(domain);
  const Handle hooked = domain.arm(3, 0, RM_SLOT_ATTR_ACCESS_HOOK);
  ASSERT_TRUE(a.acquire(h));
  EXPECT_EQ(domain.names.accesses(), 0);
  ASSERT_TRUE(a.acquire(hooked));
  ASSERT_TRUE(a.release(hooked));
  ASSERT_TRUE(a.share(hooked));
  EXPECT_EQ(domain.names.accesses(), 2);
}

}  // namespace
}  // namespace resmgr::lock::test
