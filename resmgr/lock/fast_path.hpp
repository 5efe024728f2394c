// SPDX-License-Identifier: Apache-2.0
//
// FastPath: what a pair does while nobody else is interested in the resource.
//
// What it is: the protocol's shortest steps with all bookkeeping that is on by default (generation
// and tenure, statistics, age for blame, hold list), written so that they are one run of loads,
// stores and locked instructions, without a call: exclusive one compare-and-swap each way, shared a
// compare-and-swap and an exchange. What it is not: complete. Whatever is rare (no tick to stamp
// with, a hold that is to be timed, a hook, memory to be made, a hold of another thread) is left to
// LockEngine, which knows the errors too.
//
// Why so sparing: a locked instruction waits for all stores before it, those included that save a
// register for a call, and a processor overlaps some forty instructions with it, not a hundred.
//
// Steps are named as in tests/model/lock.pml. Memory order: see lock/engine.hpp.
// Lifetime: functions; a closed context is left to others too. Thread-safety: as LockEngine.
//
//   if (FastPath::try_exclusive(context, handle, place, tenure) == Outcome::Done) ...
#pragma once

#include <cstdint>
#include <source_location>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/lock_order.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::lock {

class FastPath {
 public:
  /// What became of a step.
  enum class Outcome : std::uint8_t {
    Done,
    NotMine,  ///< nothing happened; LockEngine is to be asked
    Owing,    ///< it was begun: LockEngine has to end it (see there)
  };

  /// A1 of a context that holds nothing, so that the request is in no order with others, or holds
  /// what it held when the lock-order check permitted this class last. Sets `tenure` of the new
  /// hold.
  [[nodiscard, gnu::always_inline]] static Outcome try_exclusive(Context& context, Handle handle,
                                                                 const std::source_location& place,
                                                                 std::uint8_t& tenure) noexcept {
    if (handle.slot() >= load_relaxed(context.slot_count) || handle.is_null())
      return Outcome::NotMine;
    rm_slot& slot = context.slots[handle.slot()];
    // For whoever goes through many resources: the line is asked for before the locked instruction
    // of the pair before has ended, and for writing, which the first load of it would not do.
    __builtin_prefetch(&slot, 1);
    const std::uint64_t stamp = context.tick->ns();
    HoldList holds(context);
    const std::uint64_t used = holds.raw_bitmap();
    const std::uint16_t class_id = load_relaxed(slot.class_id);
    if (!is_plain(context, slot, stamp, kLeftToOthers) ||
        (used != 0 && !holds.is_known_order(used, class_id))) {
      return Outcome::NotMine;
    }
    // Before the swap: which succeeds only where nobody was ever fenced, so that this is 0. Read
    // after it, it might be of a fence that ended this hold.
    const std::uint8_t label = load_relaxed(slot.tenure);
    std::uint64_t word = StateWord::free(handle.generation()).bits;
    if (!cas(slot.word, word, word | context.owner_bits)) return Outcome::NotMine;
    // The first entry's place is known when this is compiled, which is worth 0.3 ns.
    begin_hold(slot, stamp,
               used == 0 ? holds.add_first(handle, class_id, false, place)
                         : holds.add_beside(used, handle, class_id, false, place));
    tenure = label;
    return Outcome::Done;
  }

  /// A1 beside other holds: those whose classes are known to be taken before this one's; or, with
  /// no order, those that are let go of where it is not to be had.
  [[nodiscard]] static Outcome try_exclusive_beside(Context& context, const LockOrder* order,
                                                    Handle handle,
                                                    const std::source_location& place,
                                                    std::uint8_t& tenure) noexcept {
    if (handle.slot() >= load_relaxed(context.slot_count) || handle.is_null())
      return Outcome::NotMine;
    rm_slot& slot = context.slots[handle.slot()];
    const std::uint64_t stamp = context.tick->ns();
    const std::uint16_t class_id = load_relaxed(slot.class_id);
    if (!is_plain(context, slot, stamp, kLeftToOthers) ||
        (order && !order->permits(context, class_id))) {
      return Outcome::NotMine;
    }
    const std::uint8_t label = load_relaxed(slot.tenure);
    std::uint64_t word = StateWord::free(handle.generation()).bits;
    if (!cas(slot.word, word, word | context.owner_bits)) return Outcome::NotMine;
    begin_hold(slot, stamp, HoldList(context).add(handle, class_id, false, place));
    tenure = label;
    return Outcome::Done;
  }

  /// L1 of a hold that nobody waits for.
  [[nodiscard, gnu::always_inline]] static Outcome try_release_exclusive(Context& context,
                                                                         Handle handle) noexcept {
    if (!context.on_own_thread() || handle.slot() >= load_relaxed(context.slot_count))
      return Outcome::NotMine;
    rm_slot& slot = context.slots[handle.slot()];
    HoldList holds(context);
    // If the hold is ours, these are: if it is not, the swap fails.
    const std::uint32_t index = load_relaxed(slot.hold_index);
    if (load_relaxed(slot.tenure) != handle.tenure() || !ends_plainly(index)) {
      return Outcome::NotMine;
    }
    const std::uint64_t free = StateWord::free(handle.generation()).bits;
    std::uint64_t held = free | context.owner_bits;
    if (!cas(slot.word, held, free)) return Outcome::NotMine;
    holds.remove_own(index);
    return Outcome::Done;
  }

  /// s1, s2 of a context that holds nothing, and keeps a cell for this resource. Owing: the cell
  /// says HELD, and it is no hold (s3, s4).
  [[nodiscard, gnu::always_inline]] static Outcome try_shared(Context& context, Handle handle,
                                                              const std::source_location& place,
                                                              std::uint8_t& tenure) noexcept {
    if (handle.slot() >= load_relaxed(context.slot_count) || handle.is_null())
      return Outcome::NotMine;
    rm_slot& slot = context.slots[handle.slot()];
    const std::uint64_t stamp = context.tick->ns();
    HoldList holds(context);
    if (!is_plain(context, slot, stamp, kLeftToOthers | RM_SLOT_ATTR_EXCLUSIVE_ONLY) ||
        !holds.unused()) {
      return Outcome::NotMine;
    }
    CellWord parking;
    rm_cell* const cell = parked(context, handle, RM_CELL_FREE, parking);
    const std::uint64_t shared = StateWord::free(handle.generation()).bits | RM_WORD_SHARED;
    std::uint64_t word = load_relaxed(slot.word);
    if (!cell || (word | RM_WORD_SHARED) != shared) return Outcome::NotMine;
    const std::uint8_t label = load_relaxed(slot.tenure);
    // s1. A latch holder who sees this takes it for a hold. Relaxed: the swap publishes it.
    store_relaxed(cell->word, parking.to(RM_CELL_HELD).bits);
    // s2. Even if the value stays the same, the swap proves that no latch was held at this moment:
    // whoever latches later sees the cell.
    if (!cas(slot.word, word, shared)) return Outcome::Owing;
    begin_hold(*cell, stamp, holds.add_first(handle, load_relaxed(slot.class_id), true, place));
    tenure = label;
    return Outcome::Done;
  }

  /// l2 of a cell that is kept. Owing: the hold has ended, and somebody has to be told (l3).
  [[nodiscard, gnu::always_inline]] static Outcome try_release_shared(Context& context,
                                                                      Handle handle) noexcept {
    if (!context.on_own_thread() || handle.slot() >= load_relaxed(context.slot_count))
      return Outcome::NotMine;
    const rm_slot& slot = context.slots[handle.slot()];
    CellWord parking;
    rm_cell* const cell = parked(context, handle, RM_CELL_HELD, parking);
    if (!cell || load_relaxed(slot.tenure) != handle.tenure()) return Outcome::NotMine;
    // An exclusive word ignores cells: ours is on its way into it or out of it.
    const StateWord before{load_relaxed(slot.word)};
    if (before.without(RM_WORD_WAITERS | RM_WORD_WORK) !=
        StateWord::free(handle.generation()).with(RM_WORD_SHARED)) {
      return Outcome::NotMine;
    }
    const std::uint32_t index = load_relaxed(cell->hold_index);
    if (!ends_plainly(index)) return Outcome::NotMine;
    // By compare-and-swap: of two releases of one hold, one finds it gone. seq_cst: the look at the
    // word must not pass it. Who latched or queued before it is seen there; who did after it sees
    // the cell.
    std::uint64_t held = parking.bits;
    if (!cas(cell->word, held, parking.to(RM_CELL_FREE).bits)) return Outcome::NotMine;
    HoldList(context).remove_own(index);
    return StateWord{load(slot.word)}.is_quiet() ? Outcome::Done : Outcome::Owing;
  }

 private:
  /// Whose acquisitions somebody wants to hear of, brings memory for, or has to permit.
  static constexpr std::uint32_t kLeftToOthers =
      RM_SLOT_ATTR_ACCESS_HOOK | RM_SLOT_ATTR_LAZY | RM_SLOT_ATTR_RESTRICTED;

  /// Nobody wants to hear of this acquisition, the time is known, and no hold is due to be timed.
  [[nodiscard, gnu::always_inline]] static bool is_plain(const Context& context,
                                                         const rm_slot& slot, std::uint64_t stamp,
                                                         std::uint32_t odd_attributes) noexcept {
    // A context times one hold of each tick. A tick that nobody keeps is 0 and never equal.
    return stamp == context.timed_at && (load_relaxed(slot.attributes) & odd_attributes) == 0;
  }
  /// The hold was not timed, and is in the hold list.
  [[nodiscard, gnu::always_inline]] static bool ends_plainly(std::uint32_t index) noexcept {
    return index - 1 < RM_CONTEXT_HOLDS;
  }
  /// The cell that the context keeps for this resource, if it is in this state; and its word.
  [[nodiscard, gnu::always_inline]] static rm_cell* parked(const Context& context, Handle handle,
                                                           rm_cell_state state,
                                                           CellWord& word) noexcept {
    static_assert(RM_CELL_CONTEXT_SHIFT == RM_WORD_OWNER_SHIFT &&
                      RM_CELL_GENERATION_SHIFT == RM_WORD_GENERATION_SHIFT,
                  "a cell names its context where a word names its owner");
    const Context::Parked& entry = context.parked[handle.slot() % Context::kParked];
    if (entry.slot != handle.slot() || !entry.cell) return nullptr;
    word.bits = load_relaxed(entry.cell->word);
    constexpr std::uint64_t kParking = std::uint64_t{0xffff} << RM_CELL_PARKING_SHIFT;
    const std::uint64_t wanted = StateWord::free(handle.generation()).bits | context.owner_bits |
                                 static_cast<std::uint64_t>(state);
    return (word.bits & ~kParking) == wanted ? entry.cell : nullptr;
  }
};

}  // namespace resmgr::lock
