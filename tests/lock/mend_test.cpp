// SPDX-License-Identifier: Apache-2.0
//
// What is put right at one resource because somebody asks for it, and what is left alone.
#include <gtest/gtest.h>

#include "resmgr/lock/recovery.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kDead = 7;
/// A context that was never opened.
constexpr std::uint16_t kNobody = 60;

class Mending : public ::testing::Test {
 protected:
  Context& doomed() { return *domain.contexts.open(kDead, 0, 0, this_thread()).value(); }
  void set_word(StateWord word) { store(domain.slot(h).word, word.bits); }

  Domain domain;
  Handle h = domain.arm(1);
  Recovery recovery{domain.engine};
};

TEST_F(Mending, WhatIsSoundStaysAsItIs) {
  EXPECT_FALSE(recovery.mend(h).any());
  Actor a{domain};
  Actor b{domain};
  Actor c{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  c.begin(h, blocking(HoldKind::Shared));
  const StateWord before = domain.word(h);
  const auto mended = recovery.mend(h);
  EXPECT_FALSE(mended.any());
  EXPECT_EQ(mended.left_to, 0);
  EXPECT_EQ(domain.word(h), before);
  EXPECT_EQ(domain.engine.count_waiters(h), 2u);
  EXPECT_FALSE(recovery.mend(Handle(1, 2)).any()) << "another tenant";
  EXPECT_FALSE(recovery.mend(Handle(kSmall.slots, 1)).any()) << "no slot";
  ASSERT_TRUE(a.release(h));
  ASSERT_TRUE(b.finish());
  ASSERT_TRUE(b.release(h));
  EXPECT_TRUE(c.finish());
}

TEST_F(Mending, ALatchOfNobodysIsTakenOver) {
  set_word(domain.word(h).with_latch(kNobody));
  Actor a{domain};
  const auto mended = recovery.mend(h);
  EXPECT_TRUE(mended.latch);
  EXPECT_FALSE(mended.flags || mended.hold || mended.queue);
  EXPECT_EQ(domain.word(h).latch(), 0);
  EXPECT_TRUE(a.acquire(h));
}

TEST_F(Mending, ALatchOfTheLivingIsNotTaken) {
  const std::uint16_t stopped = domain.open().id;
  set_word(domain.word(h).with_latch(stopped));
  const auto mended = recovery.mend(h);
  EXPECT_EQ(mended.left_to, stopped);
  EXPECT_FALSE(mended.any());
  EXPECT_EQ(domain.word(h).latch(), stopped);
  EXPECT_TRUE(domain.word(h).has(RM_WORD_WORK)) << "he is told";
}

TEST_F(Mending, ALostQueueIsMadeAnewAndServed) {
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  store(domain.slot(h).queue_head_link, 0);
  store(domain.slot(h).queue_tail_link, 0);
  EXPECT_TRUE(recovery.mend(h).queue);
  EXPECT_FALSE(recovery.mend(h).any()) << "once";
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(b.finish());
}

// He gave up, or was served: nothing of his waits any more, but his node was there.
TEST_F(Mending, ANodeThatALostQueueKeptIsFreeAgain) {
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  const std::uint32_t link = load(domain.slot(h).queue_head_link);
  store(domain.slot(h).queue_head_link, 0);
  store(domain.slot(h).queue_tail_link, 0);
  b.cancel();
  ASSERT_TRUE(fails_with(b.finish(), ErrorCode::Cancelled));
  EXPECT_NE(load(domain.tables().node(link)->refs) & RM_NODE_REF_QUEUED, 0u);
  EXPECT_TRUE(recovery.mend(h).queue);
  EXPECT_EQ(load(domain.tables().node(link)->refs) & RM_NODE_REF_QUEUED, 0u);
  EXPECT_FALSE(recovery.mend(h).any()) << "once";
}

TEST_F(Mending, AQueueWithoutAnEndIsMadeAnew) {
  Actor a{domain};
  Actor b{domain};
  Actor c{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  c.begin(h, blocking());
  rm_slot& slot = domain.slot(h);
  store(domain.tables().node(load(slot.queue_tail_link))->next_link, load(slot.queue_head_link));
  EXPECT_TRUE(recovery.mend(h).queue);
  EXPECT_EQ(domain.engine.count_waiters(h), 2u);
  ASSERT_TRUE(a.release(h));
  ASSERT_TRUE(b.finish());
  ASSERT_TRUE(b.release(h));
  EXPECT_TRUE(c.finish());
}

TEST_F(Mending, AHoldOfNobodysEndsInconsistent) {
  set_word(domain.word(h).with_owner(kNobody));
  Actor a{domain};
  a.begin(h, blocking());
  EXPECT_TRUE(recovery.mend(h).hold);
  const Outcome grant = a.finish();
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
}

TEST_F(Mending, WhatTheDeadHoldAndWaitForEnds) {
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  const Handle other = domain.arm(2);
  Actor a{domain};
  ASSERT_TRUE(a.share(other));
  Context& reader = doomed();
  ASSERT_TRUE(domain.engine.acquire(reader, other, trying(HoldKind::Shared)));
  recovery.mark_dead(kDead);
  EXPECT_TRUE(recovery.mend(h).hold);
  EXPECT_EQ(domain.word(h).owner(), 0);
  EXPECT_TRUE(recovery.mend(other).hold);
  EXPECT_FALSE(recovery.mend(other).any()) << "the living reader's is one";
}

TEST_F(Mending, AnOfferThatNobodyCompletesIsTakenBack) {
  const std::uint16_t offered = domain.open().id;
  set_word(domain.word(h).with_owner(offered).with(RM_WORD_GRANTING));
  Actor a{domain};
  EXPECT_TRUE(recovery.mend(h).offer);
  EXPECT_FALSE(domain.word(h).has(RM_WORD_GRANTING));
  EXPECT_TRUE(a.acquire(h));
}

TEST_F(Mending, FlagsThatTheQueueContradictsGo) {
  Actor a{domain};
  for (const std::uint32_t flag : {RM_WORD_WAITERS, RM_WORD_WORK}) {
    set_word(domain.word(h).with(flag));
    EXPECT_TRUE(recovery.mend(h).flags) << flag;
    EXPECT_EQ(domain.word(h), StateWord::free(1));
  }
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  set_word(domain.word(h).without(RM_WORD_WAITERS));
  EXPECT_TRUE(recovery.mend(h).flags) << "its waiters are denied";
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(b.finish());
}

// Q4
TEST_F(Mending, WhatIsBarredGoesToNobody) {
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  recovery.bar(h);
  EXPECT_EQ(b.finish().error(), ErrorCode::Quarantined) << "who waits is told";
  EXPECT_EQ(domain.word(h).owner(), a.id()) << "who has it goes on";
  EXPECT_EQ(b.acquire(h).error(), ErrorCode::Quarantined);
  ASSERT_TRUE(a.release(h));
  b.begin(h, blocking(HoldKind::Shared));
  EXPECT_EQ(b.finish().error(), ErrorCode::Quarantined);
  EXPECT_TRUE(recovery.lift_quarantine(h));
  EXPECT_TRUE(b.acquire(h));
}

}  // namespace
}  // namespace resmgr::lock::test
