// SPDX-License-Identifier: Apache-2.0
//
// Recovery at one slot: its latch, what the dead latch holder was in the middle of, and service.
#include "resmgr/lock/fence.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/recovery.hpp"

namespace resmgr::lock {

bool Recovery::is_abandoned(std::uint16_t latch) const noexcept {
  const rm_context* record = t_.context(latch);
  return !record || (load(record->state) & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_LIVE;
}

Recovery::Visit Recovery::visit(std::uint32_t index, Report& report, std::uint32_t ended,
                                std::uint32_t begun) noexcept {
  rm_slot* const slot = t_.slot(index);
  if (!slot) return Visit::NoTenant;
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    const StateWord next = seen.without(ended).with(begun);
    if (seen.has(RM_WORD_ABSENT)) return Visit::NoTenant;
    const bool abandoned = seen.latch() != 0 && is_abandoned(seen.latch());
    if (seen.latch() != 0 && !abandoned) {
      if (cas(slot->word, word, next.with(RM_WORD_WORK).bits)) return Visit::LeftTo;
      continue;
    }
    if (!cas(slot->word, word, next.with_latch(self_.id).bits)) continue;
    if (abandoned) {
      ++report.latches_taken_over;
      repair(*slot, index, seen.generation());
    } else if (index < slots_ && !sorted_[index] &&
               (load(slot->queue_head_link) | load(slot->inbox_link)) != 0) {
      // Where both lists are empty there is nothing to sort: of the many that one who died held,
      // nobody waits for most.
      rebuild_queue(*slot, index, seen.generation());
    }
    // For those who died where the word shows no queue: their nodes are in the inbox.
    engine_.service(self_, index, seen.generation());
    return Visit::Served;
  }
}

bool Recovery::lift_quarantine(Handle handle) noexcept {
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return false;
  std::uint64_t word = load(slot->word);
  if (!StateWord{word}.is_tenant(handle.generation())) return false;
  if (!StateWord{word}.has(RM_WORD_QUARANTINED)) return false;
  // First: who comes in between waits, and is served by the step that follows.
  atomic(slot->attributes).fetch_and(static_cast<std::uint8_t>(~RM_SLOT_ATTR_POISONED));
  if (planted::kSilentLift) {
    while (!cas(slot->word, word, StateWord{word}.without(RM_WORD_QUARANTINED).bits)) {
    }
    return true;
  }
  Report report;
  (void)visit(handle.slot(), report, RM_WORD_QUARANTINED);
  return true;
}

void Recovery::poison(Handle handle) noexcept { shut(handle, 0); }

// Past the queue nobody takes it from here on; an offer that was under way when the flag came stays
// one. In the model: -DBAR.
void Recovery::bar(Handle handle) noexcept { shut(handle, RM_WORD_QUARANTINED); }

// The attribute counts only with the flag, so it comes first; and the flag with a knock, in one
// swap, so that who waits is told now, not when the holder releases.
void Recovery::shut(Handle handle, std::uint32_t gate) noexcept {
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot || !StateWord{load(slot->word)}.is_tenant(handle.generation())) return;
  atomic(slot->attributes).fetch_or(static_cast<std::uint8_t>(RM_SLOT_ATTR_POISONED));
  Report report;
  (void)visit(handle.slot(), report, 0, gate);
}

bool Recovery::remove(Handle handle, std::uint8_t outcome) noexcept {
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return false;
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(handle.generation())) return false;
    if (seen.latch() != 0 && !is_abandoned(seen.latch())) return false;
    if (cas(slot->word, word, seen.with_latch(self_.id).bits)) break;
  }
  if (StateWord{word}.latch() != 0) repair(*slot, handle.slot(), handle.generation());
  engine_.expel_waiters(*slot, handle, outcome);
  const StateWord gone =
      StateWord::free((handle.generation() + 1) & Handle::kGenerationMask).with(RM_WORD_ABSENT);
  word = load(slot->word);
  // Who acquires it meanwhile makes the swap fail, and has it.
  while (StateWord{word}.owner() == 0 && engine_.reap_cells(*slot, handle.generation(), 0) == 0) {
    if (!cas(slot->word, word, gone.with_latch(self_.id).bits)) continue;
    engine_.empty(*slot, handle, gone);
    return true;
  }
  engine_.service(self_, handle.slot(), handle.generation());
  return false;
}

bool Recovery::complete_retirement(Handle handle) noexcept {
  rm_slot* const slot = t_.slot(handle.slot());
  if (!slot) return false;
  const StateWord word{load(slot->word)};
  const std::uint32_t next = (handle.generation() + 1) & Handle::kGenerationMask;
  if (word.generation() != next || !word.has(RM_WORD_ABSENT)) return false;
  // The lists are as a kill left them.
  index_.build();
  rebuild_queue(*slot, handle.slot(), handle.generation());
  engine_.empty(*slot, handle, word);
  return true;
}

// Under the latch. No list is believed: the queue is made anew from the nodes (I2). Then an offer
// is a hold if its node says so; else it is taken back, or made, so that whoever counted on it in
// his walk still may (I7).
void Recovery::repair(rm_slot& slot, std::uint32_t index, std::uint32_t generation) noexcept {
  if (slots_ == 0) index_.build();
  if (!planted::kTrustLists) rebuild_queue(slot, index, generation);
  // Before the offers: what it ended is none any more.
  if (Fence::was_begun(slot)) Fence(engine_).complete(slot, Handle(index, generation));
  if (planted::kKeepOffers) return;
  settle_offer(slot, index, generation);
  settle_shares(slot, index, generation);
}

// Once in a run also where nobody died in the middle of it: whatever a peer left there, service has
// a queue before it in which nobody stands twice, and nothing to sort.
void Recovery::rebuild_queue(rm_slot& slot, std::uint32_t index,
                             std::uint32_t generation) noexcept {
  if (index < slots_) sorted_.set(index);
  WaitQueue(t_, slot, index, generation).rebuild(index_.of(index), room_);
}

void Recovery::settle_offer(rm_slot& slot, std::uint32_t index, std::uint32_t generation) noexcept {
  std::uint64_t word = load(slot.word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.has(RM_WORD_GRANTING)) return;
    const Request request = find_request(seen.owner(), index, generation, false);
    StateWord next = seen.without(RM_WORD_GRANTING);
    if (request.word.state() != RM_NODE_GRANTED) {
      next = next.with_owner(0);
      // He wanted his shared hold to become exclusive: it goes on as it was.
      const rm_cell* cell = cells_.find_in_use(slot, generation, seen.owner());
      if (cell && CellWord{load(cell->word)}.state() == RM_CELL_HELD) {
        next = next.with(RM_WORD_SHARED);
      }
    }
    if (cas(slot.word, word, next.bits)) return;
  }
}

void Recovery::settle_shares(rm_slot& slot, std::uint32_t index,
                             std::uint32_t generation) noexcept {
  cells_.for_each(slot, generation, [&](rm_cell& cell, CellWord seen) {
    if (seen.state() != RM_CELL_OFFERED) return true;
    const Request request = find_request(seen.context(), index, generation, true);
    bool granted = request.word.state() == RM_NODE_GRANTED;
    Waiter waiter;
    if (request.node && !granted && read_waiter(t_, *request.node, waiter) &&
        waiter.word.sequence() == request.word.sequence() && !t_.is_dead(waiter.context)) {
      // GS2, GS3
      std::uint64_t word = load(slot.word);
      bool shared = false;
      while (StateWord{word}.owner() == 0 && !shared) {
        shared = cas(slot.word, word, StateWord{word}.with(RM_WORD_SHARED).bits);
      }
      if (shared) {
        WaitQueue(t_, slot, index, generation).unlink(*waiter.node);
        granted = engine_.decide(waiter, RM_NODE_GRANTED);
      }
    }
    std::uint64_t offered = seen.bits;
    (void)cas(cell.word, offered, seen.to(granted ? RM_CELL_HELD : RM_CELL_FREE).bits);
    return true;
  });
}

Recovery::Request Recovery::find_request(std::uint16_t context, std::uint32_t slot,
                                         std::uint32_t generation, bool shared) const noexcept {
  for (const NodeIndex::Entry& entry : index_.of(slot, context)) {
    rm_node& node = t_.nodes[entry.node];
    engine_.settle_member(node);
    const NodeWord word{load(node.word)};
    if (!word.waiting() && word.state() != RM_NODE_GRANTED) continue;
    if (load_acquire(node.context) == context && load_acquire(node.slot) == slot &&
        load_acquire(node.generation) == generation &&
        (load_acquire(node.mode) == RM_WAIT_SHARED) == shared &&
        NodeWord{load_relaxed(node.word)}.sequence() == word.sequence()) {
      return {&node, word};
    }
  }
  return {};
}

}  // namespace resmgr::lock
