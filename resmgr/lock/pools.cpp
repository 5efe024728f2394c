// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/pools.hpp"

#include <bit>

#include "resmgr/base/atomic.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {
namespace {

constexpr std::uint32_t kCellRefs = RM_CELL_REF_OWNED | RM_CELL_REF_LINKED;
constexpr std::uint32_t kNodeOwner = references_of(0xffff, RM_NODE_REF_OWNER);

}  // namespace

template <typename Claim>
std::uint32_t TakenBits::take(Claim&& claim) const noexcept {
  const std::uint32_t words = (count_ + 63) / 64;
  const std::uint32_t hint = load_relaxed(pool_.hint);
  const std::uint32_t start = hint < words ? hint : 0;
  for (std::uint32_t step = 0; step < words; ++step) {
    const std::uint32_t at = start + step < words ? start + step : start + step - words;
    std::uint64_t bits = load(bits_[at]);
    while (~bits != 0) {
      const auto position = static_cast<unsigned>(std::countr_one(bits));
      const std::uint32_t index = at * 64 + position;
      if (index >= count_) break;
      if (!cas(bits_[at], bits, bits | std::uint64_t{1} << position)) continue;
      // Before the entry says anything: who scans looks up to here.
      raise_mark(pool_.high_water, index + 1);
      if (claim(index)) {
        if (at != hint) store_relaxed(pool_.hint, at);
        return index;
      }
      // Somebody has it whose bit was given back between his two steps: it is set again.
      bits = load(bits_[at]);
    }
  }
  return count_;
}

void TakenBits::give_back(std::uint32_t index) const noexcept {
  atomic(bits_[index / 64]).fetch_and(~(std::uint64_t{1} << (index % 64)));
  // Low ones first, so that little memory is ever touched. A hint: who overwrites it loses nothing.
  if (index / 64 < load_relaxed(pool_.hint)) store_relaxed(pool_.hint, index / 64);
}

rm_node* NodePool::take(Context& context) const noexcept {
  constexpr std::uint32_t kTaken = RM_NODE_REF_OWNER | RM_NODE_REF_LINKED;
  rm_node* node = t_.node(context.spare_node_link);
  context.spare_node_link = 0;
  if (node) {
    // By compare-and-swap: a repair that saw the last wait may be linking it just now.
    std::uint32_t spare = references_of(context.id, RM_NODE_REF_OWNER);
    if (planted::kReuseLinkedNode) store(node->refs, references_of(context.id, kTaken));
    if (planted::kReuseLinkedNode || cas(node->refs, spare, references_of(context.id, kTaken))) {
      return node;
    }
    disown(*node);
  }
  const std::uint32_t index = bits().take([&](std::uint32_t i) {
    std::uint32_t nobodys = 0;
    return cas(t_.nodes[i].refs, nobodys, references_of(context.id, kTaken));
  });
  return index == t_.node_count ? nullptr : t_.nodes + index;
}

void NodePool::leave(Context& context, rm_node& node) const noexcept {
  const bool linked = (load(node.refs) & RM_NODE_REF_LINKED) != 0 && !planted::kReuseLinkedNode;
  if (!linked && context.spare_node_link == 0) {
    context.spare_node_link = t_.link_of(&node);
  } else {
    disown(node);  // the latch holder frees it when he unlinks it
  }
}

void NodePool::disown(rm_node& node) const noexcept {
  const std::uint32_t before = atomic(node.refs).fetch_and(~kNodeOwner);
  if ((before & RM_NODE_REF_OWNER) != 0 && (before & RM_NODE_REF_LINKED) == 0) {
    bits().give_back(t_.link_of(&node) - 1);
  }
}

void NodePool::unlinked(rm_node& node) const noexcept {
  constexpr std::uint32_t kLists = RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED;
  const std::uint32_t before = atomic(node.refs).fetch_and(~kLists);
  if ((before & RM_NODE_REF_LINKED) != 0 && (before & RM_NODE_REF_OWNER) == 0) {
    bits().give_back(t_.link_of(&node) - 1);
  }
}

void NodePool::give_back_spare(Context& context) const noexcept {
  if (rm_node* node = t_.node(context.spare_node_link)) disown(*node);
  context.spare_node_link = 0;
}

rm_cell* CellPool::parked(const Context& context, std::uint32_t slot_index,
                          std::uint32_t generation) const noexcept {
  const Context::Parked& entry = context.parked[slot_index % Context::kParked];
  if (!entry.cell || entry.slot != slot_index) return nullptr;
  const CellWord word{load_relaxed(entry.cell->word)};
  return word.generation() == generation && word.context() == context.id ? entry.cell : nullptr;
}

CellPool::Parking CellPool::park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                                 std::uint32_t generation) const noexcept {
  // What is offered through a parked cell was offered to a wait that is over.
  if (rm_cell* cell = parked(context, slot_index, generation)) {
    return {cell, CellWord{load_relaxed(cell->word)}.state() == RM_CELL_HELD};
  }
  // Busy even if the offer is taken back right now: the wait has the cell still.
  if (rm_cell* held = find_in_use(slot, generation, context.id)) return {held, true};

  // A cell that somebody left behind in this chain serves as well as a new one.
  rm_cell* mine = nullptr;
  std::uint32_t link = load(slot.cell_link);
  for (std::uint32_t steps = 0; steps < t_.cell_count && !mine; ++steps) {
    rm_cell* cell = t_.cell(link);
    if (!cell) break;
    link = load_relaxed(cell->next_link);
    if (claim(context, *cell, slot_index)) mine = cell;
  }
  const auto begin_parking = [&] {
    const auto next = static_cast<std::uint16_t>(CellWord{load_relaxed(mine->word)}.parking() + 1);
    store(mine->word, CellWord::make(generation, context.id, next, RM_CELL_FREE).bits);
  };
  if (mine) {
    begin_parking();
  } else {
    mine = take(context);
    if (!mine) return {};
    store_relaxed(mine->slot, slot_index);
    store_relaxed(mine->acquisitions, 0);
    store_relaxed(mine->hold_index, 0);
    begin_parking();
    // Pushed, and taken out with the whole chain alone, so readers need no protection.
    std::uint32_t head = load(slot.cell_link);
    do {
      const rm_cell* const before = t_.cell(head);
      store_relaxed(mine->found_link, before ? load_relaxed(before->found_link) : 0);
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
    return {mine, false};
  }
  if (ours) abandon(*evicted);
  entry = {slot_index, mine};
  return {mine, false};
}

// Takes a cell that no context has and that is still in the slot's chain.
bool CellPool::claim(const Context& context, rm_cell& cell,
                     std::uint32_t slot_index) const noexcept {
  std::uint32_t ownerless = RM_CELL_REF_LINKED;
  if (load_relaxed(cell.flags) != ownerless ||
      !cas(cell.flags, ownerless, references_of(context.id, kCellRefs))) {
    return false;
  }
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

void CellPool::set_apart(Context& context, rm_cell& cell) const noexcept {
  Context::Parked& entry = context.parked[load_relaxed(cell.slot) % Context::kParked];
  if (entry.cell != &cell) return;  // temporary already
  entry = {};
  atomic(cell.flags).fetch_or(RM_CELL_FLAG_TEMPORARY);
}

void CellPool::drop_unused(rm_cell& cell) const noexcept {
  if ((load_relaxed(cell.flags) & RM_CELL_FLAG_TEMPORARY) != 0) abandon(cell);
}

// The word first: once the reference is gone, the cell may be in other hands. A latch holder who
// just made an offer of it, to a waiter who left, finds his offer gone.
void CellPool::abandon(rm_cell& cell) const noexcept {
  const CellWord word{load(cell.word)};
  store(cell.word, CellWord::make(word.generation(), 0, word.parking(), RM_CELL_FREE).bits);
  const std::uint32_t stays = planted::kFreeLinkedCell ? 0u : RM_CELL_REF_LINKED;
  const std::uint32_t before = atomic(cell.flags).fetch_and(stays);
  if ((before & stays) == 0) free(cell);
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
    // Read while the cell is certainly ours: without the reference it may be in other hands.
    link = load_relaxed(cell->next_link);
    const std::uint32_t before = atomic(cell->flags).fetch_and(~std::uint32_t{RM_CELL_REF_LINKED});
    if ((before & kCellRefs) == RM_CELL_REF_LINKED) free(*cell);
  }
}

rm_cell* CellPool::take(const Context& context) const noexcept {
  const std::uint32_t index = bits().take([&](std::uint32_t i) {
    std::uint32_t nobodys = 0;
    return cas(t_.cells[i].flags, nobodys, references_of(context.id, kCellRefs));
  });
  return index == t_.cell_count ? nullptr : t_.cells + index;
}

void CellPool::free(rm_cell& cell) const noexcept { bits().give_back(t_.link_of(&cell) - 1); }

}  // namespace resmgr::lock
