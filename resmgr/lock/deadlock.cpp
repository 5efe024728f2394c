// SPDX-License-Identifier: Apache-2.0
//
// What a waiter does once it is visible: looks for cycles, decides their victims, and lends its
// rank to those it waits for.
#include <algorithm>
#include <bit>
#include <memory>
#include <new>
#include <span>

#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/executor.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::lock {

// I7: after the node is visible. Victims are decided before anybody sleeps on a cycle.
void LockEngine::check_deadlock(Context& context, Wait& wait) noexcept {
  wait.rank_looked_at = rank_now(wait);
  if (changes_nothing(context, wait)) return;
  // Its other waits were looked at when they began. Unless it overtakes somebody here, who waits
  // for it from now on: then those who wait for him wait for what its other waits are stuck in.
  const bool alone = wait.is_for_any() || wait.older == nullptr || overtakes(wait);
  // A borrower's own chain may have grown before he had the loan to pass on: so again, until
  // nothing is left to lend. Each round raises somebody; the bound is for memory that others write.
  for (std::uint32_t round = 0; round < t_.context_count; ++round) {
    if (!break_cycles(context, wait, !alone) || planted::kNoLoan) return;
    Loans loans;
    lend(context, rank_now(wait), loans);
    if (loans.view().empty()) return;
    for (const Loan& loan : loans.view()) {
      if (recorder_.enabled(RM_TRACE_CONTENDED)) {
        trace(context, RM_TRACE_LEND, Handle(loan.slot, loan.generation), 0, loan.rank);
      }
      knock(context, loan.slot, loan.generation, false);
      look_after(context, wait, loan);
    }
  }
}

// Whom the borrower overtook waits for him now: the lender made that edge, so the lender looks. A
// loan outlives the lender's wait, so he does even if that is decided by now, or late. Only memory
// that others wrote takes longer than this grace; then, or if the lender dies before he has looked,
// the borrower does it: see sleep_on().
void LockEngine::look_after(Context& context, Wait& wait, const Loan& loan) noexcept {
  const std::uint64_t until = wait.deadline_ns == kNoDeadline || planted::kHurriedLender
                                  ? wait.deadline_ns
                                  : std::max(wait.deadline_ns, monotonic_ns() + kBoundedSleepNs);
  while (graph_.find_cycle(context.scratch, loan.context, nullptr, until)) {
    (void)decide_victim(context, wait);
    if (planted::kHurriedLender && !NodeWord{load(wait.waiter.node->word)}.waiting()) return;
  }
}

// Nobody waits for a context that holds nothing, waits for nothing else, and keeps no task from
// going on, but those it overtakes in this queue, and they wait for the same holders anyway: no new
// cycle. It only matters whether there is anyone to lend a priority to.
bool LockEngine::changes_nothing(Context& context, const Wait& wait) const noexcept {
  const Wait& oldest = wait.is_for_any() ? wait.members.front() : wait;
  if (oldest.older || ExecutorScope::inside() || !HoldList(context).empty()) return false;
  const auto has_a_waiting_holder = [&](const Wait& in) {
    const StateWord seen{load(in.slot->word)};
    const rm_context* owner = t_.context(seen.owner());
    return seen.has(RM_WORD_SHARED) || (owner && load(owner->wait_link) != 0);
  };
  if (!wait.is_for_any()) return !has_a_waiting_holder(wait);
  return std::ranges::none_of(wait.members, has_a_waiting_holder);
}

// Whether somebody waits in this queue behind a wait that came after his.
bool LockEngine::overtakes(const Wait& wait) const noexcept {
  bool found = false;
  const Waiter& own = wait.waiter;
  WaitQueue(t_, *wait.slot, own.slot, own.generation)
      .for_each_beside(own.node, [&](const Waiter& waiter) {
        found = conflicts(own.mode, waiter.mode) && own.rank.before(waiter.rank);
        return !found;
      });
  return found;
}

// Decides a victim for each cycle through the caller, or, if `only_this` says so, through this wait
// of its. Returns whether that goes on.
bool LockEngine::break_cycles(Context& context, Wait& wait, bool only_this) noexcept {
  const auto waits = [&] { return NodeWord{load(wait.waiter.node->word)}.waiting(); };
  Waiter own;
  const Waiter* const only = only_this ? &own : nullptr;
  // As it is by now: its rank may have been raised.
  const auto find = [&] {
    return (!only || read_waiter(t_, *wait.waiter.node, own)) &&
           graph_.find_cycle(context.scratch, context.id, nullptr, wait.deadline_ns, only);
  };
  while (find()) {
    if (decide_victim(context, wait)) return false;
    // On a second cycle perhaps; unless we are decided ourselves.
    if (!waits()) return false;
  }
  return waits();
}

// Of the cycle that was just found. Returns whether it is the caller's own wait.
bool LockEngine::decide_victim(Context& context, Wait& wait) noexcept {
  const auto members = graph_.cycle(context.scratch);
  const std::size_t chosen = planted::kVictimSelf ? 0 : WaitGraph::choose_victim(members);
  const Waiter victim = members[chosen].waiter;
  const bool emergency =
      std::any_of(members.begin(), members.end(), [](const auto& m) { return m.waiter.emergency; });
  const rm_node* const decided = victim.group != 0 ? t_.node(victim.group) : victim.node;
  const bool self = decided == wait.waiter.node;
  if (self) report_cycle(context, wait);
  const unsigned outcome = emergency && !victim.emergency ? RM_NODE_PREEMPTED : RM_NODE_DEADLOCK;
  if (!decide(victim, outcome)) {
    if (self) wait.report.reset();
    return false;
  }
  atomic(t_.region->deadlocks).fetch_add(1, std::memory_order_relaxed);
  if (self) note_if_late(members, chosen);
  return self;
}

// Of the victim's own wait, which still holds its part of the cycle, so that no other member can go
// on because of the decision. One that stopped waiting between our second pass and the decision had
// broken the cycle already: the victim was one too many, which is counted (I7).
void LockEngine::note_if_late(std::span<const WaitGraph::Member> members,
                              std::size_t victim) noexcept {
  bool late = false;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Waiter& then = members[i].waiter;
    Waiter now;
    late = late || (i != victim && (!read_waiter(t_, *then.node, now) ||
                                    now.word.sequence() != then.word.sequence()));
  }
  if (late) atomic(t_.region->late_victims).fetch_add(1, std::memory_order_relaxed);
}

// A victim that another detector chose looks back: it still holds its part, so the cycle stands, or
// was broken by others too. (Where a place in a queue closed it, perhaps by one who was served past
// that place since: counted as late as well, for the two look the same from here.)
void LockEngine::look_back(Context& context, Wait& wait) noexcept {
  const auto is_in_a_cycle = [&](const Wait& in) {
    Waiter mine = in.waiter;
    mine.rank.priority = load_relaxed(mine.node->priority);
    return graph_.find_cycle(context.scratch, context.id, &mine);
  };
  // Of several that he waited for, one of the cycles.
  if (wait.is_for_any() ? std::ranges::any_of(wait.members, is_in_a_cycle) : is_in_a_cycle(wait)) {
    report_cycle(context, wait);
  } else {
    atomic(t_.region->late_victims).fetch_add(1, std::memory_order_relaxed);
  }
}

// Turns the cycle in the scratch memory into what the caller is told.
void LockEngine::report_cycle(Context& context, Wait& wait) noexcept {
  const auto members = graph_.cycle(context.scratch);
  try {
    wait.report = std::make_unique<ErrorDetail>();
    wait.report->cycle.reserve(members.size());
    for (const WaitGraph::Member& member : members) {
      const Handle handle(member.waiter.slot, member.waiter.generation);
      const HoldKind kind =
          member.waiter.mode == RM_WAIT_SHARED ? HoldKind::Shared : HoldKind::Exclusive;
      wait.report->cycle.push_back(participant(member.waiter.context, handle, kind,
                                               Clock::elapsed_ns(member.waiter.enqueued_at)));
    }
  } catch (const std::bad_alloc&) {
    wait.report.reset();  // the verdict stands without its explanation
  }
}

// Who waits for something this context holds lends it his place in the queue it joins now.
void LockEngine::inherit(Context& context, Waiter& own) noexcept {
  const HoldList holds(context);
  std::uint16_t best = own.base_priority;
  for (std::uint64_t used = holds.bitmap(); used != 0; used &= used - 1) {
    const auto position = static_cast<unsigned>(std::countr_zero(used));
    const auto index = static_cast<std::uint32_t>(holds.entry(position) >> RM_HOLD_SLOT_SHIFT);
    rm_slot* slot = t_.slot(index);
    if (!slot || !StateWord{load(slot->word)}.has(RM_WORD_WAITERS)) continue;
    const std::uint32_t generation = StateWord{load(slot->word)}.generation();
    WaitQueue(t_, *slot, index, generation).for_each_beside(own.node, [&](const Waiter& waiter) {
      best = std::max(best, waiter.rank.priority);
      return true;
    });
  }
  std::uint16_t priority = load(own.node->priority);
  while (priority < best && !cas(own.node->priority, priority, best)) {
  }
  own.rank.priority = std::max(priority, best);
}

// By now, with what was lent to it.
std::uint16_t LockEngine::rank_now(const Wait& wait) noexcept {
  std::uint16_t rank = load_relaxed(wait.waiter.node->priority);
  for (const Wait& member : wait.members) {
    rank = std::max(rank, load_relaxed(member.waiter.node->priority));
  }
  return rank;
}

// Those who hold what we wait for, and wait themselves, get our rank; and so on along the chain. A
// loan lasts until the borrower's wait ends. So many are raised in one go; the others when their
// own chain is walked next.
void LockEngine::lend(Context& context, std::uint16_t rank, Loans& loans) noexcept {
  for (const WaitGraph::Step& step : graph_.steps(context.scratch).subspan(1)) {
    if (!step.by_holds || loans.full()) continue;
    graph_.for_each_wait(step.context, [&](const Waiter& other) {
      rm_slot* slot = t_.slot(other.slot);
      if (!slot) return true;
      std::uint16_t priority = load(other.node->priority);
      while (priority < rank) {
        if (!cas(other.node->priority, priority, rank)) continue;
        atomic(slot->attributes).fetch_or(static_cast<std::uint8_t>(RM_SLOT_ATTR_RESORT));
        loans.add({other.slot, other.generation, rank, step.context});
        break;
      }
      return !loans.full();
    });
  }
}

}  // namespace resmgr::lock
