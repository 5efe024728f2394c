// SPDX-License-Identifier: Apache-2.0
//
// Deadlocks whose members were stopped at a moment, or whose records a test wrote: deadlock.cpp and
// wait_graph.cpp. Scenarios that take no more than performers are in deadlock_scenario_test.cpp.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/at_first_touch.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Deadlock : public ::testing::Test {
 protected:
  [[nodiscard]] std::uint64_t deadlocks() const { return load(domain.tables().region->deadlocks); }

  Domain domain;
  std::array<Handle, 6> r{domain.arm(1), domain.arm(2), domain.arm(3),
                          domain.arm(4), domain.arm(5), domain.arm(6)};
  Actor a{domain, 1};
  Actor b{domain, 2};
  Actor c{domain, 3};
};

// The granter was stopped after it wrote b into the word and before it told b's node. Who comes
// now, and stands before b in the queue, waits for b; b waits for nobody.
TEST_F(Deadlock, WhoIsOfferedTheResourceWaitsForNobody) {
  ASSERT_TRUE(a.acquire(r[0]));
  b.begin(r[0], blocking());
  const std::uint16_t stopped = domain.open().id;
  rm_slot& slot = domain.slot(r[0]);
  store(slot.word, domain.word(r[0]).with_latch(stopped).bits);
  ASSERT_TRUE(a.release(r[0]));
  store(slot.word, domain.word(r[0]).with_owner(b.id()).with(RM_WORD_GRANTING).bits);
  ASSERT_TRUE(c.acquire(r[1]));  // holds something, so that it walks
  c.begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::Critical));
  EXPECT_FALSE(b.finished());
  EXPECT_FALSE(c.finished());
  EXPECT_EQ(deadlocks(), 0u);
}

TEST_F(Deadlock, WhoIsOfferedAShareWaitsForNobody) {
  ASSERT_TRUE(a.acquire(r[0]));
  b.begin(r[0], blocking(HoldKind::Shared));
  const std::uint16_t stopped = domain.open().id;
  rm_slot& slot = domain.slot(r[0]);
  store(slot.word, domain.word(r[0]).with_latch(stopped).bits);
  ASSERT_TRUE(a.release(r[0]));
  rm_cell* cell = domain.tables().cell(load(slot.cell_link));
  ASSERT_NE(cell, nullptr);
  store(cell->word, CellWord{load(cell->word)}.to(RM_CELL_OFFERED).bits);
  store(slot.word, domain.word(r[0]).with(RM_WORD_SHARED).bits);
  ASSERT_TRUE(c.acquire(r[1]));
  c.begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::Critical));
  EXPECT_FALSE(b.finished());
  EXPECT_FALSE(c.finished());
  EXPECT_EQ(deadlocks(), 0u);
}

// The granter was stopped before he took back what he had offered b, who gave up and waits for
// something else by now: b does not keep c from anything.
TEST_F(Deadlock, WhoGaveUpHoldsNothingThatHeIsOffered) {
  ASSERT_TRUE(c.acquire(r[1]));
  b.begin(r[1], blocking());
  const std::uint16_t stopped = domain.open().id;
  store(domain.slot(r[0]).word,
        domain.word(r[0]).with_latch(stopped).with_owner(b.id()).with(RM_WORD_GRANTING).bits);
  c.begin(r[0], timed(1'000'000));
  EXPECT_TRUE(fails_with(c.finish(), ErrorCode::TimedOut));
  EXPECT_EQ(deadlocks(), 0u);
  ASSERT_TRUE(c.release(r[1]));
  EXPECT_TRUE(b.finish());
}

TEST_F(Deadlock, WhoGaveUpSharesNothingThatHeIsOffered) {
  ASSERT_TRUE(b.acquire(r[0], trying(HoldKind::Shared)));
  ASSERT_TRUE(b.release(r[0], HoldKind::Shared));
  ASSERT_TRUE(c.acquire(r[1]));
  b.begin(r[1], blocking());
  const std::uint16_t stopped = domain.open().id;
  rm_slot& slot = domain.slot(r[0]);
  rm_cell* cell = domain.tables().cell(load(slot.cell_link));
  ASSERT_NE(cell, nullptr);
  store(cell->word, CellWord{load(cell->word)}.to(RM_CELL_OFFERED).bits);
  store(slot.word, domain.word(r[0]).with_latch(stopped).with(RM_WORD_SHARED).bits);
  c.begin(r[0], timed(1'000'000));
  EXPECT_TRUE(fails_with(c.finish(), ErrorCode::TimedOut));
  EXPECT_EQ(deadlocks(), 0u);
  ASSERT_TRUE(c.release(r[1]));
  EXPECT_TRUE(b.finish());
}

// Nothing of the sort can come out of memory that others wrote.
TEST_F(Deadlock, ALoanStaysInsideTheTable) {
  ASSERT_TRUE(a.acquire(r[0]));
  ASSERT_TRUE(b.acquire(r[1]));
  a.begin(r[1], blocking(HoldKind::Exclusive, ResourcePriority::Low));
  domain.engine.graph().for_each_wait(a.id(), [](const Waiter& waiter) {
    store(waiter.node->slot, 0xfffffff0u);
    return true;
  });
  c.begin(r[0], timed(1'000'000, HoldKind::Exclusive, ResourcePriority::Critical));
  EXPECT_TRUE(fails_with(c.finish(), ErrorCode::TimedOut));
}

TEST_F(Deadlock, AWalkEndsAtItsDeadline) {
  WaitGraph& graph = domain.engine.graph();
  std::vector<Context*> chain;
  for (std::uint32_t i = 0; i < 40; ++i) chain.push_back(&domain.open());
  // By hand: each waits for the next one's resource, the last for the first's.
  for (std::uint32_t i = 0; i < chain.size(); ++i) {
    const Handle handle = domain.arm(10 + i);
    store(domain.slot(handle).word, domain.word(handle).with_owner(chain[i]->id).bits);
    rm_node& node = domain.tables().nodes[i];
    store(node.slot, 10 + (i + 1) % static_cast<std::uint32_t>(chain.size()));
    store(node.generation, 1);
    store(node.context, chain[i]->id);
    store(node.ticket, i);
    store(node.word, std::uint64_t{1} << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);
    store(chain[i]->record->wait_link, i + 1);
  }
  store(domain.tables().region->nodes.high_water, 40);
  EXPECT_TRUE(graph.find_cycle(chain[0]->scratch, chain[0]->id));
  EXPECT_EQ(graph.cycle(chain[0]->scratch).size(), 40u);
  EXPECT_FALSE(graph.find_cycle(chain[0]->scratch, chain[0]->id, nullptr, 1));
}

/// A wait of `context` that nobody decides.
rm_node& put_wait(Domain& domain, Context& context, Handle handle) {
  rm_node& node = *NodePool(domain.tables()).take(context);
  store(node.slot, handle.slot());
  store(node.generation, handle.generation());
  store(node.context, context.id);
  store(node.mode, static_cast<std::uint8_t>(RM_WAIT_EXCLUSIVE));
  store(node.word, std::uint64_t{1} << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);
  store(context.record->wait_link, domain.tables().link_of(&node));
  return node;
}

/// A loan makes the borrower overtake `other`, who waits for him from then on, while each way on
/// for the borrower leads over `other`.
class LoanThatClosesACycle : public Deadlock {
 protected:
  LoanThatClosesACycle() {
    hold(runner, r[0]);
    hold(borrower, r[2]);
    hold(other, r[1]);
    hold(other, r[3]);
    const std::array ways{r[1], r[3]};
    const auto low = blocking(HoldKind::Exclusive, ResourcePriority::Low);
    Grant grant;
    EXPECT_FALSE(*engine().begin(borrower, r[0], low, overtaking, grant));
    EXPECT_FALSE(*engine().begin_any(borrower, ways, low, group, members, grant));
    EXPECT_FALSE(*engine().begin(other, r[0], high(), overtaken, grant));
    for (auto& [who, wait] : waits()) EXPECT_TRUE(engine().sleep_on(who, wait));
    EXPECT_EQ(deadlocks(), 0u);
  }
  [[nodiscard]] LockEngine& engine() { return domain.engine; }
  void hold(Context& who, Handle handle) { ASSERT_TRUE(engine().acquire(who, handle, trying())); }
  [[nodiscard]] static Request high() {
    return blocking(HoldKind::Exclusive, ResourcePriority::High);
  }
  [[nodiscard]] std::array<std::pair<Context&, Wait&>, 3> waits() {
    return {{{borrower, overtaking}, {borrower, group}, {other, overtaken}}};
  }

  Context& runner = domain.open(0, this_thread());
  Context& borrower = domain.open(0, this_thread());
  Context& other = domain.open(0, this_thread());
  Wait overtaking;
  Wait group;
  std::array<Wait, 2> members;
  Wait overtaken;
};

TEST_F(LoanThatClosesACycle, IsLookedAfterByALenderWhoseTimeIsOver) {
  Context& lender = domain.open(0, this_thread());
  Wait wait;
  Grant grant;
  Request late = timed(0, HoldKind::Exclusive, ResourcePriority::High);
  EXPECT_FALSE(*engine().begin(lender, r[2], late, wait, grant));
  EXPECT_EQ(deadlocks(), 1u) << "I7";
  EXPECT_TRUE(engine().is_decided(group) || engine().is_decided(overtaking));
  EXPECT_FALSE(engine().is_decided(overtaken)) << "of the higher priority";
}

// The lender died right after the loan.
TEST_F(LoanThatClosesACycle, IsLookedForByTheBorrower) {
  store(overtaking.waiter.node->priority, static_cast<std::uint16_t>(ResourcePriority::High));
  engine().look_again(borrower, overtaking);
  EXPECT_EQ(deadlocks(), 1u) << "I7";
}

TEST_F(LoanThatClosesACycle, IsShownToTheBorrowerByWhoRecoversTheLender) {
  store(overtaking.waiter.node->priority, static_cast<std::uint16_t>(ResourcePriority::High));
  Recovery recovery(engine());
  EXPECT_EQ(recovery.run(domain.tables().slot_count).pending, 0u);
  EXPECT_FALSE(NodeWord{load(overtaking.waiter.node->word)}.asleep());
  EXPECT_TRUE(NodeWord{load(overtaken.waiter.node->word)}.asleep()) << "nobody lent him anything";
  (void)engine().sleep_on(borrower, overtaking);
  EXPECT_EQ(deadlocks(), 1u) << "I7";
}

// I8. The walk has seen that `one` waits for `other`, and is about to look for whom `other` waits,
// when that one lets go, and only then begins to wait for what `one` has. Each edge was there when
// it was looked at; the second pass finds that they were not there together.
TEST_F(Deadlock, EdgesThatWereNeverThereTogetherAreNoCycle) {
  Context& one = domain.open();
  Context* other = &domain.open();
  while (AtFirstTouch::page_of(other->record) <= AtFirstTouch::page_of(one.record + 1)) {
    other = &domain.open();
  }
  const Handle wanted = domain.arm(10);
  const Handle had = domain.arm(11);
  (void)put_wait(domain, one, wanted);
  rm_node& wait = put_wait(domain, *other, had);
  store(domain.slot(had).word, StateWord::free(1).with_owner(one.id).bits);
  store(domain.slot(wanted).word, StateWord::free(1).with_owner(other->id).bits);
  EXPECT_TRUE(domain.engine.graph().find_cycle(one.scratch, one.id)) << "if both are there";

  const std::uint64_t waiting = load(wait.word);
  store(wait.word, (waiting & ~std::uint64_t{0xff}) | RM_NODE_IDLE);
  bool moved = false;
  const AtFirstTouch touch(&other->record->waits_seq, [&] {
    store(domain.slot(wanted).word, StateWord::free(1).bits);
    store(wait.word, waiting);
    moved = true;
  });
  EXPECT_FALSE(domain.engine.graph().find_cycle(one.scratch, one.id));
  EXPECT_TRUE(moved);
}

// The short way along an edge takes a queue for the waiter's own only if his link is the one there
// is, not if those of two others look like it together.
TEST_F(Deadlock, TwoOthersInTheQueueAreNotTakenForOneself) {
  const Handle wanted = domain.arm(10);
  const Handle had = domain.arm(11);
  Context& one = domain.open();
  Context& two = domain.open();
  Context& three = domain.open();
  const rm_node& first = put_wait(domain, one, wanted);
  const rm_node& second = put_wait(domain, two, wanted);
  rm_node& own = put_wait(domain, three, wanted);
  const LockTables& t = domain.tables();
  ASSERT_EQ(t.link_of(&own), t.link_of(&first) | t.link_of(&second));
  store(own.ticket, std::uint64_t{9});
  // Three, not queued yet, comes behind one, who waits for what three has, too.
  store(domain.slot(wanted).queue_head_link, t.link_of(&first));
  store(domain.slot(wanted).inbox_link, t.link_of(&second));
  store(domain.slot(wanted).word, StateWord::free(1).with_owner(domain.open().id).bits);
  store(domain.slot(had).word, StateWord::free(1).with_owner(three.id).bits);
  rm_node& other = put_wait(domain, one, had);
  store(other.context_next_link, t.link_of(&first));
  EXPECT_TRUE(domain.engine.graph().find_cycle(one.scratch, one.id));
}

TEST(ChooseVictim, LowestPriorityThenYoungestAndEmergenciesLast) {
  const auto member = [](std::uint16_t priority, std::uint64_t ticket, bool is_emergency) {
    WaitGraph::Member made;
    made.waiter.base_priority = priority;
    made.waiter.rank.ticket = ticket;
    made.waiter.emergency = is_emergency;
    return made;
  };
  const WaitGraph::Member low = member(1, 1, false);
  const WaitGraph::Member old = member(2, 1, false);
  const WaitGraph::Member young = member(2, 9, false);
  const WaitGraph::Member urgent = member(kEmergencyRank, 99, true);
  const WaitGraph::Member urgent_low = member(0, 100, true);
  const auto victim = [](std::vector<WaitGraph::Member> cycle) {
    return cycle[WaitGraph::choose_victim(cycle)].waiter.rank.ticket;
  };
  EXPECT_EQ(victim({old, young}), 9u);
  EXPECT_EQ(victim({young, old}), 9u);
  EXPECT_EQ(victim({young, low, old}), 1u);
  EXPECT_EQ(victim({urgent, young}), 9u);
  EXPECT_EQ(victim({urgent_low, young, old}), 9u);
  EXPECT_EQ(victim({urgent, member(kEmergencyRank, 98, true)}), 99u);
}

}  // namespace
}  // namespace resmgr::lock::test
