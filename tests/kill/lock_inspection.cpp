// SPDX-License-Identifier: Apache-2.0
#include "tests/kill/lock_inspection.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/queue.hpp"
#include "resmgr/lock/word.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {

rm_node& queue_up(const LockTables& tables, Context& who, Handle handle, std::uint8_t mode,
                  std::uint64_t ticket) {
  rm_node& node = *NodePool(tables).take(who);
  rm_slot& slot = *tables.slot(handle.slot());
  const CellPool cells(tables);
  rm_cell* cell =
      mode == RM_WAIT_EXCLUSIVE ? nullptr : cells.park(who, slot, handle.slot(), 1).cell;
  store(node.slot, handle.slot());
  store(node.generation, handle.generation());
  store(node.ticket, ticket);
  constexpr auto kNormal = static_cast<std::uint16_t>(ResourcePriority::Normal);
  store(node.priority, kNormal);
  store(node.base_priority, kNormal);
  store(node.context, who.id);
  store(node.mode, mode);
  store(node.cell_link, cell ? tables.link_of(cell) : 0u);
  store(node.context_next_link, load(who.record->wait_link));
  store(who.record->wait_link, tables.link_of(&node));
  store(node.word,
        (NodeWord{load(node.word)}.sequence() + 1) << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING);
  WaitQueue(tables, slot, handle.slot(), handle.generation()).push(node);
  store(slot.word, StateWord{load(slot.word)}.with(RM_WORD_WAITERS).bits);
  return node;
}

bool LockInspection::is_dead(std::uint32_t context) const {
  return std::ranges::find(dead_, context) != dead_.end();
}

void LockInspection::word_is_settled(Handle handle) const {
  rm_slot& slot = *t_.slot(handle.slot());
  const StateWord word{load(slot.word)};
  EXPECT_EQ(word.latch(), 0) << "I3";
  EXPECT_FALSE(word.has_any(RM_WORD_WORK | RM_WORD_GRANTING)) << "I3";
  EXPECT_FALSE(is_dead(word.owner())) << "I4";
  std::uint32_t shared = 0;
  CellPool(t_).for_each(slot, handle.generation(), [&](const rm_cell&, CellWord cell) {
    EXPECT_FALSE(is_dead(cell.context())) << "I4";
    EXPECT_NE(cell.state(), unsigned{RM_CELL_OFFERED});
    // The owner's own is of his upgrade: only he clears it.
    if (cell.in_use() && cell.context() != word.owner()) ++shared;
    return true;
  });
  if (word.owner() != 0) {
    EXPECT_EQ(shared, 0u) << "I1";
  }
  if (shared != 0) {
    EXPECT_TRUE(word.has(RM_WORD_SHARED)) << "I2";
  }
  EXPECT_EQ(load(slot.queue_seq) & 1u, 0u) << "lists are not being edited";
}

void LockInspection::wait_is_served_or_blocked(const rm_node& node) const {
  if ((load(node.flags) & RM_NODE_FLAG_GROUP) != 0) return;  // its members are looked at
  const unsigned state = state_of(t_, node, NodeWord{load(node.word)});
  const StateWord held{load(t_.slot(load(node.slot))->word)};
  if (state == RM_NODE_WAITING) {
    EXPECT_TRUE(held.owner() != 0 || held.has_any(RM_WORD_SHARED | RM_WORD_QUARANTINED))
        << "I6: nobody serves it";
    EXPECT_TRUE(held.has(RM_WORD_WAITERS)) << "I6: nobody will serve it";
    return;
  }
  // Another of its group was granted.
  if (load(node.group) != 0 && state == RM_NODE_CANCELLED) return;
  EXPECT_EQ(state, unsigned{RM_NODE_GRANTED}) << "I6";
  if (load(node.wake_target) != 0) {
    const std::uint32_t index = t_.link_of(&node) - 1;
    EXPECT_NE(load(t_.nodes_ready[index / 64]) >> index % 64 & 1, 0u) << "R4: its ring is not told";
  }
  if (load(node.mode) != RM_WAIT_SHARED) {
    EXPECT_EQ(held.owner(), load(node.context)) << "I2";
  }
}

void LockInspection::nothing_is_lost(std::size_t waits) const {
  EXPECT_EQ(taken_nodes(), waits) << "nodes are lost";
  Census census;
  count_cells(t_, census);
  EXPECT_EQ(census.cells_lost, 0u) << "cells are lost";
}

std::size_t LockInspection::taken_nodes() const {
  const TakenBits bits = NodePool(t_).bits();
  std::size_t taken = 0;
  for (std::uint32_t i = 0; i < bits.high_water(); ++i) {
    EXPECT_EQ(bits.is_taken(i), load(t_.nodes[i].refs) != 0);
    EXPECT_FALSE(NodeWord{load(t_.nodes[i].word)}.waiting() && is_dead(load(t_.nodes[i].context)))
        << "the dead wait";
    if (bits.is_taken(i)) ++taken;
  }
  return taken;
}

}  // namespace resmgr::lock::test
