// SPDX-License-Identifier: Apache-2.0
//
// WaitQueue: the waiters of one resource, best first.
//
// What it is: two linked lists over wait nodes. Waiters push themselves into an inbox by
// compare-and-swap; whoever has the resource's latch moves them into the queue, which is sorted by
// (upgrades, priority, ticket), and takes them out. What it is not: the truth. A node whose word
// says WAITING waits, whether or not a list shows it (I2); a list lost with a killed latch holder
// is rebuilt from the nodes.
//
// Thread-safety: push() from any thread; edits by the latch holder alone; snapshots by anyone. The
// slot's queue_seq is odd while the holder edits: readers retry, and when he is stopped in the
// middle, look at all nodes instead.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/lock/node_index.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/tables.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::lock {

/// What decides the order of two waiters of one resource; greater is served first.
struct QueueRank {
  bool upgrade = false;  ///< first of all: nothing exclusive can be granted before it
  std::uint16_t priority = 0;
  std::uint64_t ticket = 0;

  [[nodiscard]] constexpr bool before(const QueueRank& other) const noexcept {
    if (upgrade != other.upgrade) return upgrade;
    if (priority != other.priority) return priority > other.priority;
    return ticket < other.ticket;
  }
};

/// A waiter as read from its node: consistent, for the sequence number was the same before and
/// after.
struct Waiter {
  rm_node* node = nullptr;
  NodeWord word;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  std::uint16_t context = 0;
  std::uint16_t base_priority = 0;
  std::uint8_t mode = RM_WAIT_EXCLUSIVE;
  bool emergency = false;
  QueueRank rank;
  std::uint64_t enqueued_at = 0;
  std::uint32_t cell_link = 0;
  std::uint32_t group = 0;  ///< link of the group's node; 0: it waits for this alone
  NodeWord group_word{};    ///< what that said
};

/// What a node says: that it is WAITING counts no more than what its group says, if it is one of a
/// group. What was read may be old by now, but belongs together as long as `word` is what the node
/// says.
[[nodiscard]] inline unsigned state_of(const LockTables& tables, const rm_node& node,
                                       NodeWord word) noexcept {
  const std::uint32_t group = word.waiting() ? load_acquire(node.group) : 0;
  if (group == 0) return word.state();
  const rm_node* const whole = tables.node(group);
  const NodeWord said{whole ? load_acquire(whole->word) : 0};
  if (said.waiting()) return RM_NODE_WAITING;
  return said.grants(tables.link_of(&node)) ? RM_NODE_GRANTED : RM_NODE_CANCELLED;
}

/// Reads a node that says WAITING. False if it doesn't, or its group does not any more, or it
/// changed while it was read, or stands for a group itself.
[[nodiscard]] inline bool read_waiter(const LockTables& tables, rm_node& node,
                                      Waiter& out) noexcept {
  const NodeWord word{load(node.word)};
  if (!word.waiting()) return false;
  out.node = &node;
  out.word = word;
  out.slot = load_acquire(node.slot);
  out.generation = load_acquire(node.generation);
  out.context = load_acquire(node.context);
  out.base_priority = load_acquire(node.base_priority);
  out.mode = load_acquire(node.mode);
  const unsigned flags = load_acquire(node.flags);
  if ((flags & RM_NODE_FLAG_GROUP) != 0) return false;
  out.emergency = (flags & RM_NODE_FLAG_EMERGENCY) != 0;
  out.rank = {out.mode == RM_WAIT_UPGRADE, load_acquire(node.priority), load_acquire(node.ticket)};
  out.enqueued_at = load_acquire(node.enqueued_at);
  out.cell_link = load_acquire(node.cell_link);
  out.group = load_acquire(node.group);
  if (out.group != 0) {
    const rm_node* const whole = tables.node(out.group);
    if (!whole) return false;
    out.group_word = NodeWord{load_acquire(whole->word)};
    if (!out.group_word.waiting()) return false;
  }
  // The fields are written before the word says WAITING with this sequence number, and not again
  // before the number changes: the same number afterwards means they belong together. Acquire loads
  // keep the reads between the two of the word without a fence.
  const NodeWord again{load_relaxed(node.word)};
  return again.waiting() && again.sequence() == word.sequence();
}

/// Two requests that can't be granted at once.
[[nodiscard]] constexpr bool conflicts(std::uint8_t a, std::uint8_t b) noexcept {
  return a != RM_WAIT_SHARED || b != RM_WAIT_SHARED;
}

class WaitQueue {
 public:
  WaitQueue(const LockTables& tables, rm_slot& slot, std::uint32_t slot_index,
            std::uint32_t generation) noexcept
      : t_(tables), slot_(slot), slot_index_(slot_index), generation_(generation) {}

  /// Makes a WAITING node visible to the latch holder and to walkers. Returns whether it is the
  /// only one that is to be sorted in.
  bool push(rm_node& node) const noexcept;

  // ---- for the latch holder ---------------------------------------------------------------------

  /// Moves the inbox into the queue, takes out what is decided, and restores the order if a
  /// priority was raised. Returns how many requests were new. The work is that of sorting the new
  /// ones, and of one walk along the queue at most, whatever a peer wrote there.
  unsigned settle() const noexcept;
  /// The best waiter, or false if none waits. Call settle() before.
  [[nodiscard]] bool front(Waiter& out) const noexcept;
  /// A waiter whose place is sought.
  struct Ranked {
    QueueRank rank;
    rm_node* node = nullptr;
  };
  /// Makes the queue anew from the nodes, as after the death of a latch holder: what is linked is
  /// in it if it waits, and free of it otherwise. `known`: the nodes of this slot, as long as
  /// nobody else had the latch; those that came since are in the lists. `room`: as much as there
  /// are nodes, so that nothing is allocated. The work is that of the nodes and of sorting them.
  void rebuild(std::span<const NodeIndex::Entry> known, std::vector<Ranked>& room) const noexcept;
  /// Takes the node out of the queue.
  void unlink(rm_node& node) const noexcept;
  /// Whether any node is linked.
  [[nodiscard]] bool any() const noexcept;

  // ---- for walkers ------------------------------------------------------------------------------

  /// Calls `visit(const Waiter&)` for each waiter of this resource, in no order, each perhaps more
  /// than once; stops when it returns false. A waiter whose node was published before the call, and
  /// waits until it returns, is visited.
  template <typename Visit>
  void for_each(Visit&& visit) const noexcept {
    for_each(visit, [] {}, nullptr);
  }
  /// The same without the one who waits with `own`, whose node is not even read: walkers have just
  /// done that. Should it be in other hands by now, then the wait they follow is over.
  template <typename Visit>
  void for_each_beside(const rm_node* own, Visit&& visit) const noexcept {
    for_each(visit, [] {}, own);
  }
  /// The same for those who collect: `restart()` comes before each attempt, and what was visited
  /// before it doesn't count.
  template <typename Visit, typename Restart>
  void for_each(Visit&& visit, Restart&& restart, const rm_node* own) const noexcept {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      restart();
      const std::uint32_t before = load(slot_.queue_seq);
      if ((before & 1u) != 0) {
        relax();
        continue;
      }
      if (!visit_list(load(slot_.queue_head_link), visit, own)) return;
      if (!visit_list(load(slot_.inbox_link), visit, own)) return;
      if (load(slot_.queue_seq) == before) return;
    }
    restart();
    visit_all_nodes(visit);
  }
  /// How many wait.
  [[nodiscard]] std::uint32_t count() const noexcept {
    std::uint32_t found = 0;
    for_each(
        [&](const Waiter&) {
          ++found;
          return true;
        },
        [&] { found = 0; }, nullptr);
    return found;
  }

 private:
  static constexpr int kAttempts = 16;
  static void relax() noexcept;

  [[nodiscard]] bool ours(const Waiter& waiter) const noexcept {
    return waiter.slot == slot_index_ && waiter.generation == generation_;
  }
  template <typename Visit>
  bool visit_list(std::uint32_t link, Visit& visit, const rm_node* own) const noexcept {
    for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
      rm_node* node = t_.node(link);
      if (!node) return true;
      Waiter waiter;
      if (node != own && read_waiter(t_, *node, waiter) && ours(waiter) && !visit(waiter)) {
        return false;
      }
      link = load_acquire(node->next_link);
    }
    return true;
  }
  template <typename Visit>
  void visit_all_nodes(Visit& visit) const noexcept {
    const std::uint32_t mark = load(t_.region->nodes.high_water);
    for (std::uint32_t i = 0; i < mark && i < t_.node_count; ++i) {
      Waiter waiter;
      if (read_waiter(t_, t_.nodes[i], waiter) && ours(waiter) && !visit(waiter)) return;
    }
  }
  class Edit;
  /// Nodes that are linked one to the next.
  struct Run {
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
    std::uint32_t count = 0;
  };
  class Sorter;
  [[nodiscard]] std::uint32_t take_inbox() const noexcept;
  void merge(const Run& run) const noexcept;
  void collect(rm_node& node, std::vector<Ranked>& room) const noexcept;
  template <typename Visit>
  void walk(std::uint32_t link, std::uint32_t end, Visit&& visit) const noexcept;
  void drop_decided() const noexcept;

  const LockTables& t_;
  rm_slot& slot_;
  std::uint32_t slot_index_;
  std::uint32_t generation_;
};

}  // namespace resmgr::lock
