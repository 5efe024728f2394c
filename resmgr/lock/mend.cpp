// SPDX-License-Identifier: Apache-2.0
//
// Recovery of one resource because somebody asks for it: what is damaged is found first, so that
// what was sound stays as it is.
#include <vector>

#include "resmgr/lock/fence.hpp"
#include "resmgr/lock/recovery.hpp"

namespace resmgr::lock {

// In the model: MAY_MEND.
Recovery::Mended Recovery::mend(Handle handle) {
  Mended mended;
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return mended;
  const std::uint32_t index = handle.slot();
  const std::uint32_t generation = handle.generation();
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(generation)) return mended;
    const bool living = seen.latch() != 0 && !is_abandoned(seen.latch());
    const StateWord next = living ? seen.with(RM_WORD_WORK) : seen.with_latch(self_.id);
    if (!cas(slot->word, word, next.bits)) continue;
    if (!living) break;
    mended.left_to = seen.latch();
    return mended;
  }
  // The word as it was when the latch was taken. Only who has the latch takes anything out of the
  // queue, sorts the inbox in, or leaves an offer; so what is found now is nobody's work in
  // progress.
  const StateWord before{word};
  const bool queued = load(slot->queue_head_link) != 0;
  mended.latch = before.latch() != 0;
  mended.flags =
      !mended.latch && (before.has(RM_WORD_WORK) || (queued && !before.has(RM_WORD_WAITERS)) ||
                        (before.has(RM_WORD_WAITERS) && !queued && load(slot->inbox_link) == 0));
  mended.offer = before.has(RM_WORD_GRANTING);
  cells_.for_each(*slot, generation, [&](const rm_cell&, CellWord cell) {
    mended.offer |= cell.state() == RM_CELL_OFFERED;
    mended.hold |= cell.state() == RM_CELL_HELD && t_.is_dead(cell.context());
    return true;
  });
  mended.hold |= before.owner() != 0 && t_.is_dead(before.owner());
  // Nobody is in the middle of a fence without the latch.
  mended.offer |= Fence::was_begun(*slot);
  mended.queue = is_damaged(*slot, index, generation);
  if (mended.queue || mended.offer || mended.latch) repair(*slot, index, generation);
  mended.hold |= end_holds_of_nobody(*slot, generation);
  mended.wait = end_waits_of_the_dead(index);
  engine_.service(self_, index, generation);
  return mended;
}

// Under the latch. Each node of the list is QUEUED for this slot, and stands there once; the tail
// is the last one; what is QUEUED is in it, also if it waits no more: it would be lost for good.
// One that is neither LINKED nor QUEUED and waits was taken out for a grant that never came. The
// model's LOOKS_DAMAGED.
bool Recovery::is_damaged(const rm_slot& slot, std::uint32_t index,
                          std::uint32_t generation) const {
  const std::uint32_t end = nodes_.bits().high_water();
  std::vector<bool> in_list(end);
  std::uint32_t last = 0;
  for (std::uint32_t link = load(slot.queue_head_link); link != 0;) {
    if (link > end || in_list[link - 1]) return true;
    const rm_node& node = *t_.node(link);
    if ((load(node.refs) & RM_NODE_REF_QUEUED) == 0) return true;
    if (load_acquire(node.slot) != index) return true;
    in_list[link - 1] = true;
    last = link;
    link = load_acquire(node.next_link);
  }
  if (load(slot.queue_tail_link) != last) return true;
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_node& node = t_.nodes[i];
    const std::uint32_t refs = load(node.refs);
    // LINKED alone: in the inbox, or on the way there.
    if ((refs & (RM_NODE_REF_LINKED | RM_NODE_REF_QUEUED)) == RM_NODE_REF_LINKED) continue;
    if (in_list[i]) continue;
    if ((refs & RM_NODE_REF_QUEUED) != 0 && load_acquire(node.slot) == index) return true;
    Waiter waiter;
    if (read_waiter(t_, node, waiter) && waiter.slot == index && waiter.generation == generation &&
        (refs & RM_NODE_REF_OWNER) != 0 && load(node.refs) == refs) {
      return true;
    }
  }
  return false;
}

// Of contexts that there are not: those of the dead end in service. Whoever has a hold was there
// before he got it. What guards hardware ends behind the closed gate, as in service.
bool Recovery::end_holds_of_nobody(rm_slot& slot, std::uint32_t generation) noexcept {
  const auto is_nobody = [&](std::uint16_t context) {
    return context != 0 && context != RM_AUTHORITY_CONTEXT && is_abandoned(context) &&
           !t_.is_dead(context);
  };
  const std::uint32_t gate = LockEngine::needs_quiet(slot) ? RM_WORD_QUARANTINED : 0;
  bool ended = false;
  std::uint64_t word = load(slot.word);
  while (!ended && is_nobody(StateWord{word}.owner())) {
    const StateWord next = StateWord{word}.with_owner(0).with(RM_WORD_INCONSISTENT | gate);
    ended = cas(slot.word, word, next.bits);
  }
  cells_.for_each(slot, generation, [&](rm_cell& cell, CellWord seen) {
    if (seen.state() != RM_CELL_HELD || !is_nobody(seen.context())) return true;
    word = load(slot.word);
    while (!StateWord{word}.has(gate) && !cas(slot.word, word, StateWord{word}.with(gate).bits)) {
    }
    std::uint64_t held = seen.bits;
    ended |= cas(cell.word, held, seen.to(RM_CELL_FREE).bits);
    return true;
  });
  return ended;
}

bool Recovery::end_waits_of_the_dead(std::uint32_t index) noexcept {
  bool ended = false;
  const std::uint32_t end = nodes_.bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    rm_node& node = t_.nodes[i];
    Waiter waiter;
    if (!t_.is_dead(taker_of(load(node.refs))) || !read_waiter(t_, node, waiter)) continue;
    if (waiter.slot == index) ended |= engine_.decide(waiter, RM_NODE_CANCELLED);
  }
  return ended;
}

}  // namespace resmgr::lock
