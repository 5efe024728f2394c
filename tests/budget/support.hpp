// SPDX-License-Identifier: Apache-2.0
//
// Tables of budgets in memory of their own, for tests of what works on them.
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/budget/book.hpp"

namespace resmgr::budget::test {

class Ledger {
 public:
  explicit Ledger(std::uint32_t drivers = 4, std::uint32_t accounts = 8)
      : rows_(std::size_t{drivers} * RM_RESOURCE_TYPES), accounts_(accounts) {}

  [[nodiscard]] BudgetTables tables() noexcept {
    return {.rows = rows_.data(),
            .accounts = accounts_.data(),
            .changes = &changes_,
            .wanted = &wanted_,
            .drivers = static_cast<std::uint32_t>(rows_.size() / RM_RESOURCE_TYPES),
            .account_count = static_cast<std::uint32_t>(accounts_.size())};
  }
  [[nodiscard]] rm_account& account(std::uint32_t index) { return accounts_.at(index); }

 private:
  std::vector<rm_budget> rows_;
  std::vector<rm_account> accounts_;
  std::uint32_t changes_ = 0;
  std::uint32_t wanted_ = 0;
};

}  // namespace resmgr::budget::test
