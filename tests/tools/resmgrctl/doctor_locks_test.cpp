// SPDX-License-Identifier: Apache-2.0
//
// What the doctor finds in words, queues, cells and contexts that were damaged, each damage by
// itself; and nothing once it is gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/word.hpp"
#include "tests/tools/resmgrctl/support.hpp"

namespace resmgrctl::test {
namespace {

using resmgr::Handle;
using resmgr::HoldKind;
using resmgr::load;
using resmgr::lock::CellWord;
using resmgr::lock::Context;
using resmgr::lock::references_of;
using resmgr::lock::StateWord;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::uint16_t kNobody = 20;          // a context that nobody opened
constexpr std::uint16_t kImpossible = 60'000;  // none of this domain

std::uint64_t with_life(std::uint64_t state, rm_context_state life) {
  return (state & ~std::uint64_t{RM_CONTEXT_STATE_MASK}) | static_cast<std::uint64_t>(life);
}

class DoctorTest : public ::testing::Test {
 protected:
  // Each test leaves the domain as it was.
  void TearDown() override { EXPECT_THAT(found(), IsEmpty()); }

  [[nodiscard]] std::vector<std::string> found() { return checks_of(world.diagnose().findings); }
  [[nodiscard]] std::vector<std::string> notes() { return checks_of(world.diagnose().notes); }
  [[nodiscard]] StateWord word(Handle handle) { return {load(world.slot(handle).word)}; }

  World world;
  Handle x = world.add("x");
  Handle y = world.add("y");
  Context& a = world.open();
  Context& b = world.open();
};

TEST_F(DoctorTest, FindsNothingInASoundDomain) {
  const Handle s = world.add("s");
  ASSERT_TRUE(world.acquire(a, x));
  ASSERT_TRUE(world.acquire(a, s, HoldKind::Shared));
  ASSERT_TRUE(world.acquire(b, s, HoldKind::Shared));
  const Waiting waiting(world, b, x);
  const Diagnosis diagnosis = world.diagnose();
  EXPECT_THAT(diagnosis.findings, IsEmpty());
  EXPECT_THAT(diagnosis.notes, IsEmpty());
  EXPECT_THAT(diagnosis.untold, IsEmpty());
  EXPECT_EQ(diagnosis.resources, 3u);
  EXPECT_EQ(diagnosis.looks, 1u);
}

TEST_F(DoctorTest, FindsAHoldThatIsBothExclusiveAndShared) {
  ASSERT_TRUE(world.acquire(a, x));
  const Damage damage(world.slot(x).word, word(x).with(RM_WORD_SHARED).bits);
  const Diagnosis diagnosis = world.diagnose();
  ASSERT_THAT(checks_of(diagnosis.findings), ElementsAre("held-both-ways"));
  EXPECT_EQ(diagnosis.findings[0].invariant, 1u);
  EXPECT_EQ(diagnosis.findings[0].resource, "x");
  EXPECT_FALSE(diagnosis.findings[0].next_step.empty());
  EXPECT_EQ(diagnosis.looks, 3u);
}

TEST_F(DoctorTest, FindsHoldsOfTheDeadAndOfNobody) {
  ASSERT_TRUE(world.acquire(a, x));
  {
    const Damage dead(a.record->state, with_life(a.record->state, RM_CONTEXT_DEAD));
    EXPECT_THAT(found(), Contains("hold-of-dead"));
    // A living latch holder is in the middle: recovery waits for him.
    const Damage latched(world.slot(x).word, word(x).with_latch(b.id).bits);
    EXPECT_THAT(found(), Not(Contains("hold-of-dead")));
  }
  for (const std::uint16_t owner : {kNobody, kImpossible}) {
    const Damage damage(world.slot(x).word, word(x).with_owner(owner).bits);
    EXPECT_THAT(found(), ElementsAre("hold-of-nobody"));
  }
}

TEST_F(DoctorTest, FindsALatchThatNobodyGivesUp) {
  for (const std::uint16_t latch : {kNobody, kImpossible}) {
    const Damage damage(world.slot(x).word, word(x).with_latch(latch).bits);
    EXPECT_THAT(found(), ElementsAre("latch-abandoned"));
  }
  // Of one who is stopped, or of the authority: no finding.
  for (const std::uint32_t latch : {std::uint32_t{a.id}, RM_AUTHORITY_CONTEXT}) {
    const Damage damage(world.slot(x).word,
                        word(x).with_latch(static_cast<std::uint16_t>(latch)).bits);
    EXPECT_THAT(found(), IsEmpty());
  }
}

TEST_F(DoctorTest, FindsFlagsThatNobodyStandsBehind) {
  {
    const Damage damage(world.slot(x).word, word(x).with(RM_WORD_WORK).bits);
    EXPECT_THAT(found(), ElementsAre("work-left"));
  }
  {
    const Damage damage(world.slot(x).word, word(x).with(RM_WORD_WAITERS).bits);
    EXPECT_THAT(found(), ElementsAre("queue-stale"));
  }
  const Damage damage(world.slot(x).word, word(x).with(RM_WORD_GRANTING).with_owner(a.id).bits);
  EXPECT_THAT(found(), ElementsAre("offer-left"));
}

TEST_F(DoctorTest, FindsQueuesThatTheWordDenies) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  const Damage damage(world.slot(x).word, word(x).without(RM_WORD_WAITERS).bits);
  EXPECT_THAT(found(), ElementsAre("queue-denied"));
}

TEST_F(DoctorTest, FindsWaitersThatNobodyServes) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  {
    const Damage damage(world.slot(x).word, word(x).with_owner(0).bits);
    EXPECT_THAT(found(), ElementsAre("waiter-unserved"));
  }
  {
    const Damage head(world.slot(x).queue_head_link, 0u);
    EXPECT_THAT(found(), ElementsAre("waiter-lost"));
  }
  const Damage gone(world.slot(x).word, StateWord::free(7).bits);
  EXPECT_THAT(found(), Contains("wait-for-gone"));
}

TEST_F(DoctorTest, FindsQueuesThatLeadNowhere) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  const std::uint32_t self = world.tables().link_of(&waiting.node());
  for (const std::uint32_t link : {60'000u, self}) {
    const Damage damage(waiting.node().next_link, link);
    EXPECT_THAT(found(), ElementsAre("queue-broken"));
  }
}

TEST_F(DoctorTest, FindsWaitsThatAreNotWhatTheySay) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  rm_node& node = waiting.node();
  {
    const Damage damage(node.mode, std::uint8_t{9});
    EXPECT_THAT(found(), ElementsAre("wait-damaged"));
  }
  {
    const Damage damage(node.slot, 60'000u);
    EXPECT_THAT(found(), ElementsAre("wait-damaged"));
  }
  {
    const Damage damage(node.context, a.id);
    EXPECT_THAT(found(), Contains("wait-damaged"));
  }
}

TEST_F(DoctorTest, FindsWaitsThatNoSearchForDeadlocksSees) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  {
    const Damage damage(b.record->wait_link, 0u);
    EXPECT_THAT(found(), ElementsAre("wait-unseen"));
    // Its thread is just changing the list, perhaps for long.
    const Damage odd(b.record->waits_seq, b.record->waits_seq | 1u);
    EXPECT_THAT(found(), IsEmpty());
  }
  const Damage damage(b.record->wait_link, 60'000u);
  EXPECT_THAT(found(), Contains("wait-list-broken"));
}

TEST_F(DoctorTest, FindsWaitsOfTheDead) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  const Damage dead(b.record->state, with_life(b.record->state, RM_CONTEXT_DEAD));
  EXPECT_THAT(found(), Contains("wait-of-dead"));
}

TEST_F(DoctorTest, FindsNodesThatNobodyHas) {
  ASSERT_TRUE(world.acquire(a, x));
  const Waiting waiting(world, b, x);
  rm_node* const other = world.tables().nodes + 1;
  const Damage used(world.tables().region->nodes.high_water, 2u);
  {
    const Damage damage(other->refs, references_of(kNobody, RM_NODE_REF_OWNER));
    EXPECT_THAT(found(), ElementsAre("node-leaked"));
  }
  const Damage damage(other->refs, references_of(0, RM_NODE_REF_LINKED));
  EXPECT_THAT(found(), ElementsAre("node-lost"));
}

TEST_F(DoctorTest, FindsSharesThatAreNone) {
  ASSERT_TRUE(world.acquire(a, x, HoldKind::Shared));
  rm_cell& cell = *world.tables().cell(load(world.slot(x).cell_link));
  const CellWord held{load(cell.word)};
  {
    const Damage dead(a.record->state, with_life(a.record->state, RM_CONTEXT_DEAD));
    EXPECT_THAT(found(), Contains("share-of-dead"));
  }
  {
    const Damage damage(
        cell.word, CellWord::make(held.generation(), kNobody, held.parking(), held.state()).bits);
    EXPECT_THAT(found(), ElementsAre("share-of-nobody"));
  }
  const Damage damage(cell.word, held.to(RM_CELL_OFFERED).bits);
  EXPECT_THAT(found(), ElementsAre("share-offer-left"));
}

TEST_F(DoctorTest, FindsChainsOfCellsThatAreDamaged) {
  ASSERT_TRUE(world.acquire(a, x, HoldKind::Shared));
  rm_cell& cell = *world.tables().cell(load(world.slot(x).cell_link));
  {
    const Damage damage(cell.next_link, 60'000u);
    EXPECT_THAT(found(), ElementsAre("chain-broken"));
  }
  {
    const Damage damage(cell.slot, y.slot());
    EXPECT_THAT(found(), ElementsAre("cell-astray"));
  }
  {
    const Damage damage(cell.flags, references_of(kNobody, RM_CELL_REF_OWNED | RM_CELL_REF_LINKED));
    EXPECT_THAT(found(), ElementsAre("cell-leaked"));
  }
  const Damage chain(world.slot(x).cell_link, 0u);
  const Damage nobodys(cell.flags, references_of(0, RM_CELL_REF_LINKED));
  EXPECT_THAT(found(), ElementsAre("cell-lost"));
}

TEST_F(DoctorTest, FindsADeadlockThatNobodyResolved) {
  Context& c = world.open();
  ASSERT_TRUE(world.acquire(a, x));
  ASSERT_TRUE(world.acquire(c, y));
  const Waiting first(world, b, x);
  const Waiting second(world, a, y);
  EXPECT_THAT(found(), IsEmpty());
  const Damage damage(world.slot(y).word, word(y).with_owner(b.id).bits);
  const Diagnosis diagnosis = world.diagnose();
  ASSERT_THAT(checks_of(diagnosis.findings), ElementsAre("deadlock-unresolved"));
  EXPECT_EQ(diagnosis.findings[0].invariant, 7u);
  EXPECT_EQ(diagnosis.findings[0].resource, "2 contexts");
}

TEST_F(DoctorTest, FindsTheDeadThatAreTakenForAlive) {
  const std::uint64_t alive = load(world.client().state);
  {
    const Damage damage(world.client().start_time, world.client().start_time + 1);
    EXPECT_THAT(found(), ElementsAre("client-unburied"));
  }
  {
    const Damage dead(world.client().state, with_life(alive, RM_CONTEXT_DEAD));
    EXPECT_THAT(found(), ElementsAre("context-unmarked", "orphan-unmarked"));
  }
  {
    const Damage free(world.client().state, with_life(alive, RM_CONTEXT_FREE));
    EXPECT_THAT(found(), ElementsAre("context-of-nobody", "orphan-unmarked"));
  }
  const Damage dead(a.record->state, with_life(a.record->state, RM_CONTEXT_DEAD));
  EXPECT_THAT(found(), ElementsAre("context-unburied"));
}

TEST_F(DoctorTest, NotesWhatAnOperatorWantsToKnow) {
  EXPECT_TRUE(world.state().writer().set_lifecycle(y, resmgr::Lifecycle::Orphaned));
  EXPECT_THAT(notes(), ElementsAre("orphan"));
  const Damage damage(world.slot(x).word,
                      word(x).with(RM_WORD_INCONSISTENT | RM_WORD_QUARANTINED).bits);
  EXPECT_THAT(notes(), ElementsAre("inconsistent", "orphan", "quarantined"));
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(DoctorTest, SaysWhatItCantTell) {
  // Not our pid: another PID namespace.
  const Damage damage(world.client().pid, 1u);
  const Diagnosis diagnosis = world.diagnose();
  EXPECT_THAT(diagnosis.findings, IsEmpty());
  EXPECT_EQ(diagnosis.untold.size(), 1u);
}

TEST_F(DoctorTest, BelievesOnlyWhatStaysTheSame) {
  std::vector<Finding> first;
  {
    const Damage damage(world.slot(x).word, word(x).with(RM_WORD_WORK).bits);
    first = examine(world.look());
    EXPECT_THAT(checks_of(first), ElementsAre("work-left"));
    EXPECT_EQ(confirmed(first, examine(world.look())).size(), 1u);
  }
  ASSERT_TRUE(world.acquire(a, x));
  ASSERT_TRUE(world.release(a, x));
  // The same again, but somebody was there meanwhile.
  const Damage damage(world.slot(x).word, word(x).with(RM_WORD_WORK).bits);
  const auto second = examine(world.look());
  EXPECT_THAT(checks_of(second), ElementsAre("work-left"));
  EXPECT_THAT(confirmed(first, second), IsEmpty());
}

}  // namespace
}  // namespace resmgrctl::test
