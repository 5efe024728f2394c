// SPDX-License-Identifier: Apache-2.0
//
// BudgetTables: where the rows of budgets and the accounts of credits are in a registry region.
//
// What it is: a view of two tables, with every index checked before it is followed. What it is not:
// the rules; see resmgr/budget. Lifetime: that of the mapping. Thread-safety: the view is constant.
#pragma once

#include <cstddef>
#include <cstdint>

#include "resmgr/abi/budget_layout.h"
#include "resmgr/base/atomic.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr {

struct BudgetTables {
  rm_budget* rows = nullptr;
  rm_account* accounts = nullptr;
  std::uint32_t* changes = nullptr;  ///< budget_changes of the region,
  std::uint32_t* wanted = nullptr;   ///< and budget_wanted
  std::uint32_t drivers = 0;         ///< that have rows
  std::uint32_t account_count = 0;

  /// Whether somebody waits for some of a type to come back. Seq_cst: who gave some back before he
  /// asks, and does not see it, is seen by who looks for some after it was said.
  [[nodiscard]] bool is_wanted(ResourceType type) const noexcept {
    return (load(*wanted) >> static_cast<unsigned>(type) & 1u) != 0;
  }

  /// Null if there is no such driver or type. Driver 0: the sums of all.
  [[nodiscard]] rm_budget* row(std::uint32_t driver, ResourceType type) const noexcept {
    const auto column = static_cast<std::uint32_t>(type);
    if (driver >= drivers || column >= RM_RESOURCE_TYPES) return nullptr;
    return rows + (std::size_t{driver} * RM_RESOURCE_TYPES + column);
  }
};

}  // namespace resmgr
