// SPDX-License-Identifier: Apache-2.0
//
// Quarantine: what hardware stands behind is given to nobody from a holder's death until it is
// known to be quiet.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "resmgr/lock/recovery.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kDead = 7;

class Quarantine : public ::testing::Test {
 protected:
  Context& doomed() { return *domain.contexts.open(kDead, 0, 0, this_thread()).value(); }
  void kill() {
    recovery.mark_dead(kDead);
    EXPECT_EQ(recovery.run(kSmall.slots).pending, 0u);
  }
  [[nodiscard]] bool quarantined() const { return domain.word(h).has(RM_WORD_QUARANTINED); }

  Domain domain;
  Handle h = domain.arm(1, 0, RM_SLOT_ATTR_QUIESCE);
  Recovery recovery{domain.engine};
};

TEST_F(Quarantine, BeginsWithTheDeathOfAHolderAndEndsWithTheQuiet) {
  Actor a(domain);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying()));
  a.begin(h, blocking());
  kill();
  EXPECT_TRUE(quarantined());
  EXPECT_TRUE(domain.word(h).has(RM_WORD_INCONSISTENT));
  EXPECT_EQ(domain.word(h).owner(), 0);
  EXPECT_FALSE(a.finished());
  Actor b(domain);
  EXPECT_TRUE(fails_with(b.acquire(h), ErrorCode::Quarantined));
  EXPECT_TRUE(fails_with(b.share(h), ErrorCode::Quarantined));

  EXPECT_TRUE(recovery.lift_quarantine(h));
  const Outcome grant = a.finish();
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  EXPECT_FALSE(recovery.lift_quarantine(h)) << "once";
}

// Whoever closed it, and whenever that was.
TEST_F(Quarantine, ARunSaysWhatIsQuarantined) {
  const Handle later = domain.arm(2, 0, RM_SLOT_ATTR_QUIESCE);
  const Handle never = domain.arm(3, 0, RM_SLOT_ATTR_QUIESCE);
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  ASSERT_TRUE(domain.engine.acquire(dead, later, trying(HoldKind::Shared)));
  ASSERT_TRUE(domain.engine.acquire(dead, never, trying()));
  ASSERT_TRUE(domain.engine.release(dead, never, HoldKind::Exclusive));
  const std::uint16_t stopped = domain.open().id;
  store(domain.slot(later).word, domain.word(later).with_latch(stopped).bits);
  recovery.mark_dead(kDead);
  EXPECT_NE(recovery.run(kSmall.slots).pending, 0u);
  EXPECT_TRUE(std::ranges::equal(recovery.quarantined(), std::vector{h.slot()}));
  // The one who was stopped goes on, and serves.
  store(domain.slot(later).word, domain.word(later).with_latch(0).bits);
  EXPECT_EQ(recovery.run(kSmall.slots).pending, 0u);
  EXPECT_TRUE(std::ranges::equal(recovery.quarantined(), std::vector{h.slot(), later.slot()}));
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_EQ(recovery.run(kSmall.slots).pending, 0u);
  EXPECT_TRUE(std::ranges::equal(recovery.quarantined(), std::vector{later.slot()}));
}

TEST_F(Quarantine, IsForThoseWithAHookAlone) {
  const Handle plain = domain.arm(2);
  domain.engine.set_quiesce_hook(h, false);
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, plain, trying()));
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  kill();
  EXPECT_FALSE(domain.word(plain).has(RM_WORD_QUARANTINED));
  EXPECT_FALSE(quarantined());
  domain.engine.set_quiesce_hook(h, true);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying()));
  kill();
  EXPECT_TRUE(quarantined());
}

// Whoever serves may be the one who sees it first.
TEST_F(Quarantine, BeginsWhoeverTakesTheHoldFromTheDead) {
  Actor a(domain);
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  recovery.mark_dead(kDead);
  a.begin(h, blocking());
  EXPECT_FALSE(a.finished());
  EXPECT_TRUE(quarantined());
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_TRUE(a.finish());
}

TEST_F(Quarantine, AReadersDeathLeavesOtherReadersAloneAndLetsNobodyElseIn) {
  Actor reader(domain);
  Actor late(domain);
  Actor writer(domain);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying(HoldKind::Shared)));
  ASSERT_TRUE(reader.share(h));
  kill();
  EXPECT_TRUE(quarantined());
  EXPECT_EQ(reader.holds(h), HoldKind::Shared);
  EXPECT_TRUE(fails_with(late.share(h), ErrorCode::Quarantined));
  EXPECT_TRUE(fails_with(reader.upgrade(h), ErrorCode::Quarantined));
  writer.begin(h, blocking());
  ASSERT_TRUE(reader.release(h, HoldKind::Shared));
  EXPECT_FALSE(writer.finished());
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_TRUE(writer.finish());
}

// Nobody may find the dead reader's cell and take the resource over its word.
TEST_F(Quarantine, IsNotPassedOverAnEmptyShare) {
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying(HoldKind::Shared)));
  recovery.mark_dead(kDead);
  Actor a(domain);
  EXPECT_TRUE(fails_with(a.acquire(h), ErrorCode::WouldBlock)) << "the dead one stands in the way";
  a.begin(h, blocking());
  EXPECT_FALSE(a.finished());
  EXPECT_TRUE(quarantined());
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_TRUE(a.finish());
}

// He would wait for the end of his own hold.
TEST_F(Quarantine, WhoWaitsToUpgradeIsSentAway) {
  Actor reader(domain);
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying(HoldKind::Shared)));
  ASSERT_TRUE(reader.share(h));
  reader.begin_upgrade(h);
  ASSERT_FALSE(reader.finished());
  kill();
  EXPECT_TRUE(fails_with(reader.finish(), ErrorCode::Quarantined));
  EXPECT_EQ(reader.holds(h), HoldKind::Shared);
  EXPECT_TRUE(reader.release(h, HoldKind::Shared));
}

// Readers wait for readers here; the gate closed after both had looked.
TEST_F(Quarantine, ADeadlockThatItMakesIsFound) {
  const Handle other = domain.arm(2);
  Actor reader(domain);
  Actor waiter(domain);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying(HoldKind::Shared)));
  ASSERT_TRUE(reader.share(h));
  ASSERT_TRUE(waiter.acquire(other));
  reader.begin(other, blocking());
  recovery.mark_dead(kDead);
  EXPECT_EQ(recovery.run(kSmall.slots).pending, 0u);
  ASSERT_TRUE(quarantined());
  waiter.begin(h, blocking(HoldKind::Shared));
  wait_until([&] { return waiter.finished() || reader.finished(); });
  Actor& victim = waiter.finished() ? waiter : reader;
  EXPECT_TRUE(fails_with(victim.finish(), ErrorCode::Deadlock));
  if (&victim == &waiter) {
    ASSERT_TRUE(waiter.release(other));
    EXPECT_TRUE(reader.finish());
  } else {
    ASSERT_TRUE(reader.release(h, HoldKind::Shared));
    EXPECT_TRUE(recovery.lift_quarantine(h));
    EXPECT_TRUE(waiter.finish());
  }
}

// As when a writer between the two leaves, and the gate closes in the same moment: nobody begins to
// wait any more, so who sleeps looks again.
TEST_F(Quarantine, ADeadlockThatItMakesLaterIsFound) {
  const Handle other = domain.arm(2);
  Actor reader(domain);
  Actor waiter(domain);
  ASSERT_TRUE(reader.share(h));
  ASSERT_TRUE(reader.release(h, HoldKind::Shared));
  rm_slot& slot = domain.slot(h);
  store(slot.word, domain.word(h).with(RM_WORD_QUARANTINED).without(RM_WORD_SHARED).bits);
  ASSERT_TRUE(waiter.acquire(other));
  waiter.begin(h, blocking(HoldKind::Shared));
  reader.begin(other, blocking());
  CellPool(domain.tables()).for_each(slot, h.generation(), [&](rm_cell& cell, CellWord word) {
    if (word.context() == reader.id()) store(cell.word, word.to(RM_CELL_HELD).bits);
    return true;
  });
  store(slot.word, domain.word(h).with(RM_WORD_SHARED).bits);
  wait_until([&] { return waiter.finished() || reader.finished(); });
  Actor& victim = waiter.finished() ? waiter : reader;
  EXPECT_TRUE(fails_with(victim.finish(), ErrorCode::Deadlock));
  store(slot.word, domain.word(h).without(RM_WORD_SHARED).bits);
  CellPool(domain.tables()).for_each(slot, h.generation(), [&](rm_cell& cell, CellWord word) {
    if (word.context() == reader.id()) store(cell.word, word.to(RM_CELL_FREE).bits);
    return true;
  });
  (void)recovery.lift_quarantine(h);
  if (&victim == &waiter) {
    ASSERT_TRUE(waiter.release(other));
  }
}

TEST_F(Quarantine, OfWhatIsPoisonedNobodyWaits) {
  Actor a(domain);
  Actor b(domain);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying()));
  a.begin(h, blocking());
  b.begin(h, blocking(HoldKind::Shared));
  kill();
  EXPECT_FALSE(a.finished());
  recovery.poison(h);
  EXPECT_TRUE(fails_with(a.finish(), ErrorCode::Quarantined));
  EXPECT_TRUE(fails_with(b.finish(), ErrorCode::Quarantined));
  EXPECT_TRUE(fails_with(a.acquire(h, blocking()), ErrorCode::Quarantined));
  EXPECT_TRUE(fails_with(b.acquire(h, timed(kLongNs, HoldKind::Shared)), ErrorCode::Quarantined));
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_TRUE(a.acquire(h, blocking()));
}

// He looked before it was poisoned, and queues after that.
TEST_F(Quarantine, WhoQueuesTooLateIsSentAwayByWhoeverServesHim) {
  Actor a(domain);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying()));
  kill();
  a.begin(h, blocking());
  // The authority died between the two steps of it.
  domain.slot(h).attributes |= RM_SLOT_ATTR_POISONED;
  EXPECT_FALSE(a.finished());
  recovery.poison(h);
  EXPECT_TRUE(fails_with(a.finish(), ErrorCode::Quarantined));
}

// A living latch holder is told, and serves.
TEST_F(Quarantine, IsLiftedPastALatchHolder) {
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying()));
  kill();
  const std::uint16_t stopped = domain.open().id;
  rm_slot& slot = domain.slot(h);
  store(slot.word, domain.word(h).with_latch(stopped).bits);
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_FALSE(quarantined());
  EXPECT_TRUE(domain.word(h).has(RM_WORD_WORK));
  store(slot.word, domain.word(h).with_latch(0).bits);
  Actor a(domain);
  EXPECT_TRUE(a.acquire(h, blocking()));
}

TEST_F(Quarantine, DoesNotKeepAnOrphanFromItsEnd) {
  Actor a(domain);
  ASSERT_TRUE(domain.engine.acquire(doomed(), h, trying()));
  kill();
  a.begin(h, blocking());
  EXPECT_TRUE(recovery.remove(h));
  EXPECT_TRUE(fails_with(a.finish(), ErrorCode::OwnerDied));
  const Handle next = domain.arm(h.slot(), 0, 0, h.generation() + 1);
  EXPECT_TRUE(a.acquire(next));
}

}  // namespace
}  // namespace resmgr::lock::test
