// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/wait_graph.hpp"

#include <algorithm>

#include "resmgr/base/clock.hpp"

namespace resmgr::lock {

namespace {

constexpr std::size_t align_line(std::size_t bytes) noexcept { return (bytes + 63) / 64 * 64; }
constexpr std::size_t bitmap_bytes(std::size_t ids) noexcept {
  return align_line((ids + 63) / 64 * 8);
}

}  // namespace

std::size_t WaitGraph::scratch_bytes(std::uint32_t contexts) noexcept {
  const std::size_t ids = std::size_t{contexts} + 1;
  return align_line(sizeof(Scratch)) + 3 * bitmap_bytes(ids) + align_line(ids * sizeof(Step)) +
         ids * sizeof(Member);
}

WaitGraph::Scratch* WaitGraph::view(const Mapping& mapping) const noexcept {
  const std::size_t ids = std::size_t{t_.context_count} + 1;
  auto* scratch = reinterpret_cast<Scratch*>(mapping.data());
  std::byte* at = mapping.data() + align_line(sizeof(Scratch));
  for (Contexts* contexts : {&scratch->visited, &scratch->stuck, &scratch->around}) {
    *contexts = Contexts(reinterpret_cast<std::uint64_t*>(at));
    at += bitmap_bytes(ids);
  }
  scratch->steps = reinterpret_cast<Step*>(at);
  at += align_line(ids * sizeof(Step));
  scratch->members = reinterpret_cast<Member*>(at);
  return scratch;
}

std::span<const WaitGraph::Member> WaitGraph::cycle(const Mapping& scratch) const noexcept {
  const Scratch* view_of = view(scratch);
  return {view_of->members, view_of->member_count};
}

std::span<const WaitGraph::Step> WaitGraph::steps(const Mapping& scratch) const noexcept {
  const Scratch* view_of = view(scratch);
  return {view_of->steps, view_of->step_count};
}

// What for_each_wait() and for_each_blocker() would find, and as they would: each thing that may
// move is looked at again after what it covers.
[[gnu::always_inline]] inline WaitGraph::SoleWait WaitGraph::sole_wait(
    std::uint16_t context) const noexcept {
  const rm_context* const record = t_.context(context);
  if (!record) return {};
  const std::uint32_t waits = load(record->waits_seq);
  const std::uint32_t link = load(record->wait_link);
  if (link == 0) return {.word = {}, .none = true};
  const rm_node* const node = t_.node(link);
  if (!node || (waits & 1u) != 0) return {};
  const NodeWord word{load(node->word)};
  rm_slot* const slot = t_.slot(load_acquire(node->slot));
  const std::uint32_t generation = load_acquire(node->generation);
  // A shared request may have been offered a cell.
  if (!word.waiting() || !slot || load_acquire(node->context) != context ||
      load_acquire(node->mode) == RM_WAIT_SHARED || load_acquire(node->context_next_link) != 0 ||
      load_acquire(node->group) != 0) {
    return {};
  }
  const std::uint32_t queue = load(slot->queue_seq);
  const StateWord held{load(slot->word)};
  const std::uint32_t head = load(slot->queue_head_link);
  const std::uint32_t inbox = load(slot->inbox_link);
  const bool alone = inbox == 0 ? head == link : head == 0 && inbox == link;
  if (!held.is_tenant(generation) || held.has_any(RM_WORD_SHARED | RM_WORD_GRANTING) ||
      held.owner() == context || !alone || load_acquire(node->next_link) != 0 ||
      (queue & 1u) != 0 || load(slot->queue_seq) != queue) {
    return {};
  }
  if (stuck_in(t_, held.owner()) != 0) return {};
  const NodeWord again{load(node->word)};
  if (!again.waiting() || again.sequence() != word.sequence() || load(record->waits_seq) != waits) {
    return {};
  }
  return {.word = word, .link = link, .holder = held.owner()};
}

WaitGraph::Walk WaitGraph::walk(Scratch& s, std::uint16_t start, const Waiter* as_if,
                                const Waiter* only, std::uint64_t deadline_ns) noexcept {
  s.step_count = 1;
  s.member_count = 0;
  s.steps[0] = {.context = start, .by_holds = true};
  Walk result = Walk::Acyclic;
  std::uint16_t from = start;
  bool reduces = false;
  for (std::uint32_t i = 0; i < s.step_count && result == Walk::Acyclic; ++i) {
    // Not at every step: the clock costs as much as an edge.
    if (i % 16 == 15 && deadline_ns != kNoDeadline && monotonic_ns() >= deadline_ns) break;
    const bool by_holds = s.steps[i].by_holds;
    const bool by_any = s.steps[i].by_any;
    const Waiter* const first = i != 0 ? nullptr : as_if ? as_if : only;
    const SoleWait sole = as_if || first ? SoleWait{} : sole_wait(from);
    if (sole.holder != 0 && sole.holder != start && sole.holder <= t_.context_count) [[likely]] {
      const bool reached = s.visited.add(sole.holder);
      if (reached) {
        s.steps[s.step_count++] = {.node_word = sole.word.bits,
                                   .node_link = sole.link,
                                   .parent = i,
                                   .context = sole.holder,
                                   .by_holds = by_holds,
                                   .by_any = by_any};
      }
      // In a chain the next step is this one: what was just stored need not be loaded again.
      from = reached && i + 2 == s.step_count ? sole.holder : s.steps[i + 1].context;
      continue;
    }
    if (sole.none) {
      from = s.steps[i + 1].context;
      continue;
    }
    const auto follow = [&](const Waiter& waiter) {
      const bool any = by_any || waiter.group != 0;
      for_each_blocker_as_if(waiter, as_if, [&](std::uint16_t to, bool holder) {
        if (to == start && any && !as_if) {
          reduces = true;
          return true;
        }
        if (to == start) {
          result = confirm(s, i, waiter, as_if) ? Walk::Cycle : Walk::Moved;
          return false;
        }
        // Ids come from shared memory: one outside the table is nobody.
        if (to > t_.context_count || !s.visited.add(to)) return true;
        s.steps[s.step_count++] = {.node_word = waiter.word.bits,
                                   .node_link = t_.link_of(waiter.node),
                                   .parent = i,
                                   .context = to,
                                   .by_holds = by_holds && holder,
                                   .by_any = any};
        return true;
      });
      return result == Walk::Acyclic;
    };
    if (first) {
      follow(*first);
    } else {
      for_each_wait(from, follow);
    }
    from = s.steps[i + 1].context;  // of no use if this was the last
  }
  for (std::uint32_t i = 1; i < s.step_count; ++i) s.visited.remove(s.steps[i].context);
  if (reduces && result == Walk::Acyclic) result = reduce(s, start, deadline_ns);
  return result;
}

// Second pass: every edge of the cycle once more. If all are as they were, they existed together,
// for a blocked context can't release what it holds nor give up its place (I8).
bool WaitGraph::confirm(Scratch& s, std::uint32_t last, const Waiter& closing,
                        const Waiter* as_if) const noexcept {
  const std::uint16_t start = s.steps[0].context;
  std::uint32_t count = 0;
  s.members[count++] = {closing, start};
  for (std::uint32_t at = last; at != 0; at = s.steps[at].parent) {
    rm_node* node = t_.node(s.steps[at].node_link);
    const bool own = as_if && s.steps[at].parent == 0;
    Waiter waiter;
    if (own) {
      waiter = *as_if;
    } else if (!node || !read_waiter(t_, *node, waiter) ||
               waiter.word.sequence() != NodeWord{s.steps[at].node_word}.sequence()) {
      return false;
    }
    s.members[count++] = {waiter, s.steps[at].context};
  }
  // Collected from the end: the start's own wait is now the last; turn it round.
  std::reverse(s.members, s.members + count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Member& member = s.members[i];
    Waiter again;
    const bool own = (as_if && i == 0) || planted::kNoSecondPass;
    if (!own && (!read_waiter(t_, *member.waiter.node, again) ||
                 again.word.sequence() != member.waiter.word.sequence())) {
      return false;
    }
    if (!planted::kNoSecondPass && !still_blocks(member.waiter, member.blocked_by, as_if)) {
      return false;
    }
  }
  s.member_count = count;
  return true;
}

bool WaitGraph::asks_for(std::uint16_t context, std::uint32_t slot,
                         std::uint32_t generation) const noexcept {
  bool found = false;
  for_each_node(context, [&](const rm_node& node) {
    const NodeWord word{load(node.word)};
    const unsigned state = state_of(t_, node, word);
    if (state != RM_NODE_WAITING && state != RM_NODE_GRANTED) return true;
    found = load_acquire(node.context) == context && load_acquire(node.slot) == slot &&
            load_acquire(node.generation) == generation &&
            NodeWord{load_relaxed(node.word)}.sequence() == word.sequence();
    return !found;
  });
  return found;
}

bool WaitGraph::still_blocks(const Waiter& waiter, std::uint16_t blocker,
                             const Waiter* as_if) const noexcept {
  bool found = false;
  for_each_blocker_as_if(waiter, as_if, [&](std::uint16_t context, bool) {
    found = context == blocker;
    return !found;
  });
  return found;
}

bool WaitGraph::find_cycle(const Mapping& scratch, std::uint16_t start, const Waiter* as_if,
                           std::uint64_t deadline_ns, const Waiter* only) noexcept {
  Scratch& s = *view(scratch);
  // A cycle that moved under us may have left another one behind: walk again. Each round means that
  // somebody else made progress, so a victim that looks back gives up after a few.
  constexpr int kLooksBack = 8;
  for (int round = 0; !as_if || round < kLooksBack; ++round) {
    const Walk result = walk(s, start, as_if, only, deadline_ns);
    if (result != Walk::Moved) return result == Walk::Cycle;
  }
  return false;
}

std::size_t WaitGraph::choose_victim(std::span<const Member> cycle) noexcept {
  std::size_t victim = 0;
  for (std::size_t i = 1; i < cycle.size(); ++i) {
    if (is_better_victim(cycle[i].waiter, cycle[victim].waiter)) victim = i;
  }
  return victim;
}

bool WaitGraph::is_better_victim(const Waiter& one, const Waiter& other) noexcept {
  if (one.emergency != other.emergency && !planted::kEmergencyVictim) return !one.emergency;
  if (one.base_priority != other.base_priority) return one.base_priority < other.base_priority;
  return one.rank.ticket > other.rank.ticket;
}

}  // namespace resmgr::lock
