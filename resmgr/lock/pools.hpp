// SPDX-License-Identifier: Apache-2.0
//
// NodePool and CellPool: wait nodes and hold cells of the lock region.
//
// What they are: tables with a bit for each entry that is taken. The bit says where to look; who
// has an entry says its first reference, taken by one compare-and-swap that names the context. So a
// process killed at any instruction leaves nothing that recovery does not find (I3): entries that
// name the dead, and bits without an entry behind them. What they are not: safe to trust: whatever
// the bits say, no entry is had twice, for only one swap takes it.
//
// Thread-safety: all functions from any thread of any client.
#pragma once

#include <cstdint>

#include "resmgr/lock/context.hpp"
#include "resmgr/lock/tables.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::lock {

/// Whose an entry is, of its references.
[[nodiscard]] constexpr std::uint16_t taker_of(std::uint32_t references) noexcept {
  return static_cast<std::uint16_t>(references >> RM_REF_CONTEXT_SHIFT);
}
[[nodiscard]] constexpr std::uint32_t references_of(std::uint32_t context,
                                                    std::uint32_t references) noexcept {
  return context << RM_REF_CONTEXT_SHIFT | references;
}

/// Raises a mark that is never lowered: entries of its table that were ever used are below it.
inline void raise_mark(std::uint32_t& mark, std::uint32_t end) noexcept {
  std::uint32_t seen = load(mark);
  while (seen < end && !cas(mark, seen, end)) {
  }
}

/// The bits of one pool.
class TakenBits {
 public:
  TakenBits(rm_pool& pool, std::uint64_t* bits, std::uint32_t count) noexcept
      : pool_(pool), bits_(bits), count_(count) {}

  /// Takes bits until `claim(index)` says that the entry is ours as well. Returns the index, or
  /// the count when all are taken.
  template <typename Claim>
  [[nodiscard]] std::uint32_t take(Claim&& claim) const noexcept;
  /// Nobody has the entry any more; it doesn't matter if the bit was given back already.
  void give_back(std::uint32_t index) const noexcept;
  [[nodiscard]] bool is_taken(std::uint32_t index) const noexcept {
    return (load(bits_[index / 64]) >> (index % 64) & 1) != 0;
  }
  /// Entries that were ever taken are below this.
  [[nodiscard]] std::uint32_t high_water() const noexcept {
    const std::uint32_t mark = load(pool_.high_water);
    return mark < count_ ? mark : count_;
  }

 private:
  rm_pool& pool_;
  std::uint64_t* bits_;
  std::uint32_t count_;
};

class NodePool {
 public:
  explicit NodePool(const LockTables& tables) noexcept : t_(tables) {}

  /// A node that only the caller knows, LINKED already, for he is about to push it; its sequence
  /// number goes on from the last tenant's. Null when all are in use.
  [[nodiscard]] rm_node* take(Context& context) const noexcept;
  /// The owner is done with it (node word IDLE). Kept as the context's spare if the lists are done
  /// with it too. Called on the context's own thread.
  void leave(Context& context, rm_node& node) const noexcept;
  /// The lists are done with it: called by the latch holder after unlinking.
  void unlinked(rm_node& node) const noexcept;
  /// Gives a spare node back, when a context ends.
  void give_back_spare(Context& context) const noexcept;
  /// The owner is gone: what he had of the node is over; the lists may still have it.
  void disown(rm_node& node) const noexcept;
  [[nodiscard]] TakenBits bits() const noexcept {
    return {t_.region->nodes, t_.nodes_taken, t_.node_count};
  }

 private:
  const LockTables& t_;
};

class CellPool {
 public:
  explicit CellPool(const LockTables& tables) noexcept : t_(tables) {}

  /// What park() found.
  struct Parking {
    rm_cell* cell = nullptr;  ///< null: all are in use
    /// It serves a hold of the context, or what one of its waits was offered: then it is not the
    /// caller's to use, nor to drop.
    bool busy = false;
  };
  /// The cell that `context` has in the slot's chain: parked, or one that its hold, or its wait,
  /// keeps from being parked; otherwise one that nobody has any more, or a new one. Called on the
  /// context's own thread.
  [[nodiscard]] Parking park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                             std::uint32_t generation) const noexcept;
  /// Keeps a cell that park() returned from being given to another resource while it is waited for;
  /// it is given back when the hold, or the wait, is over.
  void set_apart(Context& context, rm_cell& cell) const noexcept;
  /// Whether park() would find one; takes none for longer than the call.
  [[nodiscard]] bool can_park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                              std::uint32_t generation) const noexcept {
    const Parking found = park(context, slot, slot_index, generation);
    if (found.cell && !found.busy) drop_unused(*found.cell);
    return found.cell != nullptr;
  }
  /// The cell already parked there, or null; never allocates.
  [[nodiscard]] rm_cell* parked(const Context& context, std::uint32_t slot_index,
                                std::uint32_t generation) const noexcept;
  /// The context's cell by walking the chain, for other threads. Null if it has none in use.
  [[nodiscard]] rm_cell* find_in_use(const rm_slot& slot, std::uint32_t generation,
                                     std::uint16_t context) const noexcept;
  /// Ends a hold: the cell is FREE again, and nobody's if it was temporary. From any thread; false
  /// if it was not in use, or another thread was first. seq_cst, for callers go on with a look at
  /// the state word.
  bool vacate(rm_cell& cell) const noexcept;
  /// Gives a cell that park() returned, and that never became a hold, back if it is temporary.
  void drop_unused(rm_cell& cell) const noexcept;
  /// Gives up every cell the context parked and does not hold.
  void unpark_all(Context& context) const noexcept;
  /// Gives a cell up for the context that parked it, and that does not hold by it any more.
  void abandon(rm_cell& cell) const noexcept;
  [[nodiscard]] TakenBits bits() const noexcept {
    return {t_.region->cells, t_.cells_taken, t_.cell_count};
  }
  /// After the slot's generation moved on: takes the chain apart. Cells that a context has parked
  /// are freed by it when it parks another in their place, or ends.
  void retire_chain(rm_slot& slot) const noexcept;

  /// Calls `visit(cell, word)` for each cell of the slot's tenant; stops when it returns false.
  /// Returns false if stopped, throws what `visit` throws. Bounded by the table. When the resource
  /// goes meanwhile it may lead into the chain of another one, whose cells are not shown.
  template <typename Visit>
  bool for_each(const rm_slot& slot, std::uint32_t generation, Visit&& visit) const {
    return walk(slot, generation, load(slot.cell_link), 0, visit);
  }
  /// The same, but begins with the cell at which the last search was stopped, and goes round: who
  /// looks time and again whether any is in use, while no others come into use, walks the chain
  /// once for all, in whatever order their holds end. A cell may be shown twice.
  template <typename Visit>
  bool search(const rm_slot& slot, std::uint32_t generation, Visit&& visit) const {
    const std::uint32_t head = load(slot.cell_link);
    rm_cell* const first = t_.cell(head);
    if (!first) return true;
    const std::uint32_t found = load_relaxed(first->found_link);
    const auto remembered = [&](rm_cell& cell, CellWord word) {
      if (visit(cell, word)) return true;
      const std::uint32_t link = t_.link_of(&cell);
      if (link != found) store_relaxed(first->found_link, link);
      return false;
    };
    const rm_cell* const start = t_.cell(found);
    // What is in another chain by now leads nowhere here.
    if (!start || load_relaxed(start->slot) != t_.index_of(&slot)) {
      return walk(slot, generation, head, 0, remembered);
    }
    return walk(slot, generation, found, 0, remembered) &&
           walk(slot, generation, head, found, remembered);
  }

 private:
  template <typename Visit>
  bool walk(const rm_slot& slot, std::uint32_t generation, std::uint32_t link, std::uint32_t end,
            Visit&& visit) const {
    const std::uint32_t index = t_.index_of(&slot);
    for (std::uint32_t steps = 0; steps < t_.cell_count && link != end; ++steps) {
      rm_cell* cell = t_.cell(link);
      if (!cell) return true;
      const CellWord word{load(cell->word)};
      if (word.generation() == generation && load_relaxed(cell->slot) == index &&
          !visit(*cell, word)) {
        return false;
      }
      link = load_relaxed(cell->next_link);
    }
    return true;
  }
  [[nodiscard]] bool claim(const Context& context, rm_cell& cell,
                           std::uint32_t slot_index) const noexcept;
  [[nodiscard]] rm_cell* take(const Context& context) const noexcept;
  void free(rm_cell& cell) const noexcept;

  const LockTables& t_;
};

}  // namespace resmgr::lock
