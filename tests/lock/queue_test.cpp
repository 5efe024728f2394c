// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/queue.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class WaitQueueTest : public ::testing::Test {
 protected:
  struct Wish {
    std::uint64_t ticket = 0;
    std::uint16_t priority = 2;
    std::uint8_t mode = RM_WAIT_EXCLUSIVE;
    std::uint16_t context = 1;
  };
  /// Publishes a waiter and pushes him.
  rm_node& push(const Wish& wish) {
    rm_node& node = *pool.take(context);
    context.spare_node_link = 0;
    store(node.slot, handle.slot());
    store(node.generation, handle.generation());
    store(node.ticket, wish.ticket);
    store(node.priority, wish.priority);
    store(node.base_priority, wish.priority);
    store(node.mode, wish.mode);
    store(node.context, wish.context);
    const NodeWord before{load(node.word)};
    store(node.word, (before.sequence() + 1) << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);
    queue.push(node);
    return node;
  }
  /// The references of a node that its owner has, and no list.
  [[nodiscard]] std::uint32_t owned() const { return references_of(context.id, RM_NODE_REF_OWNER); }
  static void decide(rm_node& node, unsigned state = RM_NODE_TIMED_OUT) {
    store(node.word, NodeWord{load(node.word)}.to(state).bits);
  }
  void raise(rm_node& node, std::uint16_t priority) {
    store(node.priority, priority);
    atomic(domain.slot(handle).attributes).fetch_or(RM_SLOT_ATTR_RESORT);
  }
  /// Takes out what is in front, until nothing is left; the tickets.
  std::vector<std::uint64_t> drain() {
    std::vector<std::uint64_t> tickets;
    Waiter best;
    while (queue.front(best)) {
      tickets.push_back(best.rank.ticket);
      queue.unlink(*best.node);
    }
    return tickets;
  }
  [[nodiscard]] std::uint32_t linked() const {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < kSmall.nodes; ++i) {
      if ((load(domain.tables().nodes[i].refs) & RM_NODE_REF_LINKED) != 0) ++count;
    }
    return count;
  }

  Domain domain;
  Handle handle = domain.arm(1);
  Context& context = domain.open(0, this_thread());
  NodePool pool{domain.tables()};
  WaitQueue queue{domain.tables(), domain.slot(handle), handle.slot(), handle.generation()};
};

using Tickets = std::vector<std::uint64_t>;

TEST_F(WaitQueueTest, StartsEmpty) {
  Waiter best;
  EXPECT_FALSE(queue.any());
  EXPECT_FALSE(queue.front(best));
  EXPECT_EQ(queue.settle(), 0u);
  EXPECT_EQ(queue.count(), 0u);
}

TEST_F(WaitQueueTest, ServesOnePriorityInTheOrderOfTickets) {
  for (const std::uint64_t ticket : {3u, 1u, 2u}) push({.ticket = ticket});
  EXPECT_TRUE(queue.any());
  EXPECT_EQ(queue.count(), 3u) << "the inbox counts";
  EXPECT_EQ(queue.settle(), 3u);
  push({.ticket = 0});
  EXPECT_EQ(queue.settle(), 1u);
  EXPECT_EQ(queue.count(), 4u);
  EXPECT_EQ(drain(), (Tickets{0, 1, 2, 3}));
  EXPECT_FALSE(queue.any());
}

// What a repair goes by: marked before the inbox is taken, and only then.
TEST_F(WaitQueueTest, WhatLeftTheInboxIsMarked) {
  const auto marked = [](const rm_node& node) {
    return (load(node.refs) & RM_NODE_REF_QUEUED) != 0;
  };
  rm_node& first = push({.ticket = 1});
  const rm_node& second = push({.ticket = 2});
  EXPECT_FALSE(marked(first));
  EXPECT_FALSE(marked(second));
  EXPECT_EQ(queue.settle(), 2u);
  const rm_node& third = push({.ticket = 3});
  EXPECT_TRUE(marked(first));
  EXPECT_TRUE(marked(second));
  EXPECT_FALSE(marked(third));
  queue.unlink(first);
  EXPECT_FALSE(marked(first)) << "in no list any more";
}

TEST_F(WaitQueueTest, OrdersByUpgradeThenPriorityThenTicket) {
  push({.ticket = 1, .priority = 1});
  push({.ticket = 2, .priority = 3});
  push({.ticket = 3, .priority = 0, .mode = RM_WAIT_UPGRADE});
  push({.ticket = 4, .priority = 3});
  push({.ticket = 5, .priority = kEmergencyRank});
  push({.ticket = 6, .priority = 1, .mode = RM_WAIT_SHARED});
  push({.ticket = 7, .priority = 2, .mode = RM_WAIT_UPGRADE});
  (void)queue.settle();
  EXPECT_EQ(drain(), (Tickets{7, 3, 5, 2, 4, 1, 6}));
}

TEST_F(WaitQueueTest, RankIsAStrictOrder) {
  const QueueRank upgrade{true, 0, 9};
  const QueueRank high{false, 3, 9};
  const QueueRank early{false, 2, 1};
  const QueueRank late{false, 2, 2};
  const QueueRank order[] = {upgrade, high, early, late};
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) EXPECT_EQ(order[i].before(order[j]), i < j) << i << j;
  }
}

TEST_F(WaitQueueTest, SharedRequestsDoNotConflict) {
  EXPECT_FALSE(conflicts(RM_WAIT_SHARED, RM_WAIT_SHARED));
  for (const std::uint8_t mode : {RM_WAIT_EXCLUSIVE, RM_WAIT_UPGRADE}) {
    EXPECT_TRUE(conflicts(mode, RM_WAIT_SHARED));
    EXPECT_TRUE(conflicts(RM_WAIT_SHARED, mode));
    EXPECT_TRUE(conflicts(mode, mode));
  }
}

TEST_F(WaitQueueTest, ARaisedPriorityMovesUp) {
  push({.ticket = 1});
  push({.ticket = 2});
  rm_node& third = push({.ticket = 3});
  (void)queue.settle();
  raise(third, 4);
  push({.ticket = 4, .priority = 3});
  EXPECT_EQ(queue.settle(), 1u) << "sorted anew is not new";
  EXPECT_EQ(load(domain.slot(handle).attributes) & RM_SLOT_ATTR_RESORT, 0);
  EXPECT_EQ(drain(), (Tickets{3, 4, 1, 2}));
}

TEST_F(WaitQueueTest, DecidedNodesAreDropped) {
  rm_node& first = push({.ticket = 1});
  rm_node& second = push({.ticket = 2});
  rm_node& third = push({.ticket = 3});
  rm_node& fourth = push({.ticket = 4});
  decide(second);
  (void)queue.settle();
  EXPECT_EQ(load(second.refs), owned()) << "decided in the inbox";
  decide(first);
  (void)queue.settle();
  EXPECT_EQ(load(first.refs), owned()) << "decided at the front";
  decide(fourth);
  (void)queue.settle();
  raise(third, 3);
  (void)queue.settle();
  EXPECT_EQ(load(fourth.refs), owned()) << "swept when sorted anew";
  EXPECT_EQ(drain(), Tickets{3});
  EXPECT_EQ(linked(), 0u);
}

TEST_F(WaitQueueTest, WhoComesBehindADecidedTailIsNotLost) {
  push({.ticket = 1});
  rm_node& tail = push({.ticket = 2});
  (void)queue.settle();
  decide(tail);
  push({.ticket = 3});
  push({.ticket = 0});
  (void)queue.settle();
  EXPECT_EQ(drain(), (Tickets{0, 1, 3}));
  EXPECT_EQ(linked(), 0u);
}

TEST_F(WaitQueueTest, UnlinksFromTheMiddleAndTheEnd) {
  push({.ticket = 1});
  rm_node& second = push({.ticket = 2});
  rm_node& third = push({.ticket = 3});
  (void)queue.settle();
  queue.unlink(second);
  queue.unlink(third);
  push({.ticket = 4});
  (void)queue.settle();
  EXPECT_EQ(drain(), (Tickets{1, 4}));
  queue.unlink(second);
  EXPECT_EQ(load(second.refs), owned()) << "what is not in the list stays as it is";
}

TEST_F(WaitQueueTest, TheDeadAreNotServed) {
  rm_context& dead = *domain.tables().context(9);
  store(dead.state, RM_CONTEXT_DEAD);
  push({.ticket = 1, .context = 9});
  push({.ticket = 2});
  (void)queue.settle();
  EXPECT_EQ(drain(), Tickets{2});
}

// In whatever order they came, and however many at once.
TEST_F(WaitQueueTest, KeepsTheOrderOfAnyArrivals) {
  std::mt19937_64 random(seed_from_environment());
  for (int round = 0; round < 200; ++round) {
    std::map<std::pair<int, std::uint64_t>, std::uint64_t> expected;
    std::vector<rm_node*> nodes;
    std::uint64_t ticket = 0;
    for (std::uint64_t batches = 1 + random() % 4; batches != 0; --batches) {
      for (std::uint64_t arrivals = random() % 20; arrivals != 0; --arrivals) {
        const auto priority = static_cast<std::uint16_t>(random() % 8);
        nodes.push_back(&push({.ticket = ++ticket, .priority = priority}));
        expected[{-priority, ticket}] = ticket;
      }
      if (!nodes.empty() && random() % 3 == 0) {
        rm_node& raised = *nodes[random() % nodes.size()];
        expected.erase({-load(raised.priority), load(raised.ticket)});
        raise(raised, 9);
        expected[{-9, load(raised.ticket)}] = load(raised.ticket);
      }
      (void)queue.settle();
    }
    Tickets order;
    for (const auto& [rank, which] : expected) order.push_back(which);
    EXPECT_EQ(queue.count(), order.size());
    ASSERT_EQ(drain(), order) << "round " << round;
    for (rm_node* node : nodes) {
      decide(*node, RM_NODE_IDLE);
      pool.leave(context, *node);
    }
    ASSERT_EQ(load(domain.slot(handle).queue_tail_link), 0u);
  }
}

TEST_F(WaitQueueTest, ListsThatLeadInACircleEnd) {
  rm_node& first = push({.ticket = 1, .priority = 3});
  rm_node& second = push({.ticket = 2, .priority = 1});
  store(first.next_link, domain.tables().link_of(&second));
  (void)queue.settle();
  store(first.next_link, domain.tables().link_of(&second));
  store(second.next_link, domain.tables().link_of(&first));
  push({.ticket = 3, .priority = 2});
  EXPECT_EQ(queue.settle(), 1u);
  Waiter best;
  for (int served = 0; queue.front(best); ++served) {
    ASSERT_LT(served, 3);
    queue.unlink(*best.node);
    decide(*best.node, RM_NODE_GRANTED);
  }
}

TEST_F(WaitQueueTest, NodesOfAnotherTenantAreThrownOut) {
  rm_node& old = push({.ticket = 1});
  store(old.generation, handle.generation() + 1);
  rm_node& elsewhere = push({.ticket = 2});
  store(elsewhere.slot, 5);
  push({.ticket = 3});
  EXPECT_EQ(queue.settle(), 1u);
  EXPECT_EQ(load(old.refs), owned());
  EXPECT_EQ(load(elsewhere.refs), owned());
  EXPECT_EQ(drain(), Tickets{3});
}

TEST_F(WaitQueueTest, ReadWaiterTakesAWholeNodeOrNone) {
  rm_node& node = push({.ticket = 5, .priority = 3, .mode = RM_WAIT_SHARED, .context = 7});
  Waiter waiter;
  ASSERT_TRUE(read_waiter(domain.tables(), node, waiter));
  EXPECT_EQ(waiter.rank.ticket, 5u);
  EXPECT_EQ(waiter.rank.priority, 3);
  EXPECT_EQ(waiter.mode, RM_WAIT_SHARED);
  EXPECT_EQ(waiter.context, 7);
  EXPECT_EQ(waiter.slot, handle.slot());
  decide(node);
  EXPECT_FALSE(read_waiter(domain.tables(), node, waiter));
}

TEST_F(WaitQueueTest, WalkersLookAtAllNodesWhileTheHolderIsStoppedInAnEdit) {
  push({.ticket = 1});
  push({.ticket = 2});
  (void)queue.settle();
  push({.ticket = 3});
  rm_slot& slot = domain.slot(handle);
  store(slot.queue_seq, load(slot.queue_seq) | 1u);
  const std::uint32_t head = load(slot.queue_head_link);
  store(slot.queue_head_link, 0);
  EXPECT_EQ(queue.count(), 3u);
  std::uint32_t visits = 0;
  queue.for_each([&](const Waiter&) { return ++visits < 2; });
  EXPECT_EQ(visits, 2u) << "stops when told to";

  store(slot.queue_head_link, head);
  push({.ticket = 4});
  (void)queue.settle();
  EXPECT_EQ(load(slot.queue_seq) & 1u, 0u) << "the next edit makes it even again";
  EXPECT_EQ(drain(), (Tickets{1, 2, 3, 4}));
}

TEST_F(WaitQueueTest, GarbageLinksEndAWalk) {
  rm_node& only = push({.ticket = 1});
  (void)queue.settle();
  store(only.next_link, 0xfffffff0u);
  EXPECT_EQ(queue.count(), 1u);
  store(only.next_link, domain.tables().link_of(&only));
  EXPECT_EQ(queue.count(), kSmall.nodes) << "a loop is left after as many steps as there are nodes";
  decide(only);
  Waiter best;
  EXPECT_FALSE(queue.front(best));
  push({.ticket = 2});
  (void)queue.settle();
  (void)queue.front(best);
}

// Those who wait throughout are seen by every walk, however often the holder edits the lists.
TEST_F(WaitQueueTest, AWalkMissesNobodyWhileTheListsAreEdited) {
  constexpr std::uint32_t kWaiting = 24;
  std::vector<rm_node*> nodes;
  for (std::uint32_t i = 0; i < kWaiting; ++i) nodes.push_back(&push({.ticket = i}));
  (void)queue.settle();
  std::atomic<bool> stop = false;
  std::atomic<int> edits = 0;
  std::thread holder([&] {
    std::uint64_t ticket = kWaiting;
    for (std::uint16_t turn = 0; !stop; ++turn) {
      raise(*nodes[turn % kWaiting], static_cast<std::uint16_t>(turn % 5));
      rm_node& passing = push({.ticket = ++ticket});
      (void)queue.settle();
      queue.unlink(passing);
      decide(passing);
      pool.leave(context, passing);
      ++edits;
    }
  });
  wait_until([&] { return edits.load() != 0; });
  for (int i = 0; i < 20'000; ++i) {
    std::map<const rm_node*, int> seen;
    queue.for_each([&](const Waiter& waiter) {
      ++seen[waiter.node];
      return true;
    });
    for (const rm_node* node : nodes) {
      if (seen.count(node) == 0) ADD_FAILURE() << "walk " << i << " missed a waiter";
    }
    if (HasFailure()) break;
  }
  stop = true;
  holder.join();
  EXPECT_EQ(queue.count(), kWaiting);
}

}  // namespace
}  // namespace resmgr::lock::test
