// SPDX-License-Identifier: Apache-2.0
//
// Deadlocks where somebody waits for any of several: a cycle alone is none there.
//
// A context is stuck if one of its waits is: one for a single resource if somebody who blocks it is
// stuck, one for any of several if that is so for each of them. Of the contexts that a walk
// reached, those who can go on are taken out until there are none; what is left is stuck. A
// deadlock that was there before the start began to wait has its own detectors: it is left to them,
// and those who only wait for it are taken to go on. What is left then reaches the start, and it
// that, so no detector that starts elsewhere sees another set, or another victim.
//
// All of it may move meanwhile. So each of those who are stuck is remembered with a wait that makes
// it so, and looked at again: the same waits, by their sequence numbers, blocked in the same way,
// waited at the same time, in between. A deadlock does not move: whoever looks after its last edge
// was made finds it (I7).
#include "resmgr/base/clock.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/wait_graph.hpp"

namespace resmgr::lock {

WaitGraph::Walk WaitGraph::reduce(Scratch& s, std::uint16_t start,
                                  std::uint64_t deadline_ns) const noexcept {
  for (std::uint32_t i = 0; i < s.step_count; ++i) s.stuck.add(s.steps[i].context);
  Walk result = Walk::Acyclic;
  while (release_the_free(s, deadline_ns) && s.stuck.has(start)) {
    collect_around(s, start);
    bool all_around = true;
    for (std::uint32_t i = 0; i < s.step_count; ++i) {
      const std::uint16_t context = s.steps[i].context;
      if (!s.stuck.has(context) || s.around.has(context)) continue;
      s.stuck.remove(context);
      all_around = false;
    }
    if (!all_around) continue;
    result = find_members(s) && confirm_members(s) ? Walk::Cycle : Walk::Moved;
    break;
  }
  for (std::uint32_t i = 0; i < s.step_count; ++i) {
    s.stuck.remove(s.steps[i].context);
    s.around.remove(s.steps[i].context);
  }
  return result;
}

// Those found last wait for nobody, mostly, so from there. False if there was no time for it.
bool WaitGraph::release_the_free(Scratch& s, std::uint64_t deadline_ns) const noexcept {
  for (bool changed = true; changed;) {
    if (deadline_ns != kNoDeadline && monotonic_ns() >= deadline_ns) return false;
    changed = false;
    for (std::uint32_t i = s.step_count; i-- != 0;) {
      const std::uint16_t context = s.steps[i].context;
      if (!s.stuck.has(context) || is_stuck_in(context, s.stuck, s.stuck)) continue;
      s.stuck.remove(context);
      changed = true;
    }
  }
  return true;
}

// Of those who are stuck, all that are so because the start is.
void WaitGraph::collect_around(Scratch& s, std::uint16_t start) const noexcept {
  for (std::uint32_t i = 0; i < s.step_count; ++i) s.around.remove(s.steps[i].context);
  s.around.add(start);
  for (bool changed = true; changed;) {
    changed = false;
    for (std::uint32_t i = s.step_count; i-- != 0;) {
      const std::uint16_t context = s.steps[i].context;
      if (!s.stuck.has(context) || s.around.has(context)) continue;
      changed |= is_stuck_in(context, s.stuck, s.around) && s.around.add(context);
    }
  }
}

// Whether one of its waits is stuck, and blocked by one of those `in`.
bool WaitGraph::is_stuck_in(std::uint16_t context, const Contexts& stuck,
                            const Contexts& in) const noexcept {
  bool found = false;
  for_each_stuck_wait(context, stuck, [&](const Waiter& waiter) {
    found = blocker_in(waiter, in) != 0;
    return !found;
  });
  return found;
}

// Calls `visit(const Waiter&)` for each wait of the context that is stuck until it returns false;
// of a group for each member.
template <typename Visit>
void WaitGraph::for_each_stuck_wait(std::uint16_t context, const Contexts& stuck,
                                    Visit&& visit) const noexcept {
  // The members of a group stand together in the list.
  std::uint32_t group = 0;
  bool group_is_stuck = false;
  for_each_wait(context, [&](const Waiter& waiter) {
    if (waiter.group == 0 || planted::kEveryAlternative) {
      return blocker_in(waiter, stuck) == 0 || visit(waiter);
    }
    if (waiter.group != group) {
      group = waiter.group;
      group_is_stuck = is_group_stuck(waiter, stuck);
    }
    return !group_is_stuck || visit(waiter);
  });
}

// One of them who blocks the waiter; 0 if none does.
std::uint16_t WaitGraph::blocker_in(const Waiter& waiter, const Contexts& contexts) const noexcept {
  std::uint16_t found = 0;
  for_each_blocker(waiter, [&](std::uint16_t context, bool) {
    // Ids come from shared memory.
    if (context <= t_.context_count && contexts.has(context)) found = context;
    return found == 0;
  });
  return found;
}

// Whether each member of this one's group is blocked by one who is stuck. While the group waits its
// members follow each other in their context's list. Before all of them do it has no first one: its
// owner is about to look for himself.
bool WaitGraph::is_group_stuck(const Waiter& member, const Contexts& stuck) const noexcept {
  const rm_node* const whole = t_.node(member.group);
  if (!whole) return false;
  std::uint32_t link = load(whole->cell_link);
  bool waits = false;
  for (std::uint32_t steps = 0; steps < t_.node_count; ++steps) {
    rm_node* const node = t_.node(link);
    if (!node || load_acquire(node->group) != member.group) break;
    Waiter waiter;
    // One that does not wait is no way to go on: its resource is gone.
    if (read_waiter(t_, *node, waiter) && waiter.group == member.group) {
      if (blocker_in(waiter, stuck) == 0) return false;
      waits = true;
    }
    link = load_acquire(node->context_next_link);
  }
  const NodeWord again{load(whole->word)};
  return waits && again.waiting() && again.sequence() == member.group_word.sequence();
}

// Of each the wait that is the best victim, so that all detectors choose among the same.
bool WaitGraph::find_members(Scratch& s) const noexcept {
  s.member_count = 0;
  for (std::uint32_t i = 0; i < s.step_count; ++i) {
    const std::uint16_t context = s.steps[i].context;
    if (!s.stuck.has(context)) continue;
    Member found;
    for_each_stuck_wait(context, s.stuck, [&](const Waiter& waiter) {
      const std::uint16_t blocker = blocker_in(waiter, s.stuck);
      if (blocker == 0) return true;
      if (found.blocked_by == 0 || is_better_victim(waiter, found.waiter)) {
        found = {waiter, blocker};
      }
      return true;
    });
    if (found.blocked_by == 0) return false;
    s.members[s.member_count++] = found;
  }
  return true;
}

bool WaitGraph::confirm_members(const Scratch& s) const noexcept {
  const std::span<const Member> members(s.members, s.member_count);
  const auto is_the_same = [&](const Member& member) {
    Waiter again;
    return read_waiter(t_, *member.waiter.node, again) &&
           again.word.sequence() == member.waiter.word.sequence();
  };
  const auto is_stuck_still = [&](const Member& member) {
    return member.waiter.group != 0 && !planted::kEveryAlternative
               ? is_group_stuck(member.waiter, s.stuck)
               : still_blocks(member.waiter, member.blocked_by, nullptr);
  };
  if (planted::kNoSecondPass) return true;
  // Whoever went on while the others were looked at shows in the third.
  return std::ranges::all_of(members, is_the_same) &&
         std::ranges::all_of(members, is_stuck_still) && std::ranges::all_of(members, is_the_same);
}

}  // namespace resmgr::lock
