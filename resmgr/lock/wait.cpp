// SPDX-License-Identifier: Apache-2.0
//
// Waiting: a node is published, checked for a cycle, and slept on until somebody decides it.
#include <algorithm>
#include <utility>

#include "resmgr/base/spin.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/executor.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::lock {

std::uint16_t LockEngine::rank_of(Handle handle, const Request& request) const noexcept {
  const auto rank = static_cast<std::uint16_t>(request.priority ? *request.priority
                                                                : names_.default_priority(handle));
  return request.mode == AcquisitionMode::Emergency
             ? static_cast<std::uint16_t>(kEmergencyRank + rank)
             : rank;
}

void LockEngine::link_wait(Context& context, Wait& wait) noexcept {
  rm_context& record = *context.record;
  const rm_node& node = *wait.waiter.node;
  wait.newer = nullptr;
  wait.older = context.waits;
  if (context.waits) context.waits->newer = &wait;
  context.waits = &wait;
  // Adding in front loses no reader; seq_cst, for the walk that follows must not pass it.
  store_release(wait.waiter.node->context_next_link,
                wait.older ? t_.link_of(wait.older->waiter.node) : 0);
  store(record.wait_link, t_.link_of(&node));
}

void LockEngine::unlink_wait(Context& context, Wait& wait) noexcept {
  rm_context& record = *context.record;
  const std::uint32_t next = wait.older ? t_.link_of(wait.older->waiter.node) : 0;
  store(record.waits_seq, load_relaxed(record.waits_seq) | 1u);
  if (wait.newer) {
    store_release(wait.newer->waiter.node->context_next_link, next);
  } else {
    store_release(record.wait_link, next);
  }
  store(record.waits_seq, load_relaxed(record.waits_seq) + 1);
  forget_wait(context, wait);
}

// What this process alone knows of it. All there is to do where the region is not ours any more.
void LockEngine::forget_wait(Context& context, Wait& wait) noexcept {
  (wait.newer ? wait.newer->older : context.waits) = wait.older;
  if (wait.older) wait.older->newer = wait.newer;
}

Result<Grant> LockEngine::enqueue(Context& context, rm_slot& slot, Handle handle,
                                  const Request& request, std::uint8_t mode) noexcept {
  Wait wait{.handle = handle, .request = request, .of_a_thread = true};
  const BlockedExecutor blocked(t_, context);
  if (auto queued = publish(context, slot, mode, wait); !queued) {
    return count(handle, std::move(queued.error()));
  }
  return conclude(context, wait, await(context, wait));
}

Result<bool> LockEngine::begin(Context& context, Handle handle, const Request& request, Wait& wait,
                               Grant& grant) noexcept {
  wait.handle = handle;
  wait.request = request;
  auto at_once = acquire_at_once(context, handle, request, grant);
  if (!at_once) return count(handle, std::move(at_once.error()));
  if (*at_once) return at_once;
  rm_slot& slot = t_.slots[handle.slot()];
  if (auto queued = publish(context, slot, mode_of(request.kind), wait); !queued) {
    return count(handle, std::move(queued.error()));
  }
  if (wait.cell) cells_.set_apart(context, *wait.cell);
  return false;
}

bool LockEngine::is_decided(const Wait& wait) const noexcept {
  return !NodeWord{load(wait.waiter.node->word)}.waiting() || over_.load();
}

std::optional<std::uint32_t> LockEngine::sleep_on(Context& context, Wait& wait) noexcept {
  rm_node& node = *wait.waiter.node;
  for (;;) {
    std::uint64_t word = load(node.word);
    if (!NodeWord{word}.waiting()) return std::nullopt;
    if (!NodeWord{word}.asleep() && !cas(node.word, word, word | RM_NODE_ASLEEP)) continue;
    // Asleep first: end() wakes whom it finds so, and who says it later finds the end here.
    if (over_.load()) return std::nullopt;
    // And so does who takes a member away: what is waited for by now, was looked at.
    if (count_waiting(wait) != wait.members_waiting) {
      look_at_members(context, wait);
    } else if (was_lent_to(wait)) {
      check_deadlock(context, wait);
    } else {
      return static_cast<std::uint32_t>(word | RM_NODE_ASLEEP);
    }
  }
}

const std::uint32_t* LockEngine::futex_of(const Wait& wait) noexcept {
  // Little-endian: the low half comes first.
  return reinterpret_cast<const std::uint32_t*>(&wait.waiter.node->word);
}

bool LockEngine::give_up(Wait& wait, unsigned outcome) noexcept {
  // Who sleeps for it, a ring perhaps, is to be told as well.
  Wakeup owed;
  const bool asleep = NodeWord{load(wait.waiter.node->word)}.asleep();
  if (!decide(wait.waiter, outcome, owed)) return false;
  if (asleep && outcome == RM_NODE_TIMED_OUT) call(*wait.waiter.node, owed);
  return true;
}

void LockEngine::look_again(Context& context, Wait& wait) noexcept {
  if (wait.is_for_any()) {
    look_at_members(context, wait);
  } else if (wait.waiter.mode == RM_WAIT_SHARED &&
             StateWord{load(wait.slot->word)}.has(RM_WORD_QUARANTINED)) {
    // The gate may have closed since the walk, which made those who read beside him his blockers.
    return check_deadlock(context, wait);
  }
  if (was_lent_to(wait)) check_deadlock(context, wait);
}

// Since cycles were looked for. The lender looks for those that the loan closed, if he lives to.
bool LockEngine::was_lent_to(const Wait& wait) noexcept {
  return rank_now(wait) != wait.rank_looked_at && !planted::kTrustLenders;
}

Result<Grant> LockEngine::finish(Context& context, Wait& wait) noexcept {
  return conclude(context, wait, NodeWord{load(wait.waiter.node->word)}.state());
}

void LockEngine::abandon_waits(Context& context, ErrorCode why) noexcept {
  while (Wait* wait = context.waits) {
    if (wait->whole) wait = wait->whole;
    (void)give_up(*wait, RM_NODE_CANCELLED);
    const auto grant = finish(context, *wait);
    if (grant) {
      const HoldKind kind =
          wait->waiter.mode == RM_WAIT_SHARED ? HoldKind::Shared : HoldKind::Exclusive;
      (void)release(context, wait->handle.with_tenure(grant->tenure), kind);
    }
    wait->slot = nullptr;
    wait->ended = why;
  }
}

// Whether the context is in the queue already: it would wait for itself.
bool LockEngine::waits_here(const Context& context, rm_slot& slot, Handle handle) const noexcept {
  bool found = false;
  WaitQueue(t_, slot, handle.slot(), handle.generation()).for_each([&](const Waiter& waiter) {
    found = waiter.context == context.id;
    return !found;
  });
  return found;
}

// E1, E2: as join(), and checked for a cycle.
Result<void> LockEngine::publish(Context& context, rm_slot& slot, std::uint8_t mode,
                                 Wait& wait) noexcept {
  auto joined = join(context, slot, mode, wait);
  if (!joined) return joined;
  if (!planted::kCheckBeforePublish) check_deadlock(context, wait);
  if (wait.waiter.emergency && !is_decided(wait)) call_for_help(wait);
  return {};
}

// A node for the wait, visible. Errors: CapacityExceeded, and Deadlock where the context waits for
// this already; nothing is queued then.
Result<void> LockEngine::join(Context& context, rm_slot& slot, std::uint8_t mode,
                              Wait& wait) noexcept {
  const Handle handle = wait.handle;
  const Request& request = wait.request;
  wait.slot = &slot;
  wait.deadline_ns = wait.timed() ? request.deadline_ns : kNoDeadline;
  wait.cell = nullptr;
  if (context.waits && waits_here(context, slot, handle)) {
    return refuse(ErrorCode::Deadlock, handle, context);
  }
  if (mode == RM_WAIT_SHARED) {
    const auto [cell, busy] = cells_.park(context, slot, handle.slot(), handle.generation());
    if (!cell) return out_of_cells();
    // It was offered what it waits for elsewhere, and is not in the queue any more.
    if (busy) return refuse(ErrorCode::Deadlock, handle, context);
    wait.cell = cell;
  } else if (mode == RM_WAIT_UPGRADE) {
    wait.cell = own_cell(context, slot, handle);
  }
  rm_node* node = nodes_.take(context);
  if (!node) {
    if (mode == RM_WAIT_SHARED) cells_.drop_unused(*wait.cell);
    return out_of_nodes(t_);
  }

  wait.account = ledger_.open(handle, slot);
  // E1. Fields first, then the word: read_waiter() relies on it.
  const std::uint16_t rank = rank_of(handle, request);
  store_release(node->slot, handle.slot());
  store_release(node->generation, handle.generation());
  store_release(node->ticket, request.ticket != 0 ? request.ticket : take_ticket());
  store_release(node->enqueued_at, request.asked_at != 0 ? request.asked_at : Clock::now());
  store_release(node->cell_link, wait.cell ? t_.link_of(wait.cell) : 0);
  store_release(node->context, context.id);
  store_release(node->priority, rank);
  store_release(node->base_priority, rank);
  store_release(node->wake_target, wait.wake_target);
  store_release(node->mode, mode);
  const Waiter* const whole = wait.whole ? &wait.whole->waiter : nullptr;
  store_release(node->group, whole ? t_.link_of(whole->node) : 0);
  store_release(node->flags,
                static_cast<std::uint8_t>(
                    (request.mode == AcquisitionMode::Emergency ? RM_NODE_FLAG_EMERGENCY : 0u) |
                    (wait.timed() ? RM_NODE_FLAG_TIMED : 0u)));
  const NodeWord before{load_relaxed(node->word)};
  const std::uint64_t sequence = before.sequence() + (planted::kSameSequence ? 0 : 1);
  const NodeWord published{sequence << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING};
  wait.waiter = {.node = node,
                 .word = published,
                 .slot = handle.slot(),
                 .generation = handle.generation(),
                 .context = context.id,
                 .base_priority = rank,
                 .mode = mode,
                 .emergency = request.mode == AcquisitionMode::Emergency,
                 .rank = {mode == RM_WAIT_UPGRADE, rank, load_relaxed(node->ticket)},
                 .enqueued_at = load_relaxed(node->enqueued_at),
                 .cell_link = load_relaxed(node->cell_link),
                 .group = load_relaxed(node->group),
                 .group_word = whole ? whole->word : NodeWord{}};
  link_wait(context, wait);
  if (planted::kCheckBeforePublish) check_deadlock(context, wait);
  if (planted::kInheritFirst) {
    inherit(context, wait.waiter);
    for (int i = 0; i < 2000; ++i) cpu_relax();
  }
  store(node->word, published.bits);
  // Now that lenders see this wait: who began to wait for our holds before shows in their queues,
  // who does later lends when he walks. Not in the list yet, so no queue has to be sorted anew.
  if (!planted::kInheritFirst) inherit(context, wait.waiter);
  if (recorder_.enabled(RM_TRACE_CONTENDED)) {
    trace(context, RM_TRACE_WAIT, handle, mode, StateWord{load(slot.word)}.owner(),
          wait.waiter.enqueued_at);
  }
  const bool is_alone = WaitQueue(t_, slot, handle.slot(), handle.generation()).push(*node);
  // E2. A thread sorts itself in while it would wait anyhow, so that its hand-off takes less time.
  // Others leave that to the hand-off, one at a time, so that this does not take long either.
  const bool may_leave = is_alone && !wait.of_a_thread && !whole;
  if (may_leave && leave_to_holder(slot, handle.generation())) return {};
  if (knock(context, handle.slot(), handle.generation(), true) == Knock::Gone) {
    decide(wait.waiter, RM_NODE_REMOVED);
  }
  return {};
}

// `outcome`: what the node says; WAITING only where the domain is over.
Result<Grant> LockEngine::conclude(Context& context, Wait& wait, unsigned outcome) noexcept {
  // Even what was granted is nothing now; the node may be somebody else's.
  if (over_.load()) {
    if (!wait.is_for_any()) forget_wait(context, wait);
    for (Wait& member : wait.members) forget_wait(context, member);
    return fail(ErrorCode::Disconnected, "the domain is over");
  }
  if (outcome != RM_NODE_GRANTED) return failed(context, wait, outcome);
  Grant grant;
  Wait* const taken = wait.is_for_any() ? take_member(context, wait) : &wait;
  if (!taken) return fail(ErrorCode::Cancelled, "granted what was not asked for");
  if (!accept(context, *taken, grant)) {
    const NodeWord now{load(taken->waiter.node->word)};
    if (now == taken->waiter.word.to(RM_NODE_REVOKED)) {
      return failed(context, *taken, RM_NODE_REVOKED);
    }
    forget_wait(context, *taken);
    return fail(ErrorCode::Cancelled, "taken for dead");
  }
  return grant;
}

// Spins, then sleeps in bounded pieces, until the node is decided, or the domain is over. Returns
// the outcome.
unsigned LockEngine::await(Context& context, Wait& wait) noexcept {
  rm_node& node = *wait.waiter.node;
  std::uint64_t now = wait.waiter.enqueued_at;  // who does not spin has come straight from there
  if (may_spin_ && !holder_needs_this_processor(context, *wait.slot)) {
    now = Clock::now();
    const std::uint64_t until = std::min(wait.deadline_ns, now + kSpinNs);
    do {
      cpu_relax();
      const NodeWord seen{load_acquire(node.word)};
      if (!seen.waiting()) return seen.state();
      now = Clock::now();
    } while (now < until);
  }
  for (;; now = Clock::now()) {
    const NodeWord seen{load(node.word)};
    if (!seen.waiting()) return seen.state();
    if (now >= wait.deadline_ns) {
      // T1: whoever swaps first decides (I6).
      if (decide(wait.waiter, RM_NODE_TIMED_OUT)) return RM_NODE_TIMED_OUT;
      continue;
    }
    const auto value = sleep_on(context, wait);
    if (!value) return NodeWord{load(node.word)}.state();
    futex_wait(&node.word, *value, std::min(wait.deadline_ns, now + kBoundedSleepNs));
    look_again(context, wait);
  }
}

// Others' are woken too, look, and sleep again.
void LockEngine::end() noexcept {
  over_.store(true);
  const std::uint32_t end = nodes_.bits().high_water();
  for (std::uint32_t index = 0; index < end; ++index) {
    rm_node& node = t_.nodes[index];
    const NodeWord word{load(node.word)};
    if (!word.waiting() || !word.asleep()) continue;
    Wakeup owed;
    call(node, owed);
  }
}

bool LockEngine::decide(const Waiter& waiter, unsigned outcome) noexcept {
  Wakeup owed;
  return decide(waiter, outcome, owed);
}

bool LockEngine::decide(const Waiter& waiter, unsigned outcome, Wakeup& owed) noexcept {
  if (waiter.group != 0) return decide_group(waiter, outcome, owed);
  return swap_waiting(*waiter.node, waiter.word.sequence(), waiter.word.to(outcome), owed);
}

bool LockEngine::swap_waiting(rm_node& node, std::uint64_t sequence, NodeWord outcome,
                              Wakeup& owed) noexcept {
  std::uint64_t word = load(node.word);
  for (;;) {
    const NodeWord seen{word};
    if (!seen.waiting() || seen.sequence() != sequence) return false;
    if (!cas(node.word, word, outcome.bits)) continue;
    // The futex is the low half of the word: it holds the state. Who times out is awake.
    if (seen.asleep() && outcome.state() != RM_NODE_TIMED_OUT && !planted::kNoWake) {
      call(node, owed);
    }
    return true;
  }
}

void LockEngine::call(rm_node& node, Wakeup& owed) noexcept {
  rm_node* const whole = t_.node(load(node.group));
  if (whole) return rouse(*whole, owed);
  wake(node, owed);
}

// Should the node be somebody else's by now, he is woken for nothing.
void LockEngine::wake(rm_node& node, Wakeup& owed) noexcept {
  // Seq_cst, as the decision before it: see Wait::call_at().
  const std::uint32_t target = load(node.wake_target);
  rm_client* const client = target != 0 ? t_.client(target - 1) : nullptr;
  if (!client) {
    owed.owe(&node.word);
    return;
  }
  // The bit first: who hears the bell looks for it. Both seq_cst, as he has said that he is asleep
  // before he looked for bits.
  const std::uint32_t index = t_.link_of(&node) - 1;
  atomic(t_.nodes_ready[index / 64]).fetch_or(std::uint64_t{1} << (index % 64));
  const std::uint32_t before = atomic(client->doorbell).fetch_add(RM_DOORBELL_RING);
  if ((before & RM_DOORBELL_ASLEEP) != 0) owed.owe(&client->doorbell);
}

// A2, A3, A4: finishes what the granter may not have finished, then the node is ours again. Until
// that swap we have not taken the hold; false: whoever takes us for dead was faster, and has all
// that was ours.
bool LockEngine::accept(Context& context, Wait& wait, Grant& grant) noexcept {
  rm_slot& slot = *wait.slot;
  const std::uint8_t mode = wait.waiter.mode;
  if (mode == RM_WAIT_SHARED) {
    const CellWord parked{load_relaxed(wait.cell->word)};
    std::uint64_t offered = parked.to(RM_CELL_OFFERED).bits;
    (void)cas(wait.cell->word, offered, parked.to(RM_CELL_HELD).bits);
  } else {
    const CellWord cell{wait.cell ? load(wait.cell->word) : 0};
    if (mode == RM_WAIT_UPGRADE && cell.is_of(wait.handle.generation(), context.id) &&
        cell.state() == RM_CELL_HELD) {
      // A4. Only the upgrader clears his cell: a granter might clear that of a later downgrade. (It
      // is his no more if the shared hold was released from elsewhere meanwhile.)
      HoldList(context).remove(load_relaxed(wait.cell->hold_index));
      cells_.vacate(*wait.cell);
    }
    clear_granting(slot, context.id);
  }
  rm_node& node = *wait.waiter.node;
  // Before the swap, which who fences us would have done first: after it, this may be of the next.
  grant.tenure = load(slot.tenure);
  std::uint64_t granted = wait.waiter.word.to(RM_NODE_GRANTED).bits;
  const std::uint64_t taken = wait.waiter.word.to(RM_NODE_IDLE).bits;
  if (planted::kTakeBlindly) {
    store(node.word, taken);
  } else if (!cas(node.word, granted, taken)) {
    return false;
  }
  unlink_wait(context, wait);
  nodes_.leave(context, node);
  if (mode == RM_WAIT_SHARED) {
    note_hold(context, slot, wait.cell, wait.handle, wait.request.place, grant);
  } else {
    note_hold(context, slot, nullptr, wait.handle, wait.request.place, grant);
  }
  grant.inconsistent = StateWord{load(slot.word)}.has(RM_WORD_INCONSISTENT);
  // Not under the latch: reading the clock takes as long as all the rest of a grant.
  const std::uint64_t now = Clock::now();
  const std::uint64_t waited = Clock::between(wait.waiter.enqueued_at, now);
  note_wait(slot, waited);
  ledger_.granted(wait.account, wait.handle, waited);
  if (recorder_.enabled(RM_TRACE_CONTENDED)) {
    trace(context, RM_TRACE_GRANT, wait.handle, mode, waited, now);
  }
  return true;
}

void LockEngine::note_wait(rm_slot& slot, std::uint64_t waited_ns) noexcept {
  const auto ns = static_cast<std::uint32_t>(waited_ns < 0xffffffffu ? waited_ns : 0xffffffffu);
  std::uint32_t longest = load_relaxed(slot.longest_wait_ns);
  while (ns > longest && !cas(slot.longest_wait_ns, longest, ns)) {
  }
}

// T2, T3: the node goes, and whoever may now be served is.
void LockEngine::withdraw(Context& context, Wait& wait) noexcept {
  if (wait.is_for_any()) {
    for (Wait& member : wait.members) withdraw(context, member);
    return leave_whole(context, wait);
  }
  rm_node& node = *wait.waiter.node;
  store(node.word, wait.waiter.word.to(RM_NODE_IDLE).bits);
  unlink_wait(context, wait);
  if (wait.waiter.mode == RM_WAIT_SHARED) cells_.drop_unused(*wait.cell);
  // The latch holder sweeps the queue, so that nodes of those who gave up don't pile up in it.
  atomic(wait.slot->attributes).fetch_or(static_cast<std::uint8_t>(RM_SLOT_ATTR_RESORT));
  nodes_.leave(context, node);
  if (!planted::kQuietTimeout) {
    knock(context, wait.handle.slot(), wait.handle.generation(), false);
  }
}

std::unexpected<Error> LockEngine::failed(Context& context, Wait& wait, unsigned outcome) noexcept {
  ErrorCode code = ErrorCode::Cancelled;
  rm_trace_op operation = RM_TRACE_TIMEOUT;
  switch (outcome) {
    case RM_NODE_TIMED_OUT:
      code = ErrorCode::TimedOut;
      break;
    case RM_NODE_DEADLOCK:
    case RM_NODE_PREEMPTED:
      code = outcome == RM_NODE_DEADLOCK ? ErrorCode::Deadlock : ErrorCode::Preempted;
      operation = RM_TRACE_DEADLOCK;
      if (!wait.report) look_back(context, wait);
      break;
    case RM_NODE_REMOVED:
      code = ErrorCode::StaleHandle;
      break;
    case RM_NODE_OWNER_DIED:
      code = ErrorCode::OwnerDied;
      break;
    case RM_NODE_QUARANTINED:
      code = ErrorCode::Quarantined;
      break;
    case RM_NODE_REVOKED:
      code = wait.waiter.mode == RM_WAIT_UPGRADE ? ErrorCode::Revoked : ErrorCode::Preempted;
      break;
    default:
      break;
  }
  // Who withdraws blames nobody.
  auto error = code == ErrorCode::Cancelled ? fail(code) : refuse(code, wait.handle, context);
  if (recorder_.enabled(RM_TRACE_CONTENDED)) {
    trace(context, operation, wait.handle, wait.waiter.mode,
          operation == RM_TRACE_DEADLOCK ? context.id : error.error().blame().context);
  }
  const Account& account = wait.is_for_any() ? wait.members.front().account : wait.account;
  ledger_.failed(account, wait.handle, code, Clock::between(wait.waiter.enqueued_at, Clock::now()));
  withdraw(context, wait);
  if (wait.report) error.error().with_detail(std::move(wait.report));
  return error;
}

}  // namespace resmgr::lock
