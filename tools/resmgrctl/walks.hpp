// SPDX-License-Identifier: Apache-2.0
//
// Walks along the lists of a lock region that may be garbage.
//
// What it is: steps that check each link, and a budget for all walks over one look together: links
// that lead in circles, or all lists into one, cost no more than a domain that is full. What it is
// not: safe beside writers; looks stand still. Thread-safety: as the budget.
//
//   std::uint64_t budget = walk_budget(tables);
//   const Walk walk = walk_cells(tables, slot, budget, [&](const rm_cell& cell) { ... });
#pragma once

#include <algorithm>
#include <cstdint>

#include "resmgr/base/atomic.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgrctl {

enum class Walk : std::uint8_t {
  Whole,   ///< to the end of the list
  Broken,  ///< a link leads nowhere, or in a circle
};

/// Entries of a pool that were ever used.
[[nodiscard]] inline std::uint32_t used_nodes(const resmgr::lock::LockTables& t) noexcept {
  return std::min(resmgr::load(t.region->nodes.high_water), t.node_count);
}
[[nodiscard]] inline std::uint32_t used_cells(const resmgr::lock::LockTables& t) noexcept {
  return std::min(resmgr::load(t.region->cells.high_water), t.cell_count);
}
/// Contexts are those from 1 up to this id.
[[nodiscard]] inline std::uint32_t used_contexts(const resmgr::lock::LockTables& t) noexcept {
  return std::min(resmgr::load(t.region->context_high_water), t.context_count);
}

/// In a sound domain each entry is in one list; some are walked several times.
[[nodiscard]] inline std::uint64_t walk_budget(const resmgr::lock::LockTables& t) noexcept {
  constexpr std::uint64_t kWalks = 64;
  return kWalks * (std::uint64_t{used_nodes(t)} + used_cells(t) + 1024);
}

/// Calls `visit(const rm_cell&)` for the cells of the slot's chain.
template <typename Visit>
Walk walk_cells(const resmgr::lock::LockTables& t, const rm_slot& slot, std::uint64_t& budget,
                Visit&& visit) {
  std::uint32_t link = resmgr::load(slot.cell_link);
  for (std::uint32_t left = used_cells(t); link != 0; --left) {
    const rm_cell* const cell = t.cell(link);
    if (cell == nullptr || left == 0 || budget == 0) return Walk::Broken;
    --budget;
    visit(*cell);
    link = resmgr::load(cell->next_link);
  }
  return Walk::Whole;
}

/// Calls `visit(const rm_node&)` for the nodes of the list that begins at `link`.
template <typename Visit>
Walk walk_nodes(const resmgr::lock::LockTables& t, std::uint32_t link,
                const std::uint32_t rm_node::* next, std::uint64_t& budget, Visit&& visit) {
  for (std::uint32_t left = used_nodes(t); link != 0; --left) {
    const rm_node* const node = t.node(link);
    if (node == nullptr || left == 0 || budget == 0) return Walk::Broken;
    --budget;
    visit(*node);
    link = resmgr::load(node->*next);
  }
  return Walk::Whole;
}

}  // namespace resmgrctl
