// SPDX-License-Identifier: Apache-2.0
//
// Recovery beside the living: those who sleep, those who are stopped in the middle, recoverers that
// die. What a kill leaves at each instruction is in tests/kill.
#include "resmgr/lock/recovery.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "resmgr/base/futex.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kDead = 7;

class RecoveryTest : public ::testing::Test {
 protected:
  /// A context of the client that is about to die.
  Context& doomed() { return *domain.contexts.open(kDead, 0, 0, this_thread()).value(); }
  Recovery::Report recover() {
    recovery.mark_dead(kDead);
    return recovery.run(kSmall.slots);
  }
  [[nodiscard]] bool is_free(const Context& context) const {
    return (load(context.record->state) & RM_CONTEXT_STATE_MASK) == RM_CONTEXT_FREE;
  }

  Domain domain;
  Handle h = domain.arm(1);
  Handle other = domain.arm(2);
  Recovery recovery{domain.engine};
};

TEST_F(RecoveryTest, NothingHappensWhereNobodyDied) {
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  const Recovery::Report report = recover();
  EXPECT_EQ(report.waits_cancelled + report.latches_taken_over + report.contexts_freed, 0u);
  EXPECT_EQ(domain.word(h).owner(), a.id());
  EXPECT_FALSE(b.finished());
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(b.finish());
}

TEST_F(RecoveryTest, WhoSleepsGetsTheDeadOnesHoldAndIsTold) {
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  Actor a{domain};
  a.begin(h, blocking());
  EXPECT_EQ(recover().contexts_freed, 1u);
  const Outcome grant = a.finish();
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  const Outcome repaired = a.run_call([&](Context& me) -> Outcome {
    const auto done = domain.engine.consistent(me, h);
    return done ? Outcome(Grant{}) : fail(done.error().code());
  });
  ASSERT_TRUE(repaired);
  ASSERT_TRUE(a.release(h));
  EXPECT_FALSE(domain.word(h).has(RM_WORD_INCONSISTENT));
}

TEST_F(RecoveryTest, ASharedHoldEndsQuietly) {
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying(HoldKind::Shared)));
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.share(h));
  b.begin(h, blocking());
  EXPECT_EQ(recover().contexts_freed, 1u);
  EXPECT_FALSE(b.finished()) << "a living reader still has it";
  ASSERT_TRUE(a.release(h, HoldKind::Shared));
  const Outcome grant = b.finish();
  ASSERT_TRUE(grant);
  EXPECT_FALSE(grant->inconsistent) << "who reads leaves nothing half done";
}

// A context is dead by its record, not by its process: all of the client's are.
TEST_F(RecoveryTest, AllContextsOfAClientDieTogether) {
  Context& first = doomed();
  Context& second = doomed();
  ASSERT_TRUE(domain.engine.acquire(first, h, trying()));
  ASSERT_TRUE(domain.engine.acquire(second, other, trying()));
  Actor living{domain};
  EXPECT_EQ(recovery.mark_dead(kDead), 2u);
  EXPECT_EQ(recovery.mark_dead(kDead), 0u) << "once";
  EXPECT_EQ(recovery.run(kSmall.slots).contexts_freed, 2u);
  EXPECT_TRUE(living.acquire(h));
  EXPECT_TRUE(living.acquire(other));
}

// The latch holder is alive but does not run: he alone may touch the lists (I5).
TEST_F(RecoveryTest, WhatALivingLatchHolderHasIsLeftToHim) {
  Context& dead = doomed();
  ASSERT_TRUE(domain.engine.acquire(dead, h, trying()));
  const std::uint16_t stopped = domain.open().id;
  rm_slot& slot = domain.slot(h);
  store(slot.word, domain.word(h).with_latch(stopped).bits);
  EXPECT_EQ(recover().pending, 1u);
  EXPECT_TRUE(domain.word(h).has(RM_WORD_WORK)) << "he was told";
  EXPECT_EQ(domain.word(h).owner(), dead.id);
  EXPECT_FALSE(is_free(dead)) << "a word still names it";
  // He goes on, sees WORK, and serves: here, by being found to have unlatched.
  store(slot.word, domain.word(h).with_latch(0).bits);
  const Recovery::Report after = recover();
  EXPECT_EQ(after.pending, 0u);
  EXPECT_EQ(after.contexts_freed, 1u);
  EXPECT_EQ(domain.word(h).owner(), 0);
}

TEST_F(RecoveryTest, ARecovererTakesOverFromTheOneBefore) {
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  // It died in the middle of an edit, with the queue in its hands.
  rm_slot& slot = domain.slot(h);
  store(slot.word, domain.word(h).with_latch(RM_AUTHORITY_CONTEXT).bits);
  store(slot.queue_head_link, 0);
  store(slot.queue_tail_link, 0);
  store(slot.queue_seq, load(slot.queue_seq) | 1u);
  ASSERT_TRUE(a.release(h));
  EXPECT_FALSE(b.finished());
  EXPECT_EQ(recover().latches_taken_over, 1u);
  EXPECT_TRUE(b.finish());
}

// The granter died between decision and wake: nothing in the words tells (R4).
TEST_F(RecoveryTest, WhoWasDecidedButNotWokenWakes) {
  Context& sleeper = domain.open(0, this_thread());
  rm_node& node = *NodePool(domain.tables()).take(sleeper);
  const NodeWord granted{(NodeWord{load(node.word)}.sequence() + 1) << RM_NODE_SEQ_SHIFT |
                         RM_NODE_GRANTED};
  store(node.word, granted.bits);
  std::atomic<bool> awake = false;
  std::thread thread([&] {
    futex_wait(&node.word, static_cast<std::uint32_t>(granted.bits), monotonic_ns() + kLongNs);
    awake = true;
  });
  // Nobody else wakes it, and its time is up after the test's.
  wait_until([&] {
    (void)recover();
    return awake.load();
  });
  thread.join();
}

// A repair links a waiter it found outside all lists; he gives up, and his node is used again.
TEST_F(RecoveryTest, ANodeInTheMiddleOfAGrantIsPutBack) {
  Actor a{domain};
  Actor b{domain};
  ASSERT_TRUE(a.acquire(h));
  b.begin(h, blocking());
  const std::uint16_t dead = doomed().id;
  rm_slot& slot = domain.slot(h);
  // Taken out of the queue, and not yet decided.
  domain.engine.graph().for_each_wait(b.id(), [&](const Waiter& waiter) {
    const WaitQueue queue(domain.tables(), slot, h.slot(), h.generation());
    (void)queue.settle();
    queue.unlink(*waiter.node);
    return true;
  });
  store(slot.word, domain.word(h).with_latch(dead).without(RM_WORD_WAITERS).bits);
  EXPECT_EQ(recover().latches_taken_over, 1u);
  EXPECT_TRUE(domain.word(h).has(RM_WORD_WAITERS));
  ASSERT_TRUE(a.release(h));
  EXPECT_TRUE(b.finish());
}

}  // namespace
}  // namespace resmgr::lock::test
