// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/pools.hpp"

#include "resmgr/base/atomic.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {
namespace {

// A free list: tag:32 | link:32. The tag changes with every operation, so that a head that came
// back to an old link is not mistaken for an unchanged one.
constexpr std::uint64_t next_head(std::uint64_t head, std::uint32_t link) noexcept {
  return ((head >> 32) + 1) << 32 | link;
}

constexpr std::uint32_t kCellRefs = RM_CELL_REF_OWNED | RM_CELL_REF_LINKED;

template <typename Entry, typename Lookup>
Entry* pop(std::uint64_t& head_field, Lookup&& lookup) noexcept {
  std::uint64_t head = load(head_field);
  for (;;) {
    Entry* entry = lookup(static_cast<std::uint32_t>(head));
    if (!entry) return nullptr;
    if (cas(head_field, head, next_head(head, load_relaxed(entry->next_link)))) return entry;
  }
}

template <typename Entry>
void push(std::uint64_t& head_field, Entry& entry, std::uint32_t link) noexcept {
  std::uint64_t head = load(head_field);
  do {
    store_relaxed(entry.next_link, static_cast<std::uint32_t>(head));
  } while (!cas(head_field, head, next_head(head, link)));
}

// Index of a never used entry, or `count` when there is none. The mark stops at the capacity.
std::uint32_t take_fresh(std::uint32_t& high_water, std::uint32_t count) noexcept {
  std::uint32_t next = load(high_water);
  while (next < count && !cas(high_water, next, next + 1)) {
  }
  return next < count ? next : count;
}

}  // namespace

rm_node* NodePool::take(Context& context) const noexcept {
  rm_node* node = t_.node(context.spare_node_link);
  context.spare_node_link = 0;
  if (!node) {
    node = pop<rm_node>(t_.region->free_nodes, [&](std::uint32_t link) { return t_.node(link); });
  }
  if (!node) {
    const std::uint32_t fresh = take_fresh(t_.region->node_high_water, t_.node_count);
    if (fresh == t_.node_count) return nullptr;
    node = t_.nodes + fresh;
  }
  return node;
}

void NodePool::leave(Context& context, rm_node& node) const noexcept {
  const std::uint32_t before = atomic(node.refs).fetch_and(~RM_NODE_REF_OWNER);
  // The latch holder frees it when he unlinks it.
  if ((before & RM_NODE_REF_LINKED) != 0 && !planted::kReuseLinkedNode) return;
  if (context.spare_node_link == 0) {
    context.spare_node_link = t_.link_of(&node);
  } else {
    free(node);
  }
}

void NodePool::unlinked(rm_node& node) const noexcept {
  constexpr std::uint32_t kLists = RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED;
  const std::uint32_t before = atomic(node.refs).fetch_and(~kLists);
  // A node that was not marked as linked is garbage written by a peer; freeing it might free it
  // twice.
  if ((before & ~RM_NODE_REF_QUEUED) == RM_NODE_REF_LINKED) free(node);
}

void NodePool::give_back_spare(Context& context) const noexcept {
  if (rm_node* node = t_.node(context.spare_node_link)) free(*node);
  context.spare_node_link = 0;
}

void NodePool::free(rm_node& node) const noexcept {
  push(t_.region->free_nodes, node, t_.link_of(&node));
}

rm_cell* CellPool::parked(const Context& context, std::uint32_t slot_index,
                          std::uint32_t generation) const noexcept {
  const Context::Parked& entry = context.parked[slot_index % Context::kParked];
  if (!entry.cell || entry.slot != slot_index) return nullptr;
  const CellWord word{load_relaxed(entry.cell->word)};
  return word.generation() == generation && word.context() == context.id ? entry.cell : nullptr;
}

rm_cell* CellPool::park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                        std::uint32_t generation) const noexcept {
  if (rm_cell* cell = parked(context, slot_index, generation)) return cell;
  if (rm_cell* held = find_in_use(slot, generation, context.id)) return held;

  // A cell that somebody left behind in this chain serves as well as a new one.
  rm_cell* mine = nullptr;
  std::uint32_t link = load(slot.cell_link);
  for (std::uint32_t steps = 0; steps < t_.cell_count && !mine; ++steps) {
    rm_cell* cell = t_.cell(link);
    if (!cell) break;
    link = load_relaxed(cell->next_link);
    if (claim(*cell, slot_index)) mine = cell;
  }
  const auto begin_parking = [&] {
    const auto next = static_cast<std::uint16_t>(CellWord{load_relaxed(mine->word)}.parking() + 1);
    store(mine->word, CellWord::make(generation, context.id, next, RM_CELL_FREE).bits);
  };
  if (mine) {
    begin_parking();
  } else {
    mine = take();
    if (!mine) return nullptr;
    store_relaxed(mine->slot, slot_index);
    store_relaxed(mine->acquisitions, 0);
    store_relaxed(mine->hold_index, 0);
    store_relaxed(mine->flags, kCellRefs);
    begin_parking();
    // Pushed, and taken out with the whole chain alone, so readers need no protection.
    std::uint32_t head = load(slot.cell_link);
    do {
      store_relaxed(mine->next_link, head);
    } while (!cas(slot.cell_link, head, t_.link_of(mine)));
  }

  // Kept for the next hold, unless the place in the cache belongs to a cell that is in use.
  Context::Parked& entry = context.parked[slot_index % Context::kParked];
  rm_cell* evicted = entry.cell;
  const CellWord old{evicted ? load(evicted->word) : 0};
  const bool ours = evicted && old.context() == context.id;
  if (ours && old.in_use()) {
    atomic(mine->flags).fetch_or(RM_CELL_FLAG_TEMPORARY);
    return mine;
  }
  if (ours) abandon(*evicted);
  entry = {slot_index, mine};
  return mine;
}

// Takes a cell that no context has and that is still in the slot's chain.
bool CellPool::claim(rm_cell& cell, std::uint32_t slot_index) const noexcept {
  std::uint32_t ownerless = RM_CELL_REF_LINKED;
  if (load_relaxed(cell.flags) != ownerless || !cas(cell.flags, ownerless, kCellRefs)) return false;
  // The resource may have gone during the walk, and the cell stand in the chain of another by now.
  if (load(cell.slot) == slot_index) return true;
  abandon(cell);
  return false;
}

rm_cell* CellPool::find_in_use(const rm_slot& slot, std::uint32_t generation,
                               std::uint16_t context) const noexcept {
  rm_cell* found = nullptr;
  for_each(slot, generation, [&](rm_cell& cell, CellWord word) {
    if (word.context() == context && word.in_use()) found = &cell;
    return found == nullptr;
  });
  return found;
}

bool CellPool::vacate(rm_cell& cell) const noexcept {
  std::uint64_t word = load_relaxed(cell.word);
  if (!CellWord{word}.in_use()) return false;
  const bool temporary = (load_relaxed(cell.flags) & RM_CELL_FLAG_TEMPORARY) != 0;
  // seq_cst: the caller looks at the state word next, while a latch holder who still saw this hold
  // wrote the word before he looked at the cells: one of them sees the other.
  if (!cas(cell.word, word, CellWord{word}.to(RM_CELL_FREE).bits)) return false;
  if (temporary) abandon(cell);
  return true;
}

void CellPool::drop_unused(rm_cell& cell) const noexcept {
  if ((load_relaxed(cell.flags) & RM_CELL_FLAG_TEMPORARY) != 0) abandon(cell);
}

// The word first: once the reference is gone, the cell may be in other hands. A latch holder who
// just made an offer of it, to a waiter who left, finds his offer gone.
void CellPool::abandon(rm_cell& cell) const noexcept {
  const CellWord word{load(cell.word)};
  store(cell.word, CellWord::make(word.generation(), 0, word.parking(), RM_CELL_FREE).bits);
  const std::uint32_t before =
      atomic(cell.flags).fetch_and(~(RM_CELL_REF_OWNED | RM_CELL_FLAG_TEMPORARY));
  if ((before & kCellRefs) == RM_CELL_REF_OWNED || planted::kFreeLinkedCell) free(cell);
}

void CellPool::unpark_all(Context& context) const noexcept {
  for (Context::Parked& entry : context.parked) {
    rm_cell* cell = entry.cell;
    if (!cell) continue;
    const CellWord word{load(cell->word)};
    // An offer is none any more: a context that ends waits for nothing.
    if (word.context() == context.id && word.state() != RM_CELL_HELD) abandon(*cell);
    entry = {};
  }
}

void CellPool::retire_chain(rm_slot& slot) const noexcept {
  std::uint32_t link = atomic(slot.cell_link).exchange(0);
  for (std::uint32_t steps = 0; steps < t_.cell_count; ++steps) {
    rm_cell* cell = t_.cell(link);
    if (!cell) return;
    // Read while the cell is certainly ours: without the reference it may be in a free list.
    link = load_relaxed(cell->next_link);
    const std::uint32_t before = atomic(cell->flags).fetch_and(~RM_CELL_REF_LINKED);
    if ((before & kCellRefs) == RM_CELL_REF_LINKED) free(*cell);
  }
}

rm_cell* CellPool::take() const noexcept {
  rm_cell* cell =
      pop<rm_cell>(t_.region->free_cells, [&](std::uint32_t link) { return t_.cell(link); });
  if (cell) return cell;
  const std::uint32_t fresh = take_fresh(t_.region->cell_high_water, t_.cell_count);
  return fresh == t_.cell_count ? nullptr : t_.cells + fresh;
}

void CellPool::free(rm_cell& cell) const noexcept {
  push(t_.region->free_cells, cell, t_.link_of(&cell));
}

}  // namespace resmgr::lock
