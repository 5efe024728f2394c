// SPDX-License-Identifier: Apache-2.0
//
// The latch holder's work on one resource: reap, grant, and unlatch when nothing is left.
#include "resmgr/base/spin.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::lock {
namespace {

// Of who waits to upgrade.
bool has_a_share(const LockTables& tables, const Waiter& waiter) noexcept {
  const rm_cell* const cell = tables.cell(waiter.cell_link);
  const CellWord word{cell ? load(cell->word) : 0};
  return word.is_of(waiter.generation, waiter.context) && word.state() == RM_CELL_HELD;
}

}  // namespace

// One compare-and-swap: takes the latch, or leaves WORK to whoever has it. Never waits.
LockEngine::Knock LockEngine::knock(Context& context, std::uint32_t index, std::uint32_t generation,
                                    bool waiters) noexcept {
  rm_slot& slot = t_.slots[index];
  std::uint64_t word = load(slot.word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(generation)) return Knock::Gone;
    const bool free = seen.latch() == 0;
    StateWord next = free ? seen.with_latch(context.id) : seen.with(RM_WORD_WORK);
    if (waiters) next = next.with(RM_WORD_WAITERS);
    if (!cas(slot.word, word, next.bits)) continue;
    if (!free) return Knock::Delegated;
    service(context, index, generation);
    return Knock::Served;
  }
}

// E2, where somebody holds it exclusively: nothing can be granted before he lets go, and his
// release sees WAITERS, takes the latch, and sorts the new one in (L1). If he is dead, whoever ends
// his hold does. Who takes the latch after this look at the word finds the new one in the inbox, so
// WAITERS is not taken away before it was served. False: knock() has to look.
bool leave_to_holder(rm_slot& slot, std::uint32_t generation) noexcept {
  std::uint64_t word = load(slot.word);
  for (;;) {
    const StateWord seen{word};
    // Behind a gate that is closed it may have to be sent away.
    if (!seen.is_tenant(generation) || seen.owner() == 0 || seen.latch() != 0 ||
        seen.has_any(RM_WORD_GRANTING | RM_WORD_QUARANTINED)) {
      return false;
    }
    if (seen.has(RM_WORD_WAITERS) || cas(slot.word, word, seen.with(RM_WORD_WAITERS).bits)) {
      return true;
    }
  }
}

void LockEngine::service(Context& context, std::uint32_t index, std::uint32_t generation) noexcept {
  rm_slot& slot = t_.slots[index];
  WaitQueue queue(t_, slot, index, generation);
  Wakeup owed;  // GX3, GS4: paid after S5 or S6
  // Who is marked dead after a look at the cells is told of by WORK: one look for each of these,
  // not for each grant.
  bool cells_seen = false;
  std::uint64_t word = load(slot.word);
  for (unsigned round = 0;; ++round) {
    if (round >= service_rounds_ && leave_to_owner(context, queue, slot)) return;
    // S0. What was asked for before this swap is done below; what comes after it sets WORK again.
    StateWord seen{word};
    if (seen.latch() != context.id || !seen.is_tenant(generation)) return;
    if (seen.has(RM_WORD_WORK) && !planted::kLateWorkClear) {
      const StateWord next = seen.without(RM_WORD_WORK);
      if (!cas(slot.word, word, next.bits)) continue;
      word = next.bits;
      seen = next;
      cells_seen = false;
    }
    if (const unsigned added = queue.settle(); added != 0) {
      store_relaxed(slot.contended, load_relaxed(slot.contended) + added);
    }
    // S1. Nothing stays granted to the dead (I4); the next holder learns that he died in the
    // middle.
    if (seen.owner() != 0 && t_.is_dead(seen.owner()) && !planted::kTrustDead) {
      end_hold_of_the_dead(slot, seen);
      word = load(slot.word);
      continue;
    }
    // S2. A hold of the dead ends only behind the closed gate, if it guards hardware.
    if (!cells_seen && seen.has(RM_WORD_SHARED) && !seen.has(RM_WORD_QUARANTINED) &&
        needs_quiet(slot)) {
      if (outlives_its_holder(slot, generation)) {
        const StateWord next = seen.with(RM_WORD_QUARANTINED);
        if (cas(slot.word, word, next.bits)) word = next.bits;
        continue;
      }
      cells_seen = true;
    }
    const unsigned holders = seen.has(RM_WORD_SHARED) ? reap_cells(slot, generation, 0) : 0;
    // S4
    Waiter best;
    const bool waiting = queue.front(best);
    const bool barred = seen.has(RM_WORD_QUARANTINED) && !planted::kGrantQuarantined;
    // Q3. It will not be quiet; or not before the waiter's own hold has ended.
    if (waiting && barred && (best.mode == RM_WAIT_UPGRADE || is_poisoned(slot))) {
      queue.unlink(*best.node);
      (void)decide(best, RM_NODE_QUARANTINED, owed);
      continue;
    }
    // What he would upgrade was fenced.
    if (waiting && best.mode == RM_WAIT_UPGRADE && seen.has(RM_WORD_REVOKED) &&
        !has_a_share(t_, best)) {
      queue.unlink(*best.node);
      (void)decide(best, RM_NODE_REVOKED, owed);
      continue;
    }
    const bool open = seen.owner() == 0 && !barred;
    if (waiting && open) {
      if (best.mode == RM_WAIT_EXCLUSIVE && holders == 0) {
        grant_exclusive(owed, queue, slot, seen, best);
        word = load(slot.word);
        continue;
      }
      if (best.mode == RM_WAIT_SHARED) {
        grant_shared(owed, queue, slot, seen, best);
        word = load(slot.word);
        continue;
      }
      // SHARED may be gone: when the shared hold was released from elsewhere meanwhile.
      if (best.mode == RM_WAIT_UPGRADE && reap_cells(slot, generation, best.context) == 0) {
        grant_upgrade(owed, queue, slot, seen, best);
        word = load(slot.word);
        continue;
      }
    }
    // S3 and S5 in one swap: it fails if anything changed since the snapshot, WORK among it.
    StateWord next = seen.with_latch(0).without(RM_WORD_WAITERS);
    if (queue.any()) next = next.with(RM_WORD_WAITERS);
    if (planted::kLateWorkClear) next = next.without(RM_WORD_WORK);
    if (seen.has(RM_WORD_SHARED) && holders == 0 && seen.owner() == 0) {
      next = next.without(RM_WORD_SHARED);
    }
    if (planted::kBlindUnlatch) {
      store(slot.word, next.bits);
      return;
    }
    if (cas(slot.word, word, next.bits)) return;
  }
}

// S6. Who has served others for long enough leaves the rest to the exclusive holder: nothing can be
// granted before he releases, and his release sees WORK and WAITERS and takes the latch (L1). False
// without such a holder: then somebody may be waiting for us alone.
bool LockEngine::leave_to_owner(Context& context, const WaitQueue& queue, rm_slot& slot) noexcept {
  std::uint64_t word = load(slot.word);
  for (;;) {
    const StateWord seen{word};
    if (seen.has(RM_WORD_GRANTING) || seen.latch() != context.id) return false;
    if (seen.owner() == 0 && !planted::kLeaveToNobody) return false;
    StateWord next = seen.with_latch(0);
    if (queue.any()) next = next.with(RM_WORD_WAITERS);
    if (!cas(slot.word, word, next.bits)) continue;
    // Marked dead meanwhile: his recoverer found the latch taken and left him to us (I4).
    if (t_.is_dead(seen.owner())) {
      knock(context, t_.index_of(&slot), seen.generation(), false);
    }
    return true;
  }
}

// Ends the holds of the dead; returns whether others are in use (1), `except`'s own not counted.
// The cell goes on naming its dead context, for recovery gives back what a context had parked.
// Where hardware has to be quiet first, a dead holder stands in everybody's way until the gate is
// closed.
unsigned LockEngine::reap_cells(rm_slot& slot, std::uint32_t generation,
                                std::uint16_t except) noexcept {
  unsigned in_use = 0;
  const bool may_end = !needs_quiet(slot) || StateWord{load(slot.word)}.has(RM_WORD_QUARANTINED);
  cells_.search(slot, generation, [&](rm_cell& cell, CellWord word) {
    if (!word.in_use()) return true;
    if (word.state() == RM_CELL_HELD && may_end && t_.is_dead(word.context())) {
      std::uint64_t expected = word.bits;
      if (cas(cell.word, expected, word.to(RM_CELL_FREE).bits)) return true;
    }
    if (word.context() == except) return true;
    // One is enough to know. That there is none takes a look at each cell, for a count of holds
    // would be a second place, torn by a kill (I2): so much a writer pays for readers who share
    // nothing with each other.
    ++in_use;
    return false;
  });
  return in_use;
}

// Whether one of the dead has it shared. Who never took it had not.
bool LockEngine::outlives_its_holder(const rm_slot& slot, std::uint32_t generation) noexcept {
  bool dead = false;
  cells_.for_each(slot, generation, [&](rm_cell& cell, CellWord word) {
    if (word.state() != RM_CELL_HELD || !t_.is_dead(word.context())) return true;
    if (take_grant_back(word.context(), slot, generation, RM_WAIT_SHARED)) {
      std::uint64_t held = word.bits;
      (void)cas(cell.word, held, word.to(RM_CELL_FREE).bits);
      return true;
    }
    dead = true;
    return false;
  });
  return dead;
}

// Others leave WORK and WAITERS meanwhile.
void LockEngine::end_hold_of_the_dead(rm_slot& slot, StateWord seen) noexcept {
  const bool untaken = take_grant_back(seen.owner(), slot, seen.generation(), RM_WAIT_EXCLUSIVE);
  const std::uint32_t warning =
      RM_WORD_INCONSISTENT | (needs_quiet(slot) ? RM_WORD_QUARANTINED : 0u);
  std::uint64_t word = seen.bits;
  for (;;) {
    const StateWord now{word};
    if (now.owner() != seen.owner() || now.generation() != seen.generation()) return;
    const StateWord ended = now.with_owner(0).without(RM_WORD_GRANTING);
    if (cas(slot.word, word, ended.with(untaken ? 0 : warning).bits)) return;
  }
}

// Whether the dead was granted this, and never took it; from here on he can't. A context has one
// wait or a few, and its list of holds names what it took in another way.
bool LockEngine::take_grant_back(std::uint16_t dead, const rm_slot& slot, std::uint32_t generation,
                                 std::uint8_t mode) noexcept {
  constexpr int kLongestLook = 64;
  const rm_context* const record = t_.context(dead);
  if (!record || load(record->overflow_holds) != 0) return false;
  const std::uint32_t index = t_.index_of(&slot);
  const std::uint64_t used = load(record->hold_bitmap) & ~load(record->foreign_freed);
  for (unsigned position = 0; position < RM_CONTEXT_HOLDS; ++position) {
    if ((used >> position & 1) == 0) continue;
    if (load(record->holds[position]) >> RM_HOLD_SLOT_SHIFT == index) return false;
  }
  std::uint32_t link = load(record->wait_link);
  for (int steps = 0; steps < kLongestLook; ++steps) {
    rm_node* const node = t_.node(link);
    if (!node) return false;
    settle_member(*node);
    std::uint64_t word = load(node->word);
    const bool his = taker_of(load(node->refs)) == dead && load_acquire(node->context) == dead;
    const bool of_this = load_acquire(node->slot) == index &&
                         load_acquire(node->generation) == generation &&
                         load_acquire(node->mode) == mode;
    if (NodeWord{word}.state() == RM_NODE_GRANTED && his && of_this) {
      // Fails if it was taken, or is somebody else's, since the first look.
      return planted::kWarnNobody ||
             cas(node->word, word, NodeWord{word}.to(RM_NODE_CANCELLED).bits);
    }
    link = load_acquire(node->context_next_link);
  }
  return planted::kWarnNobody;
}

bool LockEngine::grant_exclusive(Wakeup& owed, WaitQueue& queue, rm_slot& slot, StateWord seen,
                                 const Waiter& waiter) noexcept {
  if (planted::kNodeFirst && !decide(waiter, RM_NODE_GRANTED, owed)) return false;
  // GX1. GRANTING: an offer until the node says GRANTED, so that a granter killed here can be told
  // from a holder. SHARED without cells goes with it.
  std::uint64_t word = seen.bits;
  const StateWord offered =
      seen.without(RM_WORD_SHARED).with_owner(waiter.context).with(RM_WORD_GRANTING);
  if (!cas(slot.word, word, offered.bits)) return false;
  bump(slot.waits_ended);
  // Out of the queue before he is told: he may be gone, and the node in other hands, right after.
  queue.unlink(*waiter.node);
  // GX2
  if (planted::kNodeFirst || decide(waiter, RM_NODE_GRANTED, owed)) {
    clear_granting(slot, waiter.context);  // GX4; the waiter helps
    return true;
  }
  // GX5. He timed out or died: taken back.
  word = load(slot.word);
  for (;;) {
    const StateWord now{word};
    if (planted::kNoUndo || now.owner() != waiter.context || !now.has(RM_WORD_GRANTING)) {
      return false;
    }
    if (cas(slot.word, word, now.with_owner(0).without(RM_WORD_GRANTING).bits)) return false;
  }
}

bool LockEngine::grant_shared(Wakeup& owed, WaitQueue& queue, rm_slot& slot, StateWord seen,
                              const Waiter& waiter) noexcept {
  rm_cell* cell = t_.cell(waiter.cell_link);
  // GS1
  const CellWord parked{cell ? load(cell->word) : 0};
  const bool his = parked.is_of(waiter.generation, waiter.context);
  std::uint64_t expected = parked.to(RM_CELL_FREE).bits;
  const unsigned offer = planted::kNoOffer ? RM_CELL_HELD : RM_CELL_OFFERED;
  if (!cell || !his || !cas(cell->word, expected, parked.to(offer).bits)) {
    // No cell of his in this chain: what the node says is not a request of ours.
    queue.unlink(*waiter.node);
    (void)decide(waiter, RM_NODE_CANCELLED);
    return false;
  }
  // GS2. Not if somebody took the word past the queue; but what is asked of us meanwhile (WORK,
  // WAITERS) is no reason to take the offer back: whoever walked while it stood saw that he waits
  // for nobody, and does not walk again (I7).
  if (planted::kTakeBackOffer) {
    for (int i = 0; i < 20000 && !StateWord{load(slot.word)}.has(RM_WORD_WORK); ++i) cpu_relax();
    for (int i = 0; i < 2000; ++i) cpu_relax();
  }
  std::uint64_t word = seen.bits;
  bool shared = cas(slot.word, word, seen.with(RM_WORD_SHARED).bits);
  while (!shared && !planted::kTakeBackOffer) {
    const StateWord now{word};
    if (now.without(RM_WORD_WORK | RM_WORD_WAITERS) !=
        seen.without(RM_WORD_WORK | RM_WORD_WAITERS)) {
      break;
    }
    shared = cas(slot.word, word, now.with(RM_WORD_SHARED).bits);
  }
  if (shared) {
    bump(slot.waits_ended);
    queue.unlink(*waiter.node);
  }
  // GS3, GS5, GS6
  const bool granted = shared && decide(waiter, RM_NODE_GRANTED, owed);
  expected = parked.to(RM_CELL_OFFERED).bits;
  (void)cas(cell->word, expected, parked.to(granted ? RM_CELL_HELD : RM_CELL_FREE).bits);
  return granted;
}

bool LockEngine::grant_upgrade(Wakeup& owed, WaitQueue& queue, rm_slot& slot, StateWord seen,
                               const Waiter& waiter) noexcept {
  // GU1. The waiter's cell stays HELD until he clears it himself: cells are ignored while the word
  // is exclusive.
  std::uint64_t word = seen.bits;
  const StateWord offered =
      seen.without(RM_WORD_SHARED).with_owner(waiter.context).with(RM_WORD_GRANTING);
  if (!cas(slot.word, word, offered.bits)) return false;
  bump(slot.waits_ended);
  queue.unlink(*waiter.node);
  if (decide(waiter, RM_NODE_GRANTED, owed)) {  // GU2
    clear_granting(slot, waiter.context);
    return true;
  }
  word = load(slot.word);
  for (;;) {  // back to SHARED, as it was
    const StateWord now{word};
    if (now.owner() != waiter.context || !now.has(RM_WORD_GRANTING)) return false;
    if (cas(slot.word, word,
            now.with_owner(0).without(RM_WORD_GRANTING).with(RM_WORD_SHARED).bits)) {
      return false;
    }
  }
}

void LockEngine::clear_granting(rm_slot& slot, std::uint16_t owner) noexcept {
  std::uint64_t word = load(slot.word);
  for (;;) {
    const StateWord seen{word};
    if (seen.owner() != owner || !seen.has(RM_WORD_GRANTING) || planted::kGrantingStays) return;
    if (cas(slot.word, word, seen.without(RM_WORD_GRANTING).bits)) return;
  }
}

}  // namespace resmgr::lock
