// SPDX-License-Identifier: Apache-2.0
//
// Releasing, and changing a hold between shared and exclusive; opening and closing of slots.
#include <sched.h>

#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {

Result<void> LockEngine::release(Context& context, Handle handle, HoldKind kind) noexcept {
  if (handle.is_null()) return fail(ErrorCode::StaleHandle);
  return kind == HoldKind::Exclusive ? release_exclusive(context, handle)
                                     : release_shared(context, handle);
}

Result<void> LockEngine::release_exclusive(Context& context, Handle handle) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot) return fail(ErrorCode::StaleHandle);
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(handle.generation())) return fail(ErrorCode::StaleHandle);
    // I10: a hold that was fenced must not release its successor's.
    if (!planted::kIgnoreTenure && load(slot->tenure) != handle.tenure()) {
      return let_go_of_fenced(context, *slot, handle);
    }
    if (seen.owner() != context.id || seen.has(RM_WORD_GRANTING)) {
      if (was_fenced(context, *slot, handle)) return let_go_of_fenced(context, *slot, handle);
      return fail(ErrorCode::NotPermitted, "release of what is not held");
    }
    // Where somebody was fenced in the middle of it, he may have written there for himself.
    const std::uint32_t index = seen.has(RM_WORD_REVOKED) ? find_hold(*context.record, handle)
                                                          : load_relaxed(slot->hold_index);
    const std::uint64_t acquired_at = load_relaxed(slot->acquired_at);
    StateWord next = seen.with_owner(0);
    if (planted::kForgetFence) next = next.without(RM_WORD_REVOKED);
    // L1 in one swap: killed between two, a free resource with waiters would name nobody.
    const bool serve = seen.latch() == 0 && seen.has_any(RM_WORD_WAITERS | RM_WORD_WORK);
    if (serve && !planted::kTwoStepRelease) next = next.with_latch(context.id);
    if (!cas(slot->word, word, next.bits)) continue;
    HoldList(context).remove(index);
    if (Clock::is_exact(acquired_at)) sample_hold(*slot, acquired_at);
    if (recorder_.enabled(RM_TRACE_ALL)) trace(context, RM_TRACE_RELEASE, handle, 0, 0);
    if (serve && !planted::kTwoStepRelease) {
      service(context, handle.slot(), handle.generation());
    }
    return {};
  }
}

void LockEngine::revert(Context& context, Handle handle, HoldKind kind) noexcept {
  const auto uncount = [](auto& record) {
    store_relaxed(record.acquisitions, load_relaxed(record.acquisitions) - 1);
  };
  rm_slot& slot = t_.slots[handle.slot()];
  if (kind == HoldKind::Exclusive) {
    uncount(slot);
  } else if (rm_cell* cell = own_cell(context, slot, handle)) {
    uncount(*cell);
  }
  (void)release(context, handle, kind);
}

// The cell this context has at the resource, in use or parked; null if none.
rm_cell* LockEngine::own_cell(const Context& context, const rm_slot& slot,
                              Handle handle) const noexcept {
  if (context.on_own_thread()) {
    rm_cell* cell = cells_.parked(context, handle.slot(), handle.generation());
    if (cell && CellWord{load(cell->word)}.in_use()) return cell;
  }
  return cells_.find_in_use(slot, handle.generation(), context.id);
}

Result<void> LockEngine::release_shared(Context& context, Handle handle) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot) return fail(ErrorCode::StaleHandle);
  const StateWord before{load(slot->word)};
  if (!before.is_tenant(handle.generation())) return fail(ErrorCode::StaleHandle);
  if (load(slot->tenure) != handle.tenure()) return let_go_of_fenced(context, *slot, handle);
  const auto not_held = [&]() -> Result<void> {
    if (was_fenced(context, *slot, handle)) return let_go_of_fenced(context, *slot, handle);
    return fail(ErrorCode::NotPermitted, "release of what is not held");
  };
  rm_cell* cell = own_cell(context, *slot, handle);
  // An upgrade that is offered may have timed out: the shared hold is as it was.
  const bool exclusive = before.owner() == context.id && !before.has(RM_WORD_GRANTING);
  if (!cell || CellWord{load(cell->word)}.state() != RM_CELL_HELD || exclusive) {
    return not_held();
  }
  const std::uint32_t index = load_relaxed(cell->hold_index);
  const bool too_early = planted::kSharedReleaseLate && before.is_quiet();
  // l2. SHARED stays for the next one, and who wants the resource for himself takes it over an
  // empty SHARED. seq_cst: the look at the word must not pass the store. Who latched or queued
  // before it is seen there; who does after it sees the cell.
  if (!cells_.vacate(*cell)) return not_held();
  HoldList(context).remove(index);
  if (recorder_.enabled(RM_TRACE_ALL)) trace(context, RM_TRACE_RELEASE, handle, 1, 0);
  if (planted::kSharedReleaseNoRecheck || too_early || StateWord{load(slot->word)}.is_quiet()) {
    return {};
  }
  finish_release_shared(context, handle);
  return {};
}

// l3
void LockEngine::finish_release_shared(Context& context, Handle handle) noexcept {
  knock(context, handle.slot(), handle.generation(), false);
}

// Cells count where the word says SHARED, and where an upgrade is offered: between GU1 and GU2, and
// if it had timed out until that is undone, the word names the upgrader, and his cell what he has.
bool LockEngine::shares(const Context& context, const rm_slot& slot, Handle handle,
                        StateWord seen) const noexcept {
  const bool offered = seen.owner() == context.id && seen.has(RM_WORD_GRANTING);
  if (!offered && (seen.owner() != 0 || !seen.has(RM_WORD_SHARED))) return false;
  if (offered && planted::kHiddenShare) return false;
  const rm_cell* const cell = own_cell(context, slot, handle);
  return cell && CellWord{load(cell->word)}.state() == RM_CELL_HELD;
}

Result<HoldKind> LockEngine::held_kind(const Context& context, Handle handle) const noexcept {
  const rm_slot* slot = t_.slot(handle.slot());
  if (!slot || handle.is_null()) return fail(ErrorCode::StaleHandle);
  const StateWord seen{load(slot->word)};
  if (!seen.is_tenant(handle.generation())) return fail(ErrorCode::StaleHandle);
  if (seen.owner() == context.id && !seen.has(RM_WORD_GRANTING)) return HoldKind::Exclusive;
  if (shares(context, *slot, handle, seen)) return HoldKind::Shared;
  return fail(ErrorCode::NotPermitted, "this context holds nothing of it");
}

Result<void> LockEngine::downgrade(Context& context, Handle handle) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  const auto kind = hold_named(context, handle);
  if (!kind) return std::unexpected(kind.error());
  if (*kind != HoldKind::Exclusive) return fail(ErrorCode::InvalidArgument, "held shared already");
  if ((load_relaxed(slot->attributes) & RM_SLOT_ATTR_EXCLUSIVE_ONLY) != 0) {
    return fail(ErrorCode::NotShareable);
  }
  const auto [cell, busy] = cells_.park(context, *slot, handle.slot(), handle.generation());
  if (!cell || busy) return fail(ErrorCode::CapacityExceeded, "shared holds");
  // D1. While the word is exclusive, cells are ignored.
  const std::uint64_t held = CellWord{load_relaxed(cell->word)}.to(RM_CELL_HELD).bits;
  if (!planted::kDowngradeWordFirst) store(cell->word, held);
  store_relaxed(cell->acquired_at, load_relaxed(slot->acquired_at));
  const std::uint32_t index = load_relaxed(slot->hold_index);
  if (const std::uint32_t entry = (index & ~RM_HOLD_TIMED) - 1; entry < RM_CONTEXT_HOLDS) {
    atomic(context.record->holds[entry]).fetch_or(RM_HOLD_SHARED, std::memory_order_relaxed);
  }
  store_relaxed(cell->hold_index, index);
  // D2
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.is_tenant(handle.generation()) || seen.owner() != context.id) {
      // Fenced in between: what is there now is his successor's; and somebody may have taken the
      // cell for a hold.
      take_back(context, handle, *cell);
      return fail(ErrorCode::Revoked);
    }
    const bool serve = seen.latch() == 0 && seen.has_any(RM_WORD_WAITERS | RM_WORD_WORK);
    StateWord next = seen.with_owner(0).with(RM_WORD_SHARED);
    if (serve) next = next.with_latch(context.id);
    if (seen.latch() != 0) next = next.with(RM_WORD_WORK);
    if (!cas(slot->word, word, next.bits)) continue;
    if (serve) service(context, handle.slot(), handle.generation());
    if (planted::kDowngradeWordFirst) store(cell->word, held);
    return {};
  }
}

Result<void> LockEngine::upgrade(Context& context, Handle handle, const Request& request) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  const auto kind = hold_named(context, handle);
  if (!kind) return std::unexpected(kind.error());
  if (*kind != HoldKind::Shared)
    return fail(ErrorCode::InvalidArgument, "held exclusively already");
  if (const ErrorCode code = check_rights(context, *slot, handle); code != ErrorCode{}) {
    return refuse(code, handle, context);
  }
  if (request.mode != AcquisitionMode::NonBlocking) {
    auto grant = enqueue(context, *slot, handle, request, RM_WAIT_UPGRADE);
    if (!grant) return std::unexpected(std::move(grant.error()));
    // The shared hold has the memory, whatever the attribute says by now.
    if (grant->lacks_memory) names_.accessed(handle);
    return {};
  }
  // Another upgrade that is queued waits for our hold: two of them would wait for each other.
  bool rival = false;
  WaitQueue(t_, *slot, handle.slot(), handle.generation()).for_each([&](const Waiter& waiter) {
    rival = waiter.mode == RM_WAIT_UPGRADE && waiter.context != context.id;
    return !rival;
  });
  if (rival) return refuse(ErrorCode::Deadlock, handle, context);
  // Under the latch no shared hold can begin; if ours is the only one, the word changes sides.
  std::uint64_t word = load(slot->word);
  StateWord latched{};
  for (;;) {
    const StateWord seen{word};
    if (seen.has(RM_WORD_QUARANTINED)) return refuse(ErrorCode::Quarantined, handle, context);
    if (seen.latch() != 0) return refuse(ErrorCode::WouldBlock, handle, context);
    latched = seen.with_latch(context.id);
    if (cas(slot->word, word, latched.bits)) break;
  }
  rm_cell* cell = own_cell(context, *slot, handle);
  bool upgraded = false;
  if (cell && reap_cells(*slot, handle.generation(), context.id) == 0) {
    word = load(slot->word);
    // Others may add WORK and WAITERS meanwhile, but not holds. Who bars it closes the gate, behind
    // which another reader's hold may just have ended, and his hardware not be quiet.
    while (!upgraded && !StateWord{word}.has(RM_WORD_QUARANTINED)) {
      upgraded = cas(slot->word, word,
                     StateWord{word}.without(RM_WORD_SHARED).with_owner(context.id).bits);
    }
  }
  if (upgraded) {
    HoldList(context).remove(load_relaxed(cell->hold_index));
    cells_.vacate(*cell);
    Grant grant{.tenure = handle.tenure()};
    note_hold(context, *slot, nullptr, handle, request.place, grant);
    if (grant.lacks_memory) names_.accessed(handle);  // as above
  }
  const bool fenced = !cell && was_fenced(context, *slot, handle);
  service(context, handle.slot(), handle.generation());
  if (upgraded) return {};
  if (fenced) return fail(ErrorCode::Revoked);
  const bool barred = StateWord{load(slot->word)}.has(RM_WORD_QUARANTINED);
  return refuse(barred ? ErrorCode::Quarantined : ErrorCode::WouldBlock, handle, context);
}

Result<void> LockEngine::consistent(Context& context, Handle handle) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  const auto kind = hold_named(context, handle);
  if (!kind) return std::unexpected(kind.error());
  if (*kind != HoldKind::Exclusive) {
    return fail(ErrorCode::NotPermitted, "repair needs an exclusive hold");
  }
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (!seen.has(RM_WORD_INCONSISTENT)) {
      return fail(ErrorCode::InvalidArgument, "nothing is inconsistent");
    }
    if (cas(slot->word, word, seen.without(RM_WORD_INCONSISTENT).bits)) return {};
  }
}

void LockEngine::arm(std::uint32_t index, std::uint32_t generation, std::uint16_t class_id,
                     std::uint8_t attributes) noexcept {
  rm_slot* slot = t_.slot(index);
  if (!slot) return;
  // What came too late for retire(): nodes of those whose knock told them so, and parked cells.
  (void)WaitQueue(t_, *slot, index, generation).settle();
  cells_.retire_chain(*slot);
  store_relaxed(slot->acquired_at, 0);
  store_relaxed(slot->acquisitions, 0);
  store_relaxed(slot->contended, 0);
  store_relaxed(slot->class_id, class_id);
  store_relaxed(slot->tenure, 0);
  store_relaxed(slot->attributes, attributes);
  store_relaxed(slot->hold_index, 0);
  store_relaxed(slot->sampled_hold_ns, 0);
  store_relaxed(slot->longest_wait_ns, 0);
  store_relaxed(slot->waits_ended, 0);
  store(slot->word, StateWord::free(generation).bits);
}

void LockEngine::has_memory(Handle handle) noexcept {
  // By atomic and: beside it, requests that queue set RM_SLOT_ATTR_RESORT.
  if (rm_slot* slot = t_.slot(handle.slot())) {
    atomic(slot->attributes).fetch_and(static_cast<std::uint8_t>(~RM_SLOT_ATTR_LAZY));
  }
}

void LockEngine::set_quiesce_hook(Handle handle, bool has_one) noexcept {
  constexpr auto kHook = static_cast<std::uint8_t>(RM_SLOT_ATTR_QUIESCE);
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot) return;
  if (has_one) {
    atomic(slot->attributes).fetch_or(kHook);
  } else {
    atomic(slot->attributes).fetch_and(static_cast<std::uint8_t>(~kHook));
  }
}

Result<void> LockEngine::retire(Context& context, Handle handle, std::uint64_t deadline_ns,
                                std::uint16_t latch) noexcept {
  const std::uint16_t me = latch != 0 ? latch : context.id;
  rm_slot* slot = t_.slot(handle.slot());
  const auto kind = held_kind(context, handle);
  if (!kind) return std::unexpected(kind.error());
  if (*kind != HoldKind::Exclusive) return fail(ErrorCode::NotPermitted, "not held exclusively");
  // The lists are edited under the latch alone. Its holder is in the middle of some dozen
  // instructions, or stopped: the one place where the latch is waited for, and not for ever.
  std::uint64_t word = load(slot->word);
  for (;;) {
    const StateWord seen{word};
    if (seen.latch() == 0) {
      if (cas(slot->word, word, seen.with_latch(me).bits)) break;
      continue;
    }
    if (monotonic_ns() >= deadline_ns) return fail(ErrorCode::InUse, "the latch is taken");
    ::sched_yield();
    word = load(slot->word);
  }
  HoldList(context).remove(load_relaxed(slot->hold_index));
  // The hold that ends here is no acquisition.
  store_relaxed(slot->acquisitions, load_relaxed(slot->acquisitions) - 1);
  const std::uint32_t next = (handle.generation() + 1) & Handle::kGenerationMask;
  const StateWord gone = StateWord::free(next).with(RM_WORD_ABSENT).with_latch(me);
  word = load(slot->word);
  while (!cas(slot->word, word, gone.bits)) {
  }
  empty(*slot, handle, gone);
  return {};
}

// Nobody can join: knocks fail on the generation.
void LockEngine::empty(rm_slot& slot, Handle handle, StateWord gone) noexcept {
  expel_waiters(slot, handle, RM_NODE_REMOVED);
  ledger_.retired(handle, load_relaxed(slot.acquisitions) + shared_acquisitions(slot, handle));
  cells_.retire_chain(slot);
  store(slot.word, gone.with_latch(0).bits);
}

// Under the latch.
void LockEngine::expel_waiters(rm_slot& slot, Handle handle, std::uint8_t outcome) noexcept {
  const WaitQueue queue(t_, slot, handle.slot(), handle.generation());
  queue.settle();
  Waiter waiter;
  while (queue.front(waiter)) {
    queue.unlink(*waiter.node);
    if (!planted::kForgetRemoved) (void)decide(waiter, outcome);
  }
}

}  // namespace resmgr::lock
