// SPDX-License-Identifier: Apache-2.0
//
// Waiting for any of several: a waiter in each queue, and one word that decides them all (I11).
//
// The steps are those of tests/model/group.pml. Whoever grants a member swaps the group's word
// first, which says which one it is, then the member's own: so two granters of two members can't
// both succeed, and one who is killed between the two steps leaves behind what everybody who looks
// at the member can complete. The members that were not taken are withdrawn like those of who gave
// up.
#include <algorithm>
#include <utility>

#include "resmgr/lock/engine.hpp"
#include "resmgr/lock/executor.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::lock {

Result<Grant> LockEngine::acquire_any(Context& context, std::span<const Handle> candidates,
                                      const Request& request, Wait& wait,
                                      std::span<Wait> members) noexcept {
  Grant grant;
  const BlockedExecutor blocked(t_, context);
  auto at_once = begin_any(context, candidates, request, wait, members, grant);
  if (!at_once) return std::unexpected(std::move(at_once.error()));
  if (*at_once) return grant;
  return conclude(context, wait, await(context, wait));
}

Result<bool> LockEngine::begin_any(Context& context, std::span<const Handle> candidates,
                                   const Request& request, Wait& wait, std::span<Wait> members,
                                   Grant& grant) noexcept {
  if (candidates.empty()) return fail(ErrorCode::InvalidArgument, "nothing to acquire any of");
  wait.request = request;
  auto at_once = any_at_once(context, candidates, request, wait, grant);
  if (!at_once) return count(candidates.front(), std::move(at_once.error()));
  if (*at_once) return at_once;
  if (members.size() < candidates.size()) {
    return fail(ErrorCode::InvalidArgument, "room for the members of a wait");
  }
  if (auto queued = publish_any(context, candidates, wait, members); !queued) {
    return count(candidates.front(), std::move(queued.error()));
  }
  return false;
}

// False where it has to wait, and may. Nothing is wrong with one candidate at least then.
Result<bool> LockEngine::any_at_once(Context& context, std::span<const Handle> candidates,
                                     const Request& request, Wait& wait, Grant& grant) noexcept {
  const bool waits = request.mode != AcquisitionMode::NonBlocking;
  Handle possible;
  ErrorCode refusal{};
  // Whoever left work behind at one of them may have died: the second time it is done for him.
  for (const bool helps : {false, true}) {
    for (const Handle handle : candidates) {
      rm_slot* const slot = t_.slot(handle.slot());
      const ErrorCode code = slot && !handle.is_null()
                                 ? check_request(context, *slot, handle, request)
                                 : ErrorCode::StaleHandle;
      if (code != ErrorCode{}) {
        if (refusal == ErrorCode{}) refusal = code;
        continue;
      }
      if (!helps && waits && !request.orderless) {
        auto known = order_.learn(context, load_relaxed(slot->class_id), request.place);
        if (!known) return std::unexpected(std::move(known.error()));
      }
      if (possible.is_null()) possible = handle;
      if (helps) help_if_idle(context, *slot, handle);
      if (!attempt(context, *slot, handle, request, grant)) continue;
      wait.handle = handle;
      return true;
    }
  }
  if (possible.is_null()) return refuse(refusal, candidates.front(), context);
  if (waits) return false;
  const bool barred = StateWord{load(t_.slots[possible.slot()].word)}.has(RM_WORD_QUARANTINED);
  return refuse(barred ? ErrorCode::Quarantined : ErrorCode::WouldBlock, possible, context);
}

// The group first: a member that shows belongs to it. Then they join one by one, until one of them
// is granted. Errors: CapacityExceeded, and Deadlock where the context waits for each of them
// already.
Result<void> LockEngine::publish_any(Context& context, std::span<const Handle> candidates,
                                     Wait& wait, std::span<Wait> members) noexcept {
  wait.handle = candidates.front();
  if (!publish_whole(context, wait)) return out_of_nodes(t_);
  Request request = wait.request;
  request.ticket = wait.waiter.rank.ticket;
  const std::uint8_t mode = mode_of(request.kind);
  std::size_t joined = 0;
  Result<void> last;
  for (const Handle handle : candidates) {
    rm_slot* const slot = t_.slot(handle.slot());
    if (!slot || handle.is_null() ||
        check_request(context, *slot, handle, request) != ErrorCode{}) {
      continue;
    }
    Wait& member = members[joined];
    member.handle = handle;
    member.request = request;
    member.whole = &wait;
    last = join(context, *slot, mode, member);
    if (!last && last.error() == ErrorCode::CapacityExceeded) break;
    if (!last) continue;
    if (member.cell) cells_.set_apart(context, *member.cell);
    ++joined;
    if (!NodeWord{load(wait.waiter.node->word)}.waiting()) break;
  }
  wait.members = members.first(joined);
  if (joined == 0) {
    leave_whole(context, wait);
    wait.slot = nullptr;
    if (!last) return last;
    return fail(ErrorCode::StaleHandle);
  }
  const bool incomplete = !last && last.error() == ErrorCode::CapacityExceeded;
  if (incomplete && give_up(wait, RM_NODE_CANCELLED)) {
    withdraw(context, wait);
    wait.slot = nullptr;
    return last;
  }
  wait.slot = wait.members.front().slot;
  wait.handle = wait.members.front().handle;
  wait.members_waiting = static_cast<std::uint32_t>(joined);
  // From here on walkers find all of them, and who made the last edge looks for a cycle (I7).
  store(wait.waiter.node->cell_link, t_.link_of(wait.members.back().waiter.node));
  check_deadlock(context, wait);
  if (count_waiting(wait) != wait.members_waiting) look_at_members(context, wait);
  // The holders of one are enough to be asked, and that is the first one wanted.
  if (wait.waiter.emergency && !is_decided(wait)) call_for_help(wait.members.front());
  return {};
}

// The node that stands for all. False without one.
bool LockEngine::publish_whole(Context& context, Wait& wait) noexcept {
  rm_node* const node = nodes_.take(context);
  if (!node) return false;
  // In no list at all.
  nodes_.unlinked(*node);
  const Request& request = wait.request;
  wait.deadline_ns = wait.timed() ? request.deadline_ns : kNoDeadline;
  store_release(node->slot, ~std::uint32_t{0});
  store_release(node->generation, 0u);
  store_release(node->ticket, request.ticket != 0 ? request.ticket : take_ticket());
  store_release(node->enqueued_at, request.asked_at != 0 ? request.asked_at : Clock::now());
  store_release(node->cell_link, 0u);
  store_release(node->context, context.id);
  store_release(node->priority, std::uint16_t{0});
  store_release(node->base_priority, std::uint16_t{0});
  store_release(node->wake_target, wait.wake_target);
  store_release(node->mode, mode_of(request.kind));
  store_release(node->flags, static_cast<std::uint8_t>(RM_NODE_FLAG_GROUP));
  store_release(node->group, 0u);
  const NodeWord published = NodeWord{load_relaxed(node->word)}.next_group();
  wait.waiter = {.node = node,
                 .word = published,
                 .slot = ~std::uint32_t{0},
                 .context = context.id,
                 .mode = mode_of(request.kind),
                 .emergency = request.mode == AcquisitionMode::Emergency,
                 .rank = {.ticket = load_relaxed(node->ticket)},
                 .enqueued_at = load_relaxed(node->enqueued_at)};
  store(node->word, published.bits);
  return true;
}

void LockEngine::leave_whole(Context& context, Wait& wait) noexcept {
  rm_node& node = *wait.waiter.node;
  store(node.word, NodeWord{load(node.word)}.to(RM_NODE_IDLE).bits);
  nodes_.leave(context, node);
}

bool LockEngine::decide_group(const Waiter& waiter, unsigned outcome, Wakeup& owed) noexcept {
  rm_node* const whole = t_.node(waiter.group);
  if (!whole) return false;
  const auto decide_member = [&] {
    return swap_waiting(*waiter.node, waiter.word.sequence(), waiter.word.to(outcome), owed);
  };
  const auto decide_all = [&](NodeWord decided) {
    return swap_waiting(*whole, waiter.group_word.sequence(), decided, owed);
  };
  switch (outcome) {
    case RM_NODE_REMOVED:
    case RM_NODE_OWNER_DIED:
    case RM_NODE_QUARANTINED: {
      const bool first = decide_member();
      rouse(*whole, owed);
      return first;
    }
    case RM_NODE_GRANTED: {
      if (planted::kOwnWords && !decide_member()) return false;
      const bool first = decide_all(waiter.group_word.to_grant_of(t_.link_of(waiter.node)));
      if (!first && !planted::kOwnWords) return false;
      // What the group says already, see settle_member().
      (void)decide_member();
      return true;
    }
    default:
      return decide_all(waiter.group_word.to(outcome));
  }
}

// Who sleeps for a group is to look at its members again. His futex changes: if he has looked
// already, and is about to sleep, he does not.
void LockEngine::rouse(rm_node& whole, Wakeup& owed) noexcept {
  std::uint64_t word = load(whole.word);
  while (NodeWord{word}.waiting() && NodeWord{word}.asleep()) {
    if (!cas(whole.word, word, NodeWord{word}.to(RM_NODE_WAITING).bits)) continue;
    wake(whole, owed);
    return;
  }
}

void LockEngine::settle_member(rm_node& node) noexcept {
  std::uint64_t word = load(node.word);
  const unsigned state = state_of(t_, node, NodeWord{word});
  // Fails if the node is in another wait by now, or says so already.
  if (NodeWord{word}.waiting() && state != RM_NODE_WAITING) {
    (void)cas(node.word, word, NodeWord{word}.to(state).bits);
  }
}

void LockEngine::end_group(rm_node& whole) noexcept {
  if ((load(whole.flags) & RM_NODE_FLAG_GROUP) == 0) return;
  const NodeWord word{load(whole.word)};
  Wakeup owed;
  (void)swap_waiting(whole, word.sequence(), word.to(RM_NODE_CANCELLED), owed);
}

// Of a group that was granted: the member that was, with all that makes it a wait like others. Null
// where it is none of them.
Wait* LockEngine::take_member(Context& context, Wait& wait) noexcept {
  const NodeWord granted{load(wait.waiter.node->word)};
  const auto taken = std::ranges::find_if(wait.members, [&](const Wait& member) {
    return granted.grants(t_.link_of(member.waiter.node));
  });
  if (taken != wait.members.end()) settle_member(*taken->waiter.node);
  for (Wait& member : wait.members) {
    if (&member != std::to_address(taken)) withdraw(context, member);
  }
  leave_whole(context, wait);
  if (taken == wait.members.end()) return nullptr;
  wait.handle = taken->handle;
  return std::to_address(taken);
}

std::uint32_t LockEngine::count_waiting(const Wait& wait) noexcept {
  return static_cast<std::uint32_t>(std::ranges::count_if(wait.members, [](const Wait& member) {
    return NodeWord{load(member.waiter.node->word)}.waiting();
  }));
}

// After one was removed there are fewer ways to go on: perhaps none, perhaps one that leads into a
// cycle. Readers may have become blockers, see look_again().
void LockEngine::look_at_members(Context& context, Wait& wait) noexcept {
  const std::uint32_t waiting = count_waiting(wait);
  if (waiting == 0) {
    // Of a group that is decided as well this does nothing.
    const NodeWord first{load(wait.members.front().waiter.node->word)};
    (void)decide(wait.waiter, first.state());
    return;
  }
  const bool gated = std::ranges::any_of(wait.members, [](const Wait& member) {
    return member.waiter.mode == RM_WAIT_SHARED &&
           StateWord{load(member.slot->word)}.has(RM_WORD_QUARANTINED);
  });
  if (waiting == std::exchange(wait.members_waiting, waiting) && !gated) return;
  check_deadlock(context, wait);
}

}  // namespace resmgr::lock
