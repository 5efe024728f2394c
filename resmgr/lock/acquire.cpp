// SPDX-License-Identifier: Apache-2.0
//
// Acquiring without a queue: the attempts, and what is said when they fail.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "resmgr/base/processor.hpp"
#include "resmgr/base/spin.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::lock {

LockEngine::LockEngine(const LockTables& tables, const Names& names) noexcept
    : t_(tables),
      names_(names),
      recorder_(tables.trace, tables.context_count, tables.region->trace_level),
      order_(t_, names),
      graph_(t_),
      nodes_(t_),
      cells_(t_),
      ledger_(t_, names),
      may_spin_(::sysconf(_SC_NPROCESSORS_ONLN) > 1) {}

Result<Grant> LockEngine::acquire(Context& context, Handle handle,
                                  const Request& request) noexcept {
  Grant grant;
  auto at_once = acquire_at_once(context, handle, request, grant);
  if (!at_once) {
    // The registry's own requests are nobody's business.
    if (request.authority) return std::unexpected(std::move(at_once.error()));
    return count(handle, std::move(at_once.error()));
  }
  rm_slot& slot = t_.slots[handle.slot()];
  if (*at_once || watch(context, slot, handle, request, grant)) return grant;
  return enqueue(context, slot, handle, request, mode_of(request.kind));
}

// False where it has to wait, and may.
Result<bool> LockEngine::acquire_at_once(Context& context, Handle handle, const Request& request,
                                         Grant& grant) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot || handle.is_null()) return fail(ErrorCode::StaleHandle);
  if (const ErrorCode code = check_request(context, *slot, handle, request); code != ErrorCode{}) {
    return refuse(code, handle, context);
  }
  // An attempt that does not wait can't be part of a deadlock and teaches no order.
  const bool waits = request.mode != AcquisitionMode::NonBlocking;
  if (waits && !request.orderless) {
    if (auto known = order_.learn(context, load_relaxed(slot->class_id), request.place); !known) {
      return std::unexpected(std::move(known.error()));
    }
  }
  if (attempt(context, *slot, handle, request, grant)) return true;
  help_if_idle(context, *slot, handle);
  if (attempt(context, *slot, handle, request, grant)) return true;
  if (!waits) {
    const StateWord seen{load(slot->word)};
    if (!seen.is_tenant(handle.generation())) return fail(ErrorCode::StaleHandle);
    if (request.kind == HoldKind::Shared &&
        !cells_.can_park(context, *slot, handle.slot(), handle.generation())) {
      return out_of_cells();
    }
    const bool barred = seen.has(RM_WORD_QUARANTINED);
    return refuse(barred ? ErrorCode::Quarantined : ErrorCode::WouldBlock, handle, context);
  }
  return false;
}

// What can be refused at once; ErrorCode{} if nothing is wrong.
ErrorCode LockEngine::check_request(const Context& context, const rm_slot& slot, Handle handle,
                                    const Request& request) const noexcept {
  const StateWord seen{load(slot.word)};
  if (!seen.is_tenant(handle.generation())) return ErrorCode::StaleHandle;
  if (request.kind == HoldKind::Shared &&
      (load_relaxed(slot.attributes) & RM_SLOT_ATTR_EXCLUSIVE_ONLY) != 0) {
    return ErrorCode::NotShareable;
  }
  if (!request.authority) {
    if (const ErrorCode code = check_rights(context, slot, handle); code != ErrorCode{})
      return code;
  }
  if (seen.has(RM_WORD_QUARANTINED) && is_poisoned(slot)) return ErrorCode::Quarantined;
  // A context that waits for itself waits for ever.
  if (seen.owner() == context.id && !seen.has(RM_WORD_GRANTING)) return ErrorCode::Deadlock;
  if (shares(context, slot, handle, seen)) return ErrorCode::Deadlock;
  // A release of what was fenced may be under way: it must not find a later hold under an equal
  // word (I10).
  if (seen.has(RM_WORD_REVOKED) && find_hold(*context.record, handle) != 0 &&
      !planted::kAcquireFenced) {
    return ErrorCode::Revoked;
  }
  return ErrorCode{};
}

bool LockEngine::attempt(Context& context, rm_slot& slot, Handle handle, const Request& request,
                         Grant& grant) noexcept {
  return request.kind == HoldKind::Shared
             ? attempt_shared(context, slot, handle, request.place, grant)
             : attempt_exclusive(context, slot, handle, request, grant);
}

bool LockEngine::try_exclusive(Context& context, Handle handle, bool ordered,
                               const std::source_location& place, Grant& grant) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot || handle.is_null()) return false;
  if (ordered && !order_.permits(context, load_relaxed(slot->class_id))) return false;
  if (check_rights(context, *slot, handle) != ErrorCode{}) return false;
  grant.tenure = load(slot->tenure);  // 0, should the swap succeed
  std::uint64_t word = StateWord::free(handle.generation()).bits;
  if (!cas(slot->word, word, word | context.owner_bits)) return false;
  note_hold(context, *slot, nullptr, handle, place, grant);
  return true;
}

// A1 in full: the latch may be somebody else's, and flags that bar nobody are kept.
bool LockEngine::attempt_exclusive(Context& context, rm_slot& slot, Handle handle,
                                   const Request& request, Grant& grant) noexcept {
  std::uint64_t word = load(slot.word);
  for (;;) {
    const StateWord seen{word};
    const bool tenant = planted::kIgnoreGeneration || seen.is_tenant(handle.generation());
    const std::uint32_t passing = planted::kBarge ? std::uint32_t{RM_WORD_WAITERS} : 0u;
    if (!tenant || seen.owner() != 0 || seen.has_any(kBarring & ~passing)) return false;
    if (seen.has(RM_WORD_SHARED)) return take_over_empty(context, slot, handle, request, grant);
    grant.tenure = load(slot.tenure);
    if (!cas(slot.word, word, word | context.owner_bits)) continue;
    if (seen.has(RM_WORD_REVOKED) && !label(context, slot, grant)) return false;
    note_hold(context, slot, nullptr, handle, request.place, grant);
    grant.inconsistent = seen.has(RM_WORD_INCONSISTENT);
    return true;
  }
}

// e1 to e3. Who released a shared hold left SHARED behind: under the latch no new one can begin, so
// if there is none, the word changes sides.
bool LockEngine::take_over_empty(Context& context, rm_slot& slot, Handle handle,
                                 const Request& request, Grant& grant) noexcept {
  const auto empty = [&] { return reap_cells(slot, handle.generation(), 0) == 0; };
  std::uint64_t word = load(slot.word);
  const StateWord seen{word};
  // A look beforehand, so that who finds readers does not keep others from joining them.
  if (!seen.is_tenant(handle.generation()) || seen.owner() != 0 || seen.latch() != 0 ||
      seen.has_any(kBarring) || !empty()) {
    return false;
  }
  std::uint64_t latched = seen.with_latch(context.id).bits;
  if (!cas(slot.word, word, latched)) return false;
  grant.tenure = load(slot.tenure);  // nobody is fenced while we have the latch
  if (empty() &&
      cas(slot.word, latched, seen.without(RM_WORD_SHARED).with_owner(context.id).bits)) {
    note_hold(context, slot, nullptr, handle, request.place, grant);
    grant.inconsistent = seen.has(RM_WORD_INCONSISTENT);
    return true;
  }
  service(context, handle.slot(), handle.generation());
  return false;
}

bool LockEngine::try_shared(Context& context, Handle handle, bool ordered,
                            const std::source_location& place, Grant& grant) noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot || handle.is_null()) return false;
  if ((load_relaxed(slot->attributes) & RM_SLOT_ATTR_EXCLUSIVE_ONLY) != 0) return false;
  if (ordered && !order_.permits(context, load_relaxed(slot->class_id))) return false;
  if (check_rights(context, *slot, handle) != ErrorCode{}) return false;
  if (StateWord{load(slot->word)}.has(RM_WORD_REVOKED)) return false;
  return attempt_shared(context, *slot, handle, place, grant);
}

bool LockEngine::attempt_shared(Context& context, rm_slot& slot, Handle handle,
                                const std::source_location& place, Grant& grant) noexcept {
  const auto admits = [&](StateWord seen) {
    return seen.is_tenant(handle.generation()) && seen.owner() == 0 &&
           (seen.latch() == 0 || planted::kBlindShare) && !seen.has_any(kBarring);
  };
  std::uint64_t word = load(slot.word);
  if (!admits(StateWord{word})) return false;
  const auto [cell, busy] = cells_.park(context, slot, handle.slot(), handle.generation());
  if (!cell || busy) return false;
  const CellWord parked{load_relaxed(cell->word)};

  // s1. A latch holder who sees this takes it for a hold. Relaxed: the swap below publishes it.
  grant.tenure = load(slot.tenure);
  store_relaxed(cell->word, parked.to(RM_CELL_HELD).bits);
  // s2. Even if the value stays the same, the swap proves that no latch was held at this moment:
  // whoever latches later sees the cell.
  while (admits(StateWord{word})) {
    if (!cas(slot.word, word, word | RM_WORD_SHARED)) continue;
    if (StateWord{word}.has(RM_WORD_REVOKED)) {
      // As label(): a fence that came before the swap, or right after it, took the cell away.
      grant.tenure = load(slot.tenure);
      if (load(cell->word) != parked.to(RM_CELL_HELD).bits) break;
    }
    note_hold(context, slot, cell, handle, place, grant);
    grant.inconsistent = StateWord{word}.has(RM_WORD_INCONSISTENT);
    return true;
  }
  take_back(context, handle, *cell);
  return false;
}

// s3, s4. The hold was none; somebody may have decided on it, so he is told.
void LockEngine::take_back(Context& context, Handle handle, rm_cell& cell) noexcept {
  if (!cells_.vacate(cell)) cells_.drop_unused(cell);  // it was taken away by a fence
  const StateWord now{load(t_.slots[handle.slot()].word)};
  if (!planted::kSilentFalseHold && now.is_tenant(handle.generation()) &&
      (now.has(RM_WORD_SHARED) || !now.is_quiet())) {
    knock(context, handle.slot(), handle.generation(), false);
  }
}

void LockEngine::take_false_hold_back(Context& context, Handle handle) noexcept {
  rm_cell* cell = cells_.parked(context, handle.slot(), handle.generation());
  if (cell) take_back(context, handle, *cell);
}

// Flags that nobody stands behind: the last one left between two steps. Doing his work costs one
// round and may make the attempt succeed.
void LockEngine::help_if_idle(Context& context, rm_slot& slot, Handle handle) noexcept {
  const StateWord seen{load(slot.word)};
  if (seen.is_tenant(handle.generation()) && seen.owner() == 0 && seen.latch() == 0 &&
      seen.has_any(RM_WORD_WAITERS | RM_WORD_WORK)) {
    knock(context, handle.slot(), handle.generation(), false);
  }
}

// Looks at the word for a moment before queueing: while nobody is queued, nobody is overtaken. What
// is free for the instant between two pairs of one who goes on is left alone: who gets in there
// does so by luck, which favours the processor that the line is nearer to, and both lose the line.
// He queues when the other has had so many turns, or the time is over, and has the next turn.
bool LockEngine::watch(Context& context, rm_slot& slot, Handle handle, const Request& request,
                       Grant& grant) noexcept {
  if (!may_spin_ || request.kind == HoldKind::Shared) return false;
  if (holder_needs_this_processor(context, slot)) return false;
  // Most holds are short: the first looks come soon, the later ones leave the holder his line.
  constexpr int kLongestPause = 16;
  // Of a hand-off to somebody else they are gone soon; if not, there is a queue to stand in.
  constexpr std::uint32_t kPassing = RM_WORD_WAITERS | RM_WORD_WORK | RM_WORD_GRANTING;
  constexpr int kPassingLooks = 6;
  const std::uint64_t start = Clock::now();
  const std::uint32_t turns = load_relaxed(slot.acquisitions);
  const auto relax = [](int times) {
    for (int i = 0; i < times; ++i) cpu_relax();
  };
  int passing = 0;
  int pause = 0;
  do {
    relax(pause);
    pause = std::min(2 * pause + 1, kLongestPause);
    const StateWord seen{load_relaxed(slot.word)};
    if (!seen.is_tenant(handle.generation()) ||
        seen.has_any((kBarring & ~kPassing) | RM_WORD_SHARED)) {
      return false;
    }
    if (seen.has_any(kPassing)) {
      if (++passing > kPassingLooks) return false;
      continue;
    }
    // Counted between the two swaps of a pair: a hint, as all that holders write.
    const std::uint32_t turn = load_relaxed(slot.acquisitions);
    if (turn - turns >= kWatchTurns) return false;
    if (seen.owner() != 0) continue;
    relax(turn == turns ? 1 : kLongestPause);
    const bool stays_free =
        load_relaxed(slot.word) == seen.bits && load_relaxed(slot.acquisitions) == turn;
    if (stays_free && attempt(context, slot, handle, request, grant)) return true;
  } while (Clock::elapsed_ns(start) < kWatchNs);
  return false;
}

// Who spins where the holder last waited keeps him from going on, and waits for himself. It is no
// more than likely that he is there still, and nothing is lost but the spin if he is not.
bool LockEngine::holder_needs_this_processor(Context& context, const rm_slot& slot) noexcept {
  const std::uint32_t here = current_processor() + 1;
  // A line that others read stays with them while nothing on it is new.
  if (load_relaxed(context.record->processor) != here) {
    store_relaxed(context.record->processor, here);
  }
  const rm_context* const holder = t_.context(StateWord{load_relaxed(slot.word)}.owner());
  return holder && load_relaxed(holder->processor) == here;
}

// Of a hold that began: exclusive, or shared with this cell. REQUIRES: the grant has its tenure.
void LockEngine::note_hold(Context& context, rm_slot& slot, rm_cell* cell, Handle handle,
                           const std::source_location& place, Grant& grant) noexcept {
  const bool shared = cell != nullptr;
  const std::uint64_t since = stamp(context);
  const std::uint32_t index =
      HoldList(context).add(handle, load_relaxed(slot.class_id), shared, place) |
      (Clock::is_exact(since) ? RM_HOLD_TIMED : 0u);
  if (shared) {
    begin_hold(*cell, since, index);
  } else {
    begin_hold(slot, since, index);
  }
  grant.inconsistent = false;
  const unsigned attributes = load_relaxed(slot.attributes);
  grant.lacks_memory = (attributes & RM_SLOT_ATTR_LAZY) != 0;
  if ((attributes & RM_SLOT_ATTR_ACCESS_HOOK) != 0 && !grant.lacks_memory) names_.accessed(handle);
  if (recorder_.enabled(RM_TRACE_ALL)) {
    trace(context, RM_TRACE_ACQUIRE, handle, shared ? 1 : 0, 0);
  }
}

// The start of a hold: exact for one of each tick, or where the clock is read, for one of many; and
// for all if all are recorded, so that their releases come by here too.
std::uint64_t LockEngine::stamp(Context& context) noexcept {
  constexpr std::uint32_t kExactShare = 64;
  constexpr std::uint32_t kBusyReads = 1024;
  constexpr std::uint64_t kBusyNs =
      10'000'000;  // so many reads in this time: above 100,000 a second
  constexpr std::uint64_t kLateTickNs = 100'000'000;
  const std::uint64_t tick = tick_.ns();
  const bool all = records_all();
  if (tick != 0 && !all) {
    if (context.timed_at == tick) return tick;
    context.timed_at = tick;
    const std::uint64_t now = Clock::now();
    // Its ticker does not get to run: better no tick than an old one.
    if (now > tick + kLateTickNs) tick_.stop();
    return Clock::exact_stamp(now);
  }
  const std::uint32_t reads = ++context.clock_reads;
  if (!all && reads % kExactShare != 0) return Clock::stamp(Clock::coarse());
  const std::uint64_t now = Clock::now();
  if (reads % kBusyReads == 0) {
    if (now - context.clock_reads_since < kBusyNs) names_.busy();
    context.clock_reads_since = now;
  }
  return Clock::exact_stamp(now);
}

void LockEngine::sample_hold(rm_slot& slot, std::uint64_t acquired_at) noexcept {
  const std::uint64_t ns = Clock::elapsed_ns(acquired_at);
  store_relaxed(slot.sampled_hold_ns,
                static_cast<std::uint32_t>(ns < 0xffffffffu ? ns : 0xffffffffu));
}

Participant LockEngine::participant(std::uint32_t context, Handle handle, HoldKind kind,
                                    std::uint64_t held_ns) const noexcept {
  Participant who;
  who.context = context;
  who.handle = handle;
  who.kind = kind;
  who.held_ns = held_ns;
  const rm_context* record = t_.context(context);
  const rm_client* client = record ? t_.client(client_of(load_relaxed(record->state))) : nullptr;
  if (client) who.pid = load_relaxed(client->pid);
  names_.describe(who, record ? load_relaxed(record->driver) : 0);
  return who;
}

std::unexpected<Error> LockEngine::out_of_cells() const noexcept {
  Error error(ErrorCode::CapacityExceeded, "shared holds");
  error.with_amounts(std::uint64_t{t_.cell_count} + 1, t_.cell_count);
  return std::unexpected(std::move(error));
}

std::unexpected<Error> LockEngine::count(Handle handle, Error error) const noexcept {
  ledger_.refused(handle, error.code());
  return std::unexpected(std::move(error));
}

std::unexpected<Error> LockEngine::refuse(ErrorCode code, Handle handle,
                                          const Context& context) const noexcept {
  Error error(code);
  if (code == ErrorCode::StaleHandle) return std::unexpected<Error>(std::move(error));
  // Whoever holds it is not what is in the way.
  if (code == ErrorCode::NotPermitted) return fail(code, "acquire what is restricted");
  Participant first;
  std::uint32_t count = 0;
  for_each_holder(handle, [&](const Participant& who) {
    // Of several the caller himself matters most: he is told that he holds it already.
    if (count++ == 0 || who.context == context.id) first = who;
  });
  error.with_blame(first, count);
  return std::unexpected<Error>(std::move(error));
}

std::uint32_t LockEngine::count_waiters(Handle handle) const noexcept {
  rm_slot* slot = t_.slot(handle.slot());
  if (!slot || !StateWord{load(slot->word)}.is_tenant(handle.generation())) return 0;
  return WaitQueue(t_, *slot, handle.slot(), handle.generation()).count();
}

Result<Counters> LockEngine::counters(Handle handle) const noexcept {
  const rm_slot* slot = t_.slot(handle.slot());
  if (!slot || handle.is_null() || !StateWord{load(slot->word)}.is_tenant(handle.generation())) {
    return fail(ErrorCode::StaleHandle);
  }
  Counters to;
  to.exclusive_acquisitions = load_relaxed(slot->acquisitions);
  to.contended = load_relaxed(slot->contended);
  to.longest_wait_ns = load_relaxed(slot->longest_wait_ns);
  to.sampled_hold_ns = load_relaxed(slot->sampled_hold_ns);
  to.shared_acquisitions = shared_acquisitions(*slot, handle);
  return to;
}

std::uint64_t LockEngine::shared_acquisitions(const rm_slot& slot, Handle handle) const noexcept {
  std::uint64_t sum = 0;
  cells_.for_each(slot, handle.generation(), [&](const rm_cell& cell, CellWord) {
    sum += load_relaxed(cell.acquisitions);
    return true;
  });
  return sum;
}

}  // namespace resmgr::lock
