// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/pools.hpp"

#include "resmgr/base/atomic.hpp"

namespace resmgr::lock {
namespace {

// A free list: tag:32 | link:32. The tag changes with every operation, so that a head that came back
// to an old link is not mistaken for an unchanged one.
constexpr std::uint64_t next_head(std::uint64_t head, std::uint32_t link) noexcept {
  return ((head >> 32) + 1) << 32 | link;
}

// A cell that is being freed belongs to nobody's context.
constexpr std::uint16_t kFreeing = RM_AUTHORITY_CONTEXT;

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
  if (before & RM_NODE_REF_LINKED) return;  // the latch holder frees it when he unlinks it
  if (context.spare_node_link == 0) {
    context.spare_node_link = t_.link_of(&node);
  } else {
    free(node);
  }
}

void NodePool::unlinked(rm_node& node) const noexcept {
  const std::uint32_t before = atomic(node.refs).fetch_and(~RM_NODE_REF_LINKED);
  // A node that was not marked as linked is garbage written by a peer; freeing it might free it
  // twice.
  if (before == RM_NODE_REF_LINKED) free(node);
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
  if (entry.cell_link == 0 || entry.slot != slot_index) return nullptr;
  rm_cell* cell = t_.cell(entry.cell_link);
  if (!cell) return nullptr;
  const CellWord word{load_relaxed(cell->word)};
  return word.generation() == generation && word.context() == context.id ? cell : nullptr;
}

rm_cell* CellPool::park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                        std::uint32_t generation) const noexcept {
  if (rm_cell* cell = parked(context, slot_index, generation)) return cell;

  // A cell that somebody left behind in this chain serves as well as a new one.
  rm_cell* mine = nullptr;
  for_each(slot, generation, [&](rm_cell& cell, CellWord word) {
    if (word.context() != 0 || word.in_use()) return true;
    std::uint64_t expected = word.bits;
    if (!cas(cell.word, expected, CellWord::make(generation, context.id, RM_CELL_FREE).bits)) {
      return true;
    }
    mine = &cell;
    return false;
  });

  if (!mine) {
    mine = take();
    if (!mine) return nullptr;
    store_relaxed(mine->slot, slot_index);
    store_relaxed(mine->acquisitions, 0);
    store_relaxed(mine->hold_index, 0);
    store(mine->word, CellWord::make(generation, context.id, RM_CELL_FREE).bits);
    // Pushed and never taken out while the resource lives, so readers need no protection.
    std::uint32_t head = load(slot.cell_link);
    do {
      store_relaxed(mine->next_link, head);
    } while (!cas(slot.cell_link, head, t_.link_of(mine)));
  }

  // Kept for the next hold, unless the place in the cache belongs to a cell that is in use.
  Context::Parked& entry = context.parked[slot_index % Context::kParked];
  rm_cell* evicted = t_.cell(entry.cell_link);
  const CellWord old{evicted ? load(evicted->word) : 0};
  const bool busy = evicted && old.context() == context.id && old.in_use();
  store_relaxed(mine->flags, busy ? RM_CELL_FLAG_TEMPORARY : 0u);
  if (!busy) {
    if (evicted && old.context() == context.id) abandon(*evicted, entry.slot, old);
    entry = {slot_index, t_.link_of(mine)};
  }
  return mine;
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

void CellPool::vacate(rm_cell& cell, std::uint32_t slot_index, bool fenced) const noexcept {
  const CellWord word{load_relaxed(cell.word)};
  const CellWord vacant = CellWord::make(word.generation(), word.context(), RM_CELL_FREE);
  const bool temporary = (load_relaxed(cell.flags) & RM_CELL_FLAG_TEMPORARY) != 0;
  if (fenced) {
    // seq_cst: the caller looks at the other cells and the word next, while a latch holder who still
    // saw this hold wrote the word before he looked at the cells: one of them sees the other.
    store(cell.word, vacant.bits);
  } else {
    store_release(cell.word, vacant.bits);
  }
  if (temporary) abandon(cell, slot_index, vacant);
}

void CellPool::abandon(rm_cell& cell, std::uint32_t slot_index, CellWord word) const noexcept {
  std::uint64_t expected = word.bits;
  const CellWord ownerless = CellWord::make(word.generation(), 0, RM_CELL_FREE);
  if (!cas(cell.word, expected, ownerless.bits)) return;
  // The resource may have gone meanwhile, and retire_chain have passed this cell while it was ours.
  // Both sides first write and then look (seq_cst), so one of them sees the other; the next CAS
  // decides who frees it.
  const rm_slot* slot = t_.slot(slot_index);
  if (slot && StateWord{load(slot->word)}.generation() == word.generation()) return;
  expected = ownerless.bits;
  if (cas(cell.word, expected, CellWord::make(0, kFreeing, RM_CELL_FREE).bits)) free(cell);
}

void CellPool::unpark_all(Context& context) const noexcept {
  for (Context::Parked& entry : context.parked) {
    rm_cell* cell = t_.cell(entry.cell_link);
    if (!cell) continue;
    const CellWord word{load(cell->word)};
    if (word.context() == context.id && !word.in_use()) abandon(*cell, entry.slot, word);
    entry = {};
  }
}

void CellPool::retire_chain(rm_slot& slot) const noexcept {
  std::uint32_t link = atomic(slot.cell_link).exchange(0);
  for (std::uint32_t steps = 0; steps < t_.cell_count; ++steps) {
    rm_cell* cell = t_.cell(link);
    if (!cell) return;
    link = load_relaxed(cell->next_link);
    std::uint64_t word = load(cell->word);
    if (CellWord{word}.context() == 0 &&
        cas(cell->word, word, CellWord::make(0, kFreeing, RM_CELL_FREE).bits)) {
      free(*cell);
    }
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
