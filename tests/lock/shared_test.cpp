// SPDX-License-Identifier: Apache-2.0
//
// Shared holds, and changes between shared and exclusive.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "resmgr/lock/pools.hpp"
#include "tests/lock/at_first_touch.hpp"
#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Shared : public ::testing::Test {
 protected:
  Domain domain;
  Handle h = domain.arm(1);
};

TEST_F(Shared, ManyHoldAtOnceAndWhoComesAfterThemHasTheWordForHimself) {
  Actor a(domain);
  Actor b(domain);
  Actor c(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  EXPECT_EQ(domain.word(h), StateWord::free(1).with(RM_WORD_SHARED));
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
  EXPECT_TRUE(fails_with(c.acquire(h), ErrorCode::WouldBlock));
  ASSERT_TRUE(a.release(h, HoldKind::Shared));
  EXPECT_TRUE(domain.word(h).has(RM_WORD_SHARED));
  EXPECT_EQ(a.holds(h), std::nullopt);
  EXPECT_TRUE(fails_with(c.acquire(h), ErrorCode::WouldBlock));
  ASSERT_TRUE(b.release(h, HoldKind::Shared));
  EXPECT_TRUE(is_free(domain.word(h)));
  EXPECT_TRUE(c.acquire(h));
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(c.id()));
}

TEST_F(Shared, NobodySharesWhatIsHeldExclusively) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.acquire(h));
  const Outcome refused = b.share(h);
  ASSERT_TRUE(fails_with(refused, ErrorCode::WouldBlock));
  EXPECT_EQ(refused.error().blame().context, a.id());
  b.begin(h, blocking(HoldKind::Shared));
  ASSERT_FALSE(b.finished());
  ASSERT_TRUE(a.release(h));
  ASSERT_TRUE(b.finish());
  EXPECT_EQ(b.holds(h), HoldKind::Shared);
}

// l2: what counts is the word after the cell was given up, not before.
TEST_F(Shared, WhoQueuesInTheMiddleOfAReleaseIsServedByIt) {
  Actor reader(domain);
  Actor writer(domain);
  ASSERT_TRUE(reader.share(h));
  rm_cell* const cell = domain.tables().cell(load(domain.slot(h).cell_link));
  ASSERT_NE(cell, nullptr);
  ASSERT_NE(AtFirstTouch::page_of(cell), AtFirstTouch::page_of(&domain.slot(h)));
  bool queued = false;
  const AtFirstTouch touch(cell, [&] {
    writer.begin(h, blocking());
    queued = !writer.finished();
  });
  ASSERT_TRUE(reader.release(h, HoldKind::Shared));
  EXPECT_TRUE(queued);
  EXPECT_EQ(domain.word(h).owner(), writer.id());
}

// s2: whoever has the latch may have looked at the cells already.
TEST_F(Shared, NoHoldBeginsWhileTheLatchIsTaken) {
  Actor a(domain);
  const std::uint16_t stopped = domain.open().id;
  store(domain.slot(h).word, domain.word(h).with_latch(stopped).bits);
  EXPECT_TRUE(fails_with(a.share(h), ErrorCode::WouldBlock));
  EXPECT_FALSE(domain.word(h).has(RM_WORD_SHARED));
  EXPECT_EQ(take_census(domain).cells_in_use, 0u);
}

// s4: the writer came while the cell said HELD, and sleeps because of it.
TEST_F(Shared, WhoQueuedBecauseOfAFalseHoldIsServedWhenItIsTakenBack) {
  Actor reader(domain);
  ASSERT_TRUE(reader.share(h));
  ASSERT_TRUE(reader.release(h, HoldKind::Shared));
  Context& late = domain.open(0, this_thread());
  rm_cell* cell =
      CellPool(domain.tables()).park(late, domain.slot(h), h.slot(), h.generation()).cell;
  ASSERT_NE(cell, nullptr);
  store(cell->word, CellWord{load(cell->word)}.to(RM_CELL_HELD).bits);
  Actor writer(domain);
  writer.begin(h, blocking());
  ASSERT_FALSE(writer.finished());
  domain.engine.take_false_hold_back(late, h);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(writer.id()));
  EXPECT_EQ(domain.engine.count_waiters(h), 0u);
}

TEST_F(Shared, ASecondSharedHoldOfOneContextIsRefused) {
  Actor a(domain);
  ASSERT_TRUE(a.share(h));
  for (const Request& request :
       {trying(HoldKind::Shared), blocking(HoldKind::Shared), blocking()}) {
    EXPECT_TRUE(fails_with(a.acquire(h, request), ErrorCode::Deadlock));
  }
  ASSERT_TRUE(a.release(h, HoldKind::Shared));
  EXPECT_TRUE(fails_with(a.release(h, HoldKind::Shared), ErrorCode::NotPermitted));
  EXPECT_TRUE(is_free(domain.word(h)));
}

// The cells of two resources that share a place in the context's cache: the second one is
// temporary.
TEST_F(Shared, TheSecondHoldIsRefusedWithATemporaryCellToo) {
  Domain wide(Capacities{.slots = 256, .contexts = 4, .clients = 1, .nodes = 8, .cells = 16});
  const Handle near = wide.arm(1);
  const Handle far = wide.arm(1 + Context::kParked);
  {
    Actor a(wide);
    ASSERT_TRUE(a.share(near));
    ASSERT_TRUE(a.share(far));
    ASSERT_TRUE(fails_with(a.share(far), ErrorCode::Deadlock));
    ASSERT_TRUE(a.run_call([&](Context& me) -> Outcome {
      Grant grant;
      make_plain(wide.engine, me);
      EXPECT_FALSE(take_fast(wide.engine, me, far, HoldKind::Shared));
      EXPECT_FALSE(wide.engine.try_shared(me, far, false, {}, grant));
      return grant;
    }));
    ASSERT_TRUE(a.release(far, HoldKind::Shared));
    EXPECT_TRUE(is_free(wide.word(far))) << "one release ends it";
    EXPECT_TRUE(a.acquire(far));
    EXPECT_TRUE(a.downgrade(far));
  }
  EXPECT_EQ(take_census(wide).cells_lost, 0u);
  EXPECT_EQ(take_census(wide).cells_owned, 0u);
}

TEST_F(Shared, ExclusiveOnlyIsNotShared) {
  const Handle sole = domain.arm(2, 0, RM_SLOT_ATTR_EXCLUSIVE_ONLY);
  Actor a(domain);
  EXPECT_TRUE(fails_with(a.share(sole), ErrorCode::NotShareable));
  EXPECT_TRUE(fails_with(a.acquire(sole, blocking(HoldKind::Shared)), ErrorCode::NotShareable));
  ASSERT_TRUE(a.acquire(sole));
  EXPECT_TRUE(fails_with(a.downgrade(sole), ErrorCode::NotShareable));
  EXPECT_EQ(a.holds(sole), HoldKind::Exclusive);
}

TEST_F(Shared, WaitersOfOneKindAreServedTogether) {
  Actor a(domain);
  std::vector<std::unique_ptr<Actor>> readers;
  ASSERT_TRUE(a.acquire(h));
  for (int i = 0; i < 5; ++i) {
    readers.push_back(std::make_unique<Actor>(domain));
    readers.back()->begin(h, blocking(HoldKind::Shared));
  }
  Actor writer(domain);
  writer.begin(h, blocking());
  Actor late(domain);
  late.begin(h, blocking(HoldKind::Shared));
  EXPECT_EQ(domain.engine.count_waiters(h), 7u);
  ASSERT_TRUE(a.release(h));
  for (auto& reader : readers) ASSERT_TRUE(reader->finish());
  EXPECT_FALSE(writer.finished());
  EXPECT_FALSE(late.finished()) << "behind the writer";
  for (auto& reader : readers) ASSERT_TRUE(reader->release(h, HoldKind::Shared));
  ASSERT_TRUE(writer.finish());
  EXPECT_FALSE(late.finished());
  ASSERT_TRUE(writer.release(h));
  ASSERT_TRUE(late.finish());
}

TEST_F(Shared, AWaitThatTimesOutLetsThoseBehindItIn) {
  Actor a(domain);
  Actor writer(domain);
  Actor reader(domain);
  ASSERT_TRUE(a.share(h));
  writer.begin(h, timed(200'000'000));
  ASSERT_FALSE(writer.finished());
  reader.begin(h, blocking(HoldKind::Shared));
  EXPECT_TRUE(fails_with(writer.finish(), ErrorCode::TimedOut));
  EXPECT_TRUE(reader.finish()) << "nothing keeps him any more";
}

TEST_F(Shared, AnyThreadMayRelease) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.share(h));
  b.begin(h, blocking());
  ASSERT_TRUE(domain.engine.release(a.context(), h, HoldKind::Shared));
  EXPECT_TRUE(b.finish());
  EXPECT_TRUE(HoldList(a.context()).empty());
}

TEST_F(Shared, AHoldWithoutAThreadIsFoundInTheChain) {
  Context& task = domain.open();
  Grant grant;
  ASSERT_TRUE(domain.engine.try_shared(task, h, true, {}, grant));
  EXPECT_EQ(domain.engine.held_kind(task, h).value(), HoldKind::Shared);
  EXPECT_FALSE(give_fast(domain.engine, task, h, HoldKind::Shared)) << "for own threads";
  EXPECT_TRUE(domain.engine.release(task, h, HoldKind::Shared));
  EXPECT_TRUE(is_free(domain.word(h)));
}

TEST_F(Shared, DowngradeLetsReadersInAndKeepsWritersOut) {
  Actor a(domain);
  Actor reader(domain);
  Actor writer(domain);
  ASSERT_TRUE(a.acquire(h));
  reader.begin(h, blocking(HoldKind::Shared));
  writer.begin(h, blocking());
  ASSERT_TRUE(a.downgrade(h));
  EXPECT_TRUE(reader.finish());
  EXPECT_FALSE(writer.finished());
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
  EXPECT_NE(HoldList(a.context()).entry(0) & RM_HOLD_SHARED, 0u);
  EXPECT_TRUE(fails_with(a.release(h), ErrorCode::NotPermitted));
  ASSERT_TRUE(reader.release(h, HoldKind::Shared));
  ASSERT_TRUE(a.release(h, HoldKind::Shared));
  EXPECT_TRUE(writer.finish());
  EXPECT_TRUE(HoldList(a.context()).empty());
}

TEST_F(Shared, DowngradeWithAWriterInFrontGivesNothingAway) {
  Actor a(domain);
  Actor writer(domain);
  ASSERT_TRUE(a.acquire(h));
  writer.begin(h, blocking());
  ASSERT_TRUE(a.downgrade(h));
  EXPECT_FALSE(writer.finished());
  EXPECT_EQ(domain.word(h).owner(), 0);
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
  ASSERT_TRUE(a.release(h, HoldKind::Shared));
  EXPECT_TRUE(writer.finish());
}

TEST_F(Shared, DowngradeLeavesWorkToTheLatchHolder) {
  Actor a(domain);
  ASSERT_TRUE(a.acquire(h));
  const std::uint16_t stopped = domain.open().id;
  store(domain.slot(h).word, domain.word(h).with_latch(stopped).bits);
  ASSERT_TRUE(a.downgrade(h));
  EXPECT_EQ(domain.word(h),
            StateWord::free(1).with_latch(stopped).with(RM_WORD_SHARED | RM_WORD_WORK));
}

TEST_F(Shared, DowngradeNeedsAnExclusiveHold) {
  Actor a(domain);
  EXPECT_TRUE(fails_with(a.downgrade(h), ErrorCode::NotPermitted));
  ASSERT_TRUE(a.share(h));
  EXPECT_TRUE(fails_with(a.downgrade(h), ErrorCode::InvalidArgument));
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
}

TEST_F(Shared, AnUpgradeOfTheOnlyHolderSucceedsAtOnce) {
  Actor a(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(a.upgrade(h));
  EXPECT_EQ(a.holds(h), HoldKind::Exclusive);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with_owner(a.id()));
  EXPECT_EQ(take_census(domain).cells_in_use, 0u);
  EXPECT_TRUE(fails_with(a.upgrade(h), ErrorCode::InvalidArgument));
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(HoldList(a.context()).empty());
  EXPECT_TRUE(fails_with(a.upgrade(h), ErrorCode::NotPermitted));
}

TEST_F(Shared, ATriedUpgradeInCompanyKeepsTheSharedHold) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  EXPECT_TRUE(fails_with(a.upgrade(h), ErrorCode::WouldBlock));
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with(RM_WORD_SHARED));
  const std::uint16_t stopped = domain.open().id;
  ASSERT_TRUE(b.release(h, HoldKind::Shared));
  store(domain.slot(h).word, domain.word(h).with_latch(stopped).bits);
  EXPECT_TRUE(fails_with(a.upgrade(h), ErrorCode::WouldBlock)) << "nobody waits for a latch";
}

TEST_F(Shared, AnUpgradeWaitsBeforeAllOthers) {
  Actor a(domain);
  Actor b(domain);
  Actor writer(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  writer.begin(h, blocking(HoldKind::Exclusive, ResourcePriority::Critical));
  a.begin_upgrade(h);
  ASSERT_FALSE(a.finished());
  ASSERT_TRUE(b.release(h, HoldKind::Shared));
  ASSERT_TRUE(a.finish());
  EXPECT_EQ(a.holds(h), HoldKind::Exclusive);
  EXPECT_FALSE(writer.finished());
  EXPECT_EQ(take_census(domain).cells_in_use, 0u);
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(writer.finish());
  EXPECT_TRUE(HoldList(a.context()).empty());
}

TEST_F(Shared, AnUpgradeThatTimesOutKeepsTheSharedHold) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  EXPECT_TRUE(fails_with(a.upgrade(h, timed(1'000'000)), ErrorCode::TimedOut));
  EXPECT_EQ(a.holds(h), HoldKind::Shared);
  EXPECT_EQ(domain.word(h), StateWord::free(1).with(RM_WORD_SHARED));
}

TEST_F(Shared, TwoUpgradesAreADeadlock) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  a.begin_upgrade(h);
  ASSERT_FALSE(a.finished());
  EXPECT_TRUE(fails_with(b.upgrade(h), ErrorCode::Deadlock)) << "tried";
  const Outcome refused = b.upgrade(h, blocking());
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  EXPECT_EQ(refused.error().cycle().size(), 2u);
  EXPECT_EQ(b.holds(h), HoldKind::Shared);
  ASSERT_TRUE(b.release(h, HoldKind::Shared));
  EXPECT_TRUE(a.finish());
}

// The shared hold is released from elsewhere while its upgrade waits: granted when nobody is left.
TEST_F(Shared, AnUpgradeOutlivesItsSharedHold) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(a.share(h));
  ASSERT_TRUE(b.share(h));
  a.begin_upgrade(h);
  ASSERT_TRUE(domain.engine.release(a.context(), h, HoldKind::Shared));
  EXPECT_FALSE(a.finished());
  store(domain.slot(h).word, domain.word(h).without(RM_WORD_SHARED).bits);
  ASSERT_TRUE(domain.engine.release(b.context(), h, HoldKind::Shared));
  ASSERT_TRUE(a.finish());
  EXPECT_EQ(a.holds(h), HoldKind::Exclusive);
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(HoldList(a.context()).empty());
}

}  // namespace
}  // namespace resmgr::lock::test
