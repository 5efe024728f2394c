// SPDX-License-Identifier: Apache-2.0
//
// LockEngine: acquire, wait and release on the state words of a lock region.
//
// What it is: the protocol "latch or delegate". An uncontended exclusive pair is two compare-and-
// swaps; everything else about a resource is done by whoever has its latch, and nobody waits for a
// latch: who finds it taken leaves WORK and goes on. Grants go directly to the next waiter. The
// steps (A1, E1, S0, GX1 ...) are those of tests/model/lock.pml, which names the functions here.
// What it is not: a registry; handles are checked against the state word alone.
//
// Who died before he took what he was granted leaves nothing behind: his node says GRANTED until he
// takes it, which is the last step before acquire() returns. So whoever ends his hold takes the
// grant back by a swap of the node, and if that succeeds, the next holder need not be warned, nor
// hardware be made quiet. In doubt (a list that is too long, a death in between, an upgrade, whose
// owner reads already) it was a hold.
//
// Invariants (by number in the comments): I1 one exclusive holder or only shared ones; I2 words and
// cells are the truth, lists and counters are caches; I3 each step leaves a state that recovery
// completes or undoes; I4 nothing stays granted to the dead; I6 each waiter gets exactly one
// outcome, by one compare-and-swap on its node; I7, I8 every wait is checked for a cycle after it
// became visible; I10 old handles and tenures act on nothing.
//
// Memory order: all compare-and-swaps, and the loads of words and cells that decide something, are
// seq_cst, as the model assumes. Weaker ones say why at their line.
//
// Lifetime: the tables and `names` outlive it. Thread-safety: any thread; see Context for what one
// context may do at once. Nothing here allocates, except for the report of a deadlock.
//
//   if (FastPath::try_exclusive(context, handle, place, tenure) == Outcome::Done) ...
//   auto result = engine.acquire(context, handle, request);        // everything
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <source_location>
#include <span>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/futex.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/tick.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/fast_path.hpp"
#include "resmgr/lock/lock_order.hpp"
#include "resmgr/lock/names.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/queue.hpp"
#include "resmgr/lock/request.hpp"
#include "resmgr/lock/tables.hpp"
#include "resmgr/lock/wait_graph.hpp"
#include "resmgr/lock/wait_ledger.hpp"
#include "resmgr/lock/wakeup.hpp"
#include "resmgr/lock/word.hpp"
#include "resmgr/trace/recorder.hpp"

namespace resmgr::lock {

/// How long a waiter looks at his node before he sleeps: a hand-off while he looks costs less than
/// 0.2 us, waking him from sleep some 20 us.
inline constexpr std::uint64_t kSpinNs = 30'000;
/// How long a request watches the word before it queues: two that meet for a moment never queue.
inline constexpr std::uint64_t kWatchNs = 5'000;
/// And how many turns of others. Counted, so that two who never pause get turns of one length.
inline constexpr std::uint32_t kWatchTurns = 64;
/// So often the latch holder looks for more to do, where an exclusive holder can go on for him. A
/// round is a grant, or a look that somebody's request made worthless: some 100 ns.
inline constexpr unsigned kServiceRounds = 32;
/// Sleeps end at the latest after this, so that a granter stopped between decision and wake delays
/// nobody for long.
inline constexpr std::uint64_t kBoundedSleepNs = 100'000'000;

class LockEngine {
 public:
  LockEngine(const LockTables& tables, const Names& names) noexcept;
  LockEngine(const LockEngine&) = delete;
  LockEngine& operator=(const LockEngine&) = delete;

  // ---- without waiting: false means "ask acquire() or release()", which also know the error -----

  // FastPath is the shortest way, for what is not rare; these are for what it leaves.

  /// A1. One compare-and-swap on a free, unlatched word; checks the generation too. `ordered`: the
  /// request may wait, so an order of classes that is not known yet is left to acquire().
  [[nodiscard]] bool try_exclusive(Context& context, Handle handle, bool ordered,
                                   const std::source_location& place, Grant& grant) noexcept;
  /// s1 to s4. Both look up the rights on what is restricted.
  [[nodiscard]] bool try_shared(Context& context, Handle handle, bool ordered,
                                const std::source_location& place, Grant& grant) noexcept;
  /// s3, s4, where FastPath::try_shared() is Owing.
  void take_false_hold_back(Context& context, Handle handle) noexcept;
  /// l3, where FastPath::try_release_shared() is Owing.
  void finish_release_shared(Context& context, Handle handle) noexcept;

  // ---- everything -------------------------------------------------------------------------------

  /// Acquires. Errors: StaleHandle, WouldBlock, TimedOut, Deadlock, Preempted, OrderViolation,
  /// Revoked (the context was fenced, and has not let go of that hold), NotShareable, NotPermitted
  /// (it is restricted, and the context's driver has no right to it), Quarantined,
  /// CapacityExceeded, InvalidArgument, Disconnected (it waited until end()), Cancelled (this
  /// process was taken for dead meanwhile); for what is restricted, those of Names::check_rights()
  /// too.
  [[nodiscard]] Result<Grant> acquire(Context& context, Handle handle,
                                      const Request& request) noexcept;

  // ---- without a thread that waits --------------------------------------------------------------
  // All of one context's: by one thread at a time, that which acquires for it.

  /// As acquire(), but where that would wait, the request is queued, and this returns false: `wait`
  /// stays at its address until finish(). True: `grant` is had. Errors: as acquire(); nothing is
  /// queued then.
  [[nodiscard]] Result<bool> begin(Context& context, Handle handle, const Request& request,
                                   Wait& wait, Grant& grant) noexcept;
  /// begin() for any of `candidates`, which are tried in this order. Where all would have to wait,
  /// the request stands in the queue of each that it may have, and takes one of them (I11).
  /// `members`: as many, which stay where they are as long as `wait`, which is then used like any
  /// other. Its `handle` is what was acquired. Errors: as acquire(), of the first where none can be
  /// had; InvalidArgument (no candidate, or fewer members), CapacityExceeded (there is not a node
  /// for each). Deadlock is what closes a cycle whichever of them is granted.
  [[nodiscard]] Result<bool> begin_any(Context& context, std::span<const Handle> candidates,
                                       const Request& request, Wait& wait, std::span<Wait> members,
                                       Grant& grant) noexcept;
  /// begin_any() and finish(), with a sleep between them.
  [[nodiscard]] Result<Grant> acquire_any(Context& context, std::span<const Handle> candidates,
                                          const Request& request, Wait& wait,
                                          std::span<Wait> members) noexcept;
  /// Whether finish() may be called.
  [[nodiscard]] bool is_decided(const Wait& wait) const noexcept;
  /// What the futex says while the wait goes on; from here on whoever decides it wakes the futex.
  /// Nothing: it is decided.
  [[nodiscard]] std::optional<std::uint32_t> sleep_on(Context& context, Wait& wait) noexcept;
  /// The futex of a wait: 32 bits in memory that processes share.
  [[nodiscard]] static const std::uint32_t* futex_of(const Wait& wait) noexcept;
  /// Ends the wait with RM_NODE_TIMED_OUT or RM_NODE_CANCELLED, and wakes its futex. False if it
  /// was decided otherwise (I6).
  bool give_up(Wait& wait, unsigned outcome) noexcept;
  /// For who was woken, or has slept for kBoundedSleepNs, and is to sleep on.
  void look_again(Context& context, Wait& wait) noexcept;
  /// The outcome. REQUIRES: is_decided(). Errors: as acquire(), and Cancelled.
  [[nodiscard]] Result<Grant> finish(Context& context, Wait& wait) noexcept;
  /// Ends all waits of a context that is being closed; what was granted is released. Their outcome
  /// is `why`, and they know no slot any more.
  void abandon_waits(Context& context, ErrorCode why) noexcept;

  /// A place in the queues to come, for who may have to ask more than once and is not to lose his
  /// turn by it.
  [[nodiscard]] std::uint64_t take_ticket() noexcept {
    return atomic(t_.region->next_ticket).fetch_add(1) + 1;
  }

  /// Ends a hold; from any thread. Errors: StaleHandle, Revoked, NotPermitted.
  Result<void> release(Context& context, Handle handle, HoldKind kind) noexcept;
  /// Ends a hold that came to nothing, by the thread that began it: it is counted no more.
  void revert(Context& context, Handle handle, HoldKind kind) noexcept;
  /// D1, D2. Errors: StaleHandle, Revoked, NotPermitted, NotShareable, CapacityExceeded.
  Result<void> downgrade(Context& context, Handle handle) noexcept;
  /// Shared to exclusive, keeping the shared hold until then; NonBlocking, or waiting before all
  /// other requests. Errors: as acquire; the shared hold stays. Rights are checked anew.
  Result<void> upgrade(Context& context, Handle handle, const Request& request) noexcept;
  /// Clears INCONSISTENT. Errors: StaleHandle, NotPermitted, Revoked, InvalidArgument (it is not
  /// set).
  Result<void> consistent(Context& context, Handle handle) noexcept;
  /// What this context holds of the resource. Errors: StaleHandle, NotPermitted (nothing).
  [[nodiscard]] Result<HoldKind> held_kind(const Context& context, Handle handle) const noexcept;
  /// A handle that names no tenure, as a registration's, with that of who holds it now.
  [[nodiscard]] Handle as_held(Handle handle) const noexcept;
  /// Releases what the context holds, words first asked, and calls `report` for each.
  template <typename Report>
  std::uint32_t release_all(Context& context, Report&& report) noexcept;

  /// After how many rounds a latch holder leaves the rest to an exclusive holder; kServiceRounds
  /// otherwise; at least one, for what is new has to be sorted in. REQUIRES: no other thread uses
  /// the engine yet. (Tests let it happen at once.)
  void limit_service(unsigned rounds) noexcept { service_rounds_ = rounds; }
  /// The domain is over for this process: nobody mends the region any more, or its place there is
  /// somebody else's. Waits end with Disconnected, at once, whatever becomes of their nodes, which
  /// are left as they are: I6 holds among those who have part in the region.
  /// Contexts are closed by ContextTable::end(). From any thread.
  void end() noexcept;

  // ---- for the owner of the registry ------------------------------------------------------------

  /// Opens a slot for a new tenant. REQUIRES: no tenant, and the caller is the authority.
  void arm(std::uint32_t slot, std::uint32_t generation, std::uint16_t class_id,
           std::uint8_t attributes) noexcept;
  /// Its memory is there: it is acquired like any other. REQUIRES: the handle's resource is in its
  /// slot, and the caller is the authority.
  void has_memory(Handle handle) noexcept;
  /// Whether its owner makes hardware quiet when a holder died; REQUIRES as before.
  void set_quiesce_hook(Handle handle, bool has_one) noexcept;
  /// A hint: every client can write it.
  [[nodiscard]] bool has_quiesce_hook(Handle handle) const noexcept {
    const rm_slot* slot = t_.slot(handle.slot());
    return slot && needs_quiet(*slot);
  }
  /// Closes a slot that `context` holds exclusively: the generation moves on, waiters get
  /// StaleHandle. Errors: NotPermitted (not held), InUse (the latch stayed taken until the
  /// deadline).
  /// `latch`: who does it, the context itself (0), or RM_AUTHORITY_CONTEXT for a holder elsewhere.
  Result<void> retire(Context& context, Handle handle, std::uint64_t deadline_ns,
                      std::uint16_t latch = 0) noexcept;

  // ---- views ------------------------------------------------------------------------------------

  /// A few nanoseconds: one load.
  [[nodiscard]] bool is_valid(Handle handle) const noexcept {
    const rm_slot* slot = t_.slot(handle.slot());
    return slot && !handle.is_null() &&
           StateWord{load_relaxed(slot->word)}.is_tenant(handle.generation());
  }
  [[nodiscard]] StateWord word(std::uint32_t slot) const noexcept {
    const rm_slot* record = t_.slot(slot);
    return record ? StateWord{load(record->word)} : StateWord{};
  }
  /// Calls `visit(Participant)` for each holder; unnamed ones are left to `names`. Throws what
  /// `visit` throws.
  template <typename Visit>
  void for_each_holder(Handle handle, Visit&& visit) const;
  [[nodiscard]] std::uint32_t count_waiters(Handle handle) const noexcept;
  /// Errors: StaleHandle.
  [[nodiscard]] Result<Counters> counters(Handle handle) const noexcept;

  [[nodiscard]] const LockTables& tables() const noexcept { return t_; }
  [[nodiscard]] LockOrder& order() noexcept { return order_; }
  [[nodiscard]] WaitGraph& graph() noexcept { return graph_; }
  /// What holds are stamped with; set by whoever keeps the time for this process. See
  /// Names::busy().
  [[nodiscard]] Tick& tick() noexcept { return tick_; }
  /// Every acquisition and release is to be recorded: nobody may set a tick then.
  [[nodiscard]] bool records_all() const noexcept { return recorder_.enabled(RM_TRACE_ALL); }

 private:
  friend class Fence;
  friend class Recovery;
  friend class WaitGraph;
  // acquire.cpp
  void note_hold(Context& context, rm_slot& slot, rm_cell* cell, Handle handle,
                 const std::source_location& place, Grant& grant) noexcept;
  [[nodiscard]] bool holder_needs_this_processor(Context& context, const rm_slot& slot) noexcept;
  [[nodiscard]] std::uint64_t stamp(Context& context) noexcept;
  void sample_hold(rm_slot& slot, std::uint64_t acquired_at) noexcept;
  void trace(Context& context, rm_trace_op operation, Handle handle, std::uint8_t mode,
             std::uint64_t argument, std::uint64_t now = Clock::now()) noexcept {
    recorder_.record(*context.record, context.id, operation, mode, handle.slot(),
                     handle.generation(), argument, now);
  }
  [[nodiscard]] ErrorCode check_request(const Context& context, const rm_slot& slot, Handle handle,
                                        const Request& request) const noexcept;
  [[nodiscard]] ErrorCode check_rights(const Context& context, const rm_slot& slot,
                                       Handle handle) const noexcept {
    if ((load_relaxed(slot.attributes) & RM_SLOT_ATTR_RESTRICTED) == 0) return ErrorCode{};
    return names_.check_rights(handle, load_relaxed(context.record->driver));
  }
  [[nodiscard]] bool attempt(Context& context, rm_slot& slot, Handle handle, const Request& request,
                             Grant& grant) noexcept;
  [[nodiscard]] bool attempt_exclusive(Context& context, rm_slot& slot, Handle handle,
                                       const Request& request, Grant& grant) noexcept;
  [[nodiscard]] bool attempt_shared(Context& context, rm_slot& slot, Handle handle,
                                    const std::source_location& place, Grant& grant) noexcept;
  [[nodiscard]] bool take_over_empty(Context& context, rm_slot& slot, Handle handle,
                                     const Request& request, Grant& grant) noexcept;
  void take_back(Context& context, Handle handle, rm_cell& cell) noexcept;
  void help_if_idle(Context& context, rm_slot& slot, Handle handle) noexcept;
  [[nodiscard]] bool watch(Context& context, rm_slot& slot, Handle handle, const Request& request,
                           Grant& grant) noexcept;
  [[nodiscard]] std::unexpected<Error> out_of_cells() const noexcept;
  [[nodiscard]] std::uint64_t shared_acquisitions(const rm_slot& slot,
                                                  Handle handle) const noexcept;
  [[nodiscard]] std::unexpected<Error> count(Handle handle, Error error) const noexcept;
  [[nodiscard]] std::unexpected<Error> refuse(ErrorCode code, Handle handle,
                                              const Context& context) const noexcept;
  [[nodiscard]] Participant participant(std::uint32_t context, Handle handle, HoldKind kind,
                                        std::uint64_t held_ns) const noexcept;

  // wait.cpp
  [[nodiscard]] Result<Grant> enqueue(Context& context, rm_slot& slot, Handle handle,
                                      const Request& request, std::uint8_t mode) noexcept;
  [[nodiscard]] unsigned await(Context& context, Wait& wait) noexcept;
  void withdraw(Context& context, Wait& wait) noexcept;
  [[nodiscard]] std::unexpected<Error> failed(Context& context, Wait& wait,
                                              unsigned outcome) noexcept;
  [[nodiscard]] bool accept(Context& context, Wait& wait, Grant& grant) noexcept;
  static void note_wait(rm_slot& slot, std::uint64_t waited_ns) noexcept;
  [[nodiscard]] std::uint16_t rank_of(Handle handle, const Request& request) const noexcept;
  [[nodiscard]] Result<bool> acquire_at_once(Context& context, Handle handle,
                                             const Request& request, Grant& grant) noexcept;
  [[nodiscard]] Result<void> publish(Context& context, rm_slot& slot, std::uint8_t mode,
                                     Wait& wait) noexcept;
  [[nodiscard]] Result<void> join(Context& context, rm_slot& slot, std::uint8_t mode,
                                  Wait& wait) noexcept;
  [[nodiscard]] Result<Grant> conclude(Context& context, Wait& wait, unsigned outcome) noexcept;
  [[nodiscard]] bool waits_here(const Context& context, rm_slot& slot,
                                Handle handle) const noexcept;
  void link_wait(Context& context, Wait& wait) noexcept;
  void unlink_wait(Context& context, Wait& wait) noexcept;
  static void forget_wait(Context& context, Wait& wait) noexcept;

  // any.cpp
  [[nodiscard]] Result<bool> any_at_once(Context& context, std::span<const Handle> candidates,
                                         const Request& request, Wait& wait, Grant& grant) noexcept;
  [[nodiscard]] Result<void> publish_any(Context& context, std::span<const Handle> candidates,
                                         Wait& wait, std::span<Wait> members) noexcept;
  [[nodiscard]] bool publish_whole(Context& context, Wait& wait) noexcept;
  void leave_whole(Context& context, Wait& wait) noexcept;
  [[nodiscard]] Wait* take_member(Context& context, Wait& wait) noexcept;
  void look_at_members(Context& context, Wait& wait) noexcept;
  [[nodiscard]] static std::uint32_t count_waiting(const Wait& wait) noexcept;
  bool decide_group(const Waiter& waiter, unsigned outcome, Wakeup& owed) noexcept;
  void rouse(rm_node& whole, Wakeup& owed) noexcept;
  void wake(rm_node& node, Wakeup& owed) noexcept;
  bool swap_waiting(rm_node& node, std::uint64_t sequence, NodeWord outcome, Wakeup& owed) noexcept;
  /// A node that says WAITING as one of a group that was decided says so itself from here on: what
  /// the granter of it would have done next, or what is left to say of the others.
  void settle_member(rm_node& node) noexcept;
  /// Of one that stands for a group of the dead.
  void end_group(rm_node& whole) noexcept;

  // deadlock.cpp
  struct Loan {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    std::uint16_t rank = 0;
    std::uint16_t context = 0;  ///< who moves up
  };
  class Loans {
   public:
    void add(const Loan& loan) noexcept { loans_[count_++] = loan; }
    [[nodiscard]] bool full() const noexcept { return count_ == loans_.size(); }
    [[nodiscard]] std::span<const Loan> view() const noexcept { return {loans_.data(), count_}; }

   private:
    std::array<Loan, 32> loans_{};
    std::size_t count_ = 0;
  };
  void check_deadlock(Context& context, Wait& wait) noexcept;
  [[nodiscard]] bool overtakes(const Wait& wait) const noexcept;
  [[nodiscard]] bool break_cycles(Context& context, Wait& wait, bool only_this) noexcept;
  [[nodiscard]] bool decide_victim(Context& context, Wait& wait) noexcept;
  void look_after(Context& context, Wait& wait, const Loan& loan) noexcept;
  void note_if_late(std::span<const WaitGraph::Member> members, std::size_t victim) noexcept;
  void look_back(Context& context, Wait& wait) noexcept;
  void report_cycle(Context& context, Wait& wait) noexcept;
  void lend(Context& context, std::uint16_t rank, Loans& loans) noexcept;
  [[nodiscard]] static std::uint16_t rank_now(const Wait& wait) noexcept;
  [[nodiscard]] static bool was_lent_to(const Wait& wait) noexcept;
  [[nodiscard]] bool changes_nothing(Context& context, const Wait& wait) const noexcept;
  void inherit(Context& context, Waiter& own) noexcept;

  // service.cpp
  enum class Knock { Served, Delegated, Gone };
  Knock knock(Context& context, std::uint32_t slot, std::uint32_t generation,
              bool waiters) noexcept;
  void service(Context& context, std::uint32_t slot, std::uint32_t generation) noexcept;
  bool grant_exclusive(Wakeup& owed, WaitQueue& queue, rm_slot& slot, StateWord seen,
                       const Waiter& waiter) noexcept;
  bool grant_shared(Wakeup& owed, WaitQueue& queue, rm_slot& slot, StateWord seen,
                    const Waiter& waiter) noexcept;
  bool grant_upgrade(Wakeup& owed, WaitQueue& queue, rm_slot& slot, StateWord seen,
                     const Waiter& waiter) noexcept;
  [[nodiscard]] bool leave_to_owner(Context& context, const WaitQueue& queue,
                                    rm_slot& slot) noexcept;
  void clear_granting(rm_slot& slot, std::uint16_t owner) noexcept;
  [[nodiscard]] unsigned reap_cells(rm_slot& slot, std::uint32_t generation,
                                    std::uint16_t except) noexcept;
  [[nodiscard]] bool outlives_its_holder(const rm_slot& slot, std::uint32_t generation) noexcept;
  void end_hold_of_the_dead(rm_slot& slot, StateWord seen) noexcept;
  [[nodiscard]] bool take_grant_back(std::uint16_t dead, const rm_slot& slot,
                                     std::uint32_t generation, std::uint8_t mode) noexcept;
  [[nodiscard]] static bool needs_quiet(const rm_slot& slot) noexcept {
    return (load_relaxed(slot.attributes) & RM_SLOT_ATTR_QUIESCE) != 0;
  }
  /// seq_cst, as the knock after it: who queues after that is sent away by whoever serves him.
  [[nodiscard]] static bool is_poisoned(const rm_slot& slot) noexcept {
    return (load(slot.attributes) & RM_SLOT_ATTR_POISONED) != 0;
  }

 public:
  /// Wakes who sleeps for the node: on its own futex, or on its client's doorbell, if on that.
  void call(rm_node& node, Wakeup& owed) noexcept;
  /// The one decision about a waiter: WAITING with this sequence number becomes `outcome`. If he
  /// sleeps, his wake is owed. False if it was decided otherwise (I6). Of one of a group it is the
  /// group that is decided (I11), but for what became of the resource: then it is one fewer.
  bool decide(const Waiter& waiter, unsigned outcome, Wakeup& owed) noexcept;
  /// The same, and wakes him at once.
  bool decide(const Waiter& waiter, unsigned outcome) noexcept;

 private:
  // release.cpp
  Result<void> release_exclusive(Context& context, Handle handle) noexcept;
  Result<void> release_shared(Context& context, Handle handle) noexcept;
  void empty(rm_slot& slot, Handle handle, StateWord gone) noexcept;
  void expel_waiters(rm_slot& slot, Handle handle, std::uint8_t outcome) noexcept;
  [[nodiscard]] bool shares(const Context& context, const rm_slot& slot, Handle handle,
                            StateWord seen) const noexcept;
  [[nodiscard]] rm_cell* own_cell(const Context& context, const rm_slot& slot,
                                  Handle handle) const noexcept;

  // fence.cpp
  bool was_fenced(const Context& context, const rm_slot& slot, Handle handle) const noexcept;
  std::unexpected<Error> let_go_of_fenced(Context& context, rm_slot& slot, Handle handle) noexcept;
  [[nodiscard]] Result<HoldKind> hold_named(const Context& context, Handle handle) const noexcept;
  void call_for_help(const Wait& wait) const noexcept;
  bool label(const Context& context, const rm_slot& slot, Grant& grant) const noexcept;

  LockTables t_;
  const Names& names_;
  trace::Recorder recorder_;
  LockOrder order_;
  WaitGraph graph_;
  NodePool nodes_;
  CellPool cells_;
  WaitLedger ledger_;
  alignas(64) Tick tick_;  ///< on a line that nothing else is written to
  /// False on one processor, where whom we wait for can't run meanwhile.
  alignas(64) bool may_spin_;
  std::atomic<bool> over_{false};
  unsigned service_rounds_ = kServiceRounds;
};

template <typename Visit>
void LockEngine::for_each_holder(Handle handle, Visit&& visit) const {
  const rm_slot* slot = t_.slot(handle.slot());
  if (!slot) return;
  const StateWord seen{load(slot->word)};
  if (!seen.is_tenant(handle.generation())) return;
  if (seen.owner() != 0) {
    visit(participant(seen.owner(), handle, HoldKind::Exclusive,
                      Clock::elapsed_ns(load_relaxed(slot->acquired_at))));
  } else if (seen.has(RM_WORD_SHARED)) {
    cells_.for_each(*slot, handle.generation(), [&](const rm_cell& cell, CellWord word) {
      if (word.in_use()) {
        visit(participant(word.context(), handle, HoldKind::Shared,
                          Clock::elapsed_ns(load_relaxed(cell.acquired_at))));
      }
      return true;
    });
  }
}

template <typename Report>
std::uint32_t LockEngine::release_all(Context& context, Report&& report) noexcept {
  std::uint32_t released = 0;
  const auto let_go = [&](std::uint32_t index) {
    const rm_slot& slot = t_.slots[index];
    const Handle handle(index, StateWord{load(slot.word)}.generation(), load_relaxed(slot.tenure));
    const auto kind = held_kind(context, handle);
    if (!kind) {
      // A ref of what was fenced names the context still, as of what was released for it.
      if (was_fenced(context, slot, handle)) ++released;
      return;
    }
    report(handle, *kind);
    if (release(context, handle, *kind)) ++released;
  };
  const HoldList holds(context);
  const std::uint64_t used = holds.bitmap();
  for (unsigned position = 0; position < RM_CONTEXT_HOLDS; ++position) {
    if ((used >> position & 1) == 0) continue;
    const auto index = static_cast<std::uint32_t>(holds.entry(position) >> RM_HOLD_SLOT_SHIFT);
    if (index < t_.slot_count) let_go(index);
  }
  // The list is full at 64; holds beyond it are found in the words, which are the truth (I2).
  if (holds.overflow() != 0) {
    for (std::uint32_t index = 0; index < t_.slot_count; ++index) let_go(index);
  }
  return released;
}

}  // namespace resmgr::lock
