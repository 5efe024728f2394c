// SPDX-License-Identifier: Apache-2.0
//
// WaitGraph: who waits for whom, followed from one context until it comes back or ends.
//
// What it is: a breadth-first walk over contexts. A waiting context waits for every conflicting
// holder and every conflicting earlier waiter of the resource (I8); a cycle found is confirmed by a
// second pass over its edges; its victim is the member with the lowest priority, then the youngest
// ticket, an Emergency request only when all are (I7), so that every detector names the same. Where
// a cycle leads over a wait for any of several, what was reached is reduced: who can go on goes,
// and what is left is stuck (I11). What it is not: a lock; nothing stops while it walks, and
// nothing is allocated: a context brings its own scratch memory. There is no limit to the depth.
//
// Thread-safety: any thread, one walk at a time for each context's scratch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/base/futex.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/executor.hpp"
#include "resmgr/lock/planted_bug.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/queue.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

class WaitGraph {
 public:
  explicit WaitGraph(const LockTables& tables) noexcept : t_(tables) {}

  /// Memory one walk may need, in bytes; paid when touched.
  [[nodiscard]] static std::size_t scratch_bytes(std::uint32_t contexts) noexcept;

  /// A context reached by the walk, and over which wait.
  struct Step {
    std::uint64_t node_word = 0;  ///< of the waiter that led here, at the time
    std::uint32_t node_link = 0;
    std::uint32_t parent = 0;  ///< index of the step whose context waits
    std::uint16_t context = 0;
    bool by_holds = false;  ///< every edge from the start leads to a holder
    bool by_any = false;    ///< one of them is of a wait for any of several
  };
  /// A member of a cycle: it waits, with `waiter`, for the next member. Where one waits for any of
  /// several, the members are all who are stuck with each other, the start first.
  struct Member {
    Waiter waiter;
    std::uint16_t blocked_by = 0;
  };

  /// Walks from `start` (an id), with `scratch` of some context of this process. With `as_if`, that
  /// wait counts for `start` instead of those in its list: a victim looks back at its cycle. With
  /// `only`, one of those in its list: the others were looked at before, and made no new edges.
  /// Returns whether a cycle through `start` was found and confirmed; its members are in cycle(),
  /// the start first. Without one, steps() are the contexts reached. Past `deadline_ns` the walk is
  /// given up: links that a hostile peer wrote may make it long, and the wait is over anyway.
  [[nodiscard]] bool find_cycle(const Mapping& scratch, std::uint16_t start,
                                const Waiter* as_if = nullptr,
                                std::uint64_t deadline_ns = kNoDeadline,
                                const Waiter* only = nullptr) noexcept;
  /// Index of the victim in the cycle.
  [[nodiscard]] static std::size_t choose_victim(std::span<const Member> cycle) noexcept;

  [[nodiscard]] std::span<const Member> cycle(const Mapping& scratch) const noexcept;
  [[nodiscard]] std::span<const Step> steps(const Mapping& scratch) const noexcept;

  /// Calls `visit(const Waiter&)` for each wait of the context until it returns false.
  template <typename Visit>
  void for_each_wait(std::uint16_t context, Visit&& visit) const noexcept;
  /// Calls `visit(context, is_holder)` for each context that keeps the waiter from being granted,
  /// until it returns false: the waiter's own too, if its call blocks the thread that runs one of
  /// the others.
  template <typename Visit>
  void for_each_blocker(const Waiter& waiter, Visit&& visit) const noexcept;

 private:
  struct Scratch;
  class Contexts;
  /// Calls `visit(rm_node&)` for each node in the context's list, and perhaps for others, until it
  /// returns false.
  template <typename Visit>
  void for_each_node(std::uint16_t context, Visit&& visit) const noexcept;
  [[nodiscard]] Scratch* view(const Mapping& mapping) const noexcept;
  [[nodiscard]] bool confirm(Scratch& scratch, std::uint32_t last, const Waiter& closing,
                             const Waiter* as_if) const noexcept;
  [[nodiscard]] bool still_blocks(const Waiter& waiter, std::uint16_t blocker,
                                  const Waiter* as_if) const noexcept;
  /// for_each_blocker(), and the place in the queue that the victim who looks back has lost.
  template <typename Visit>
  void for_each_blocker_as_if(const Waiter& waiter, const Waiter* as_if,
                              Visit&& visit) const noexcept {
    const rm_slot* slot = as_if && waiter.slot == as_if->slot ? t_.slot(waiter.slot) : nullptr;
    if (slot && waiter.context != as_if->context && waiter.generation == as_if->generation &&
        conflicts(waiter.mode, as_if->mode) && as_if->rank.before(waiter.rank) &&
        !is_offered(waiter, StateWord{load(slot->word)}.owner()) && !visit(as_if->context, false)) {
      return;
    }
    for_each_blocker(waiter, visit);
  }
  [[nodiscard]] bool is_offered(const Waiter& waiter, std::uint16_t owner) const noexcept {
    if (owner == waiter.context) return true;
    if (waiter.mode != RM_WAIT_SHARED) return false;
    const rm_cell* cell = t_.cell(waiter.cell_link);
    if (!cell) return false;
    const CellWord word{load(cell->word)};
    return word.is_of(waiter.generation, waiter.context) && word.state() == RM_CELL_OFFERED;
  }
  /// What an offer's word says: its taker, or nobody where it is none.
  [[nodiscard]] static std::uint16_t offered_to(StateWord word) noexcept {
    return word.has(RM_WORD_GRANTING) ? word.owner() : std::uint16_t{0};
  }
  [[nodiscard]] static std::uint16_t offered_to(CellWord word) noexcept {
    return word.state() == RM_CELL_OFFERED ? word.context() : std::uint16_t{0};
  }
  /// Whether the word, of a resource or a cell, offers what `waiter` waits for to one who has given
  /// up: that is nobody's hold, and will be taken back; he may long wait for something else. `seen`
  /// becomes what the word says if it moved on meanwhile.
  template <typename Word>
  [[nodiscard]] bool is_stale_offer(const std::uint64_t& word, Word& seen,
                                    const Waiter& waiter) const noexcept {
    // Who takes his offer changes the word first, then the node: he is found in one of them. An
    // offer that is replaced all the time is taken for a hold.
    constexpr int kAttempts = 16;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const std::uint16_t taker = offered_to(seen);
      if (taker == 0 || asks_for(taker, waiter.slot, waiter.generation)) return false;
      const Word again{load(word)};
      if (again == seen && !planted::kTrustOffers) return true;
      seen = again;
    }
    return false;
  }
  /// Whether the context waits for the resource, or was just granted it.
  [[nodiscard]] bool asks_for(std::uint16_t context, std::uint32_t slot,
                              std::uint32_t generation) const noexcept;
  /// The usual edge: a context that waits once, not for a share, in a queue that it has for itself,
  /// for who holds exclusively.
  struct SoleWait {
    NodeWord word;
    std::uint32_t link = 0;
    std::uint16_t holder = 0;  ///< 0: the wait is of another kind, or moved; or
    bool none = false;         ///< the context waits for nothing
  };
  [[nodiscard]] SoleWait sole_wait(std::uint16_t context) const noexcept;
  enum class Walk { Acyclic, Cycle, Moved };
  [[nodiscard]] Walk walk(Scratch& scratch, std::uint16_t start, const Waiter* as_if,
                          const Waiter* only, std::uint64_t deadline_ns) noexcept;

  // reduction.cpp
  [[nodiscard]] Walk reduce(Scratch& scratch, std::uint16_t start,
                            std::uint64_t deadline_ns) const noexcept;
  [[nodiscard]] bool release_the_free(Scratch& scratch, std::uint64_t deadline_ns) const noexcept;
  void collect_around(Scratch& scratch, std::uint16_t start) const noexcept;
  [[nodiscard]] bool is_stuck_in(std::uint16_t context, const Contexts& stuck,
                                 const Contexts& in) const noexcept;
  [[nodiscard]] std::uint16_t blocker_in(const Waiter& waiter,
                                         const Contexts& contexts) const noexcept;
  [[nodiscard]] bool is_group_stuck(const Waiter& member, const Contexts& stuck) const noexcept;
  template <typename Visit>
  void for_each_stuck_wait(std::uint16_t context, const Contexts& stuck,
                           Visit&& visit) const noexcept;
  [[nodiscard]] bool find_members(Scratch& scratch) const noexcept;
  [[nodiscard]] bool confirm_members(const Scratch& scratch) const noexcept;
  [[nodiscard]] static bool is_better_victim(const Waiter& one, const Waiter& other) noexcept;

  const LockTables& t_;
};

/// Which contexts: a bit for each id. A view.
class WaitGraph::Contexts {
 public:
  explicit Contexts(std::uint64_t* bits = nullptr) noexcept : bits_(bits) {}
  [[nodiscard]] bool has(std::uint16_t context) const noexcept {
    return (bits_[context / 64] >> (context % 64) & 1) != 0;
  }
  /// Whether it is new.
  bool add(std::uint16_t context) noexcept {
    std::uint64_t& bits = bits_[context / 64];
    const std::uint64_t bit = std::uint64_t{1} << (context % 64);
    if ((bits & bit) != 0) return false;
    bits |= bit;
    return true;
  }
  void remove(std::uint16_t context) noexcept {
    bits_[context / 64] &= ~(std::uint64_t{1} << (context % 64));
  }

 private:
  std::uint64_t* bits_;
};

/// The start of a context's scratch mapping; the arrays follow it.
struct WaitGraph::Scratch {
  std::uint32_t step_count = 0;
  std::uint32_t member_count = 0;
  // Empty between two walks:
  Contexts visited;
  Contexts stuck;
  Contexts around;
  Step* steps = nullptr;
  Member* members = nullptr;
};

template <typename Visit>
void WaitGraph::for_each_node(std::uint16_t context, Visit&& visit) const noexcept {
  const rm_context* record = t_.context(context);
  if (!record) return;
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint32_t before = load(record->waits_seq);
    std::uint32_t link = load(record->wait_link);
    if (link == 0) return;
    if ((before & 1u) != 0) continue;
    for (std::uint32_t i = 0; i < t_.node_count; ++i) {
      rm_node* node = t_.node(link);
      if (!node) break;
      if (!visit(*node)) return;
      link = load_acquire(node->context_next_link);
    }
    if (load(record->waits_seq) == before) return;
  }
  // The list is being edited by somebody who does not go on: the nodes are the truth (I2).
  const std::uint32_t mark = std::min(load(t_.region->nodes.high_water), t_.node_count);
  for (std::uint32_t i = 0; i < mark; ++i) {
    if (!visit(t_.nodes[i])) return;
  }
}

template <typename Visit>
void WaitGraph::for_each_wait(std::uint16_t context, Visit&& visit) const noexcept {
  for_each_node(context, [&](rm_node& node) {
    Waiter waiter;
    return !read_waiter(t_, node, waiter) || waiter.context != context || visit(waiter);
  });
}

template <typename Visit>
void WaitGraph::for_each_blocker(const Waiter& waiter, Visit&& visit_one) const noexcept {
  // A task whose thread is blocked in the call of another, or of the waiter's own, waits for that.
  const auto visit = [&](std::uint16_t context, bool is_holder) {
    if (!visit_one(context, is_holder)) return false;
    const std::uint16_t other = planted::kForgetTasks ? std::uint16_t{0} : stuck_in(t_, context);
    return other == 0 || other == context || visit_one(other, is_holder);
  };
  rm_slot* slot = t_.slot(waiter.slot);
  if (!slot) return;
  StateWord word{load(slot->word)};
  if (!word.is_tenant(waiter.generation)) return;
  const bool nobodys = is_stale_offer(slot->word, word, waiter);
  const std::uint16_t owner = nobodys ? std::uint16_t{0} : word.owner();
  // Between word and node of a grant he waits for nobody any more, whoever stands before him in the
  // queue by now: a newcomer of higher rank, who waits for him, would make it a cycle.
  if (!planted::kOfferedWaits && is_offered(waiter, owner)) return;
  if (owner != 0 && owner != waiter.context && !visit(owner, true)) return;
  // Of what is quarantined readers have to let go too, before anybody gets it.
  const bool shares = waiter.mode == RM_WAIT_SHARED && !word.has(RM_WORD_QUARANTINED);
  // Where an upgrade that timed out was offered, the shared hold stands until that is undone.
  const bool undone = nobodys && word.has(RM_WORD_GRANTING) && !planted::kHiddenShare;
  if ((word.has(RM_WORD_SHARED) || undone) && !shares) {
    bool stopped = false;
    CellPool(t_).for_each(*slot, waiter.generation, [&](const rm_cell& at, CellWord cell) {
      if (!cell.in_use() || cell.context() == waiter.context) return true;
      if (is_stale_offer(at.word, cell, waiter) || !cell.in_use()) return true;
      stopped = !visit(cell.context(), true);
      return !stopped && !planted::kFirstHolderOnly;
    });
    if (stopped) return;
  }
  // Without WAITERS nobody is queued but those who have not knocked yet, and they walk themselves.
  if (planted::kNoQueueEdges) return;
  WaitQueue(t_, *slot, waiter.slot, waiter.generation)
      .for_each_beside(waiter.node, [&](const Waiter& other) {
        if (other.context == waiter.context || !conflicts(other.mode, waiter.mode) ||
            !other.rank.before(waiter.rank)) {
          return true;
        }
        return visit(other.context, false);
      });
}

}  // namespace resmgr::lock
