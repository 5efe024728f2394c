// SPDX-License-Identifier: Apache-2.0
//
// NodePool and CellPool: wait nodes and hold cells of the lock region.
//
// What they are: free lists in shared memory, changed by one compare-and-swap on a tagged head.
// What they are not: safe to trust: a link outside the table ends the list. A process killed
// between taking an entry and publishing it leaks that entry until recovery scans (I5).
//
// Thread-safety: all functions from any thread of any client.
#pragma once

#include <cstdint>

#include "resmgr/lock/context.hpp"
#include "resmgr/lock/tables.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::lock {

class NodePool {
 public:
  explicit NodePool(const LockTables& tables) noexcept : t_(tables) {}

  /// A node that only the caller knows; its sequence number goes on from the last tenant's. Null
  /// when all are in use.
  [[nodiscard]] rm_node* take(Context& context) const noexcept;
  /// The owner is done with it (node word IDLE). Kept as the context's spare if the lists are done
  /// with it too. Called on the context's own thread.
  void leave(Context& context, rm_node& node) const noexcept;
  /// The lists are done with it: called by the latch holder after unlinking.
  void unlinked(rm_node& node) const noexcept;
  /// Gives a spare node back, when a context ends.
  void give_back_spare(Context& context) const noexcept;

 private:
  void free(rm_node& node) const noexcept;

  const LockTables& t_;
};

class CellPool {
 public:
  explicit CellPool(const LockTables& tables) noexcept : t_(tables) {}

  /// The cell that `context` has in the slot's chain: parked, or HELD where a collision in its
  /// cache keeps it from being parked; otherwise one that nobody has any more, or a new one. Null
  /// when all are in use. Called on the context's own thread.
  [[nodiscard]] rm_cell* park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                              std::uint32_t generation) const noexcept;
  /// Whether park() would find one; takes none for longer than the call.
  [[nodiscard]] bool can_park(Context& context, rm_slot& slot, std::uint32_t slot_index,
                              std::uint32_t generation) const noexcept {
    rm_cell* cell = park(context, slot, slot_index, generation);
    if (cell) drop_unused(*cell);
    return cell != nullptr;
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
  /// After the slot's generation moved on: takes the chain apart. Cells that a context has parked
  /// are freed by it when it parks another in their place, or ends.
  void retire_chain(rm_slot& slot) const noexcept;

  /// Calls `visit(cell, word)` for each cell of the slot's tenant; stops when it returns false.
  /// Returns false if stopped, throws what `visit` throws. Bounded by the table. When the resource
  /// goes meanwhile it may lead into the chain of another one, whose cells are not shown.
  template <typename Visit>
  bool for_each(const rm_slot& slot, std::uint32_t generation, Visit&& visit) const {
    const std::uint32_t index = t_.index_of(&slot);
    std::uint32_t link = load(slot.cell_link);
    for (std::uint32_t steps = 0; steps < t_.cell_count; ++steps) {
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

 private:
  [[nodiscard]] bool claim(rm_cell& cell, std::uint32_t slot_index) const noexcept;
  [[nodiscard]] rm_cell* take() const noexcept;
  void free(rm_cell& cell) const noexcept;
  void abandon(rm_cell& cell) const noexcept;

  const LockTables& t_;
};

}  // namespace resmgr::lock
