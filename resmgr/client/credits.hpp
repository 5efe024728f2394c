// SPDX-License-Identifier: Apache-2.0
//
// Credits: what this process may charge of budgets without asking anybody.
//
// What it is: an account for each driver that charges; where it has too little the authority is
// asked for more, and then for some in advance. What it is not: the authority's book, in which all
// that was drawn counts as used, and from which it vanishes with this process.
//
// Lifetime: borrows the tables and the authority; of the domain. Thread-safety: all functions from
// any thread, under a mutex of its own; who has an account charges it by budget::charge().
//
//   auto account = credits.charge(driver, ResourceType::Memory, bytes, Urgency::Normal);
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/budget/book.hpp"
#include "resmgr/budget/credits.hpp"
#include "resmgr/client/authority.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::client {

class Credits {
 public:
  Credits(const BudgetTables& tables, const lock::LockTables& locks, Authority& authority)
      : tables_(tables), locks_(locks), authority_(authority) {}

  /// Returns the account that was charged, to be given back by budget::give_back(). Errors: those
  /// of Authority::draw().
  [[nodiscard]] Result<std::uint32_t> charge(std::uint32_t driver, ResourceType type,
                                             std::uint64_t amount, Urgency urgency);
  /// Gives the authority back what is not charged now. Returns how much that was.
  std::uint64_t return_idle(ResourceType type);

 private:
  [[nodiscard]] static std::size_t column(ResourceType type) noexcept {
    return static_cast<std::size_t>(type);
  }
  [[nodiscard]] std::uint64_t& used(std::uint32_t account, ResourceType type) noexcept {
    return locks_.credits[account].used[column(type)];
  }
  [[nodiscard]] const std::uint64_t& granted(std::uint32_t account,
                                             ResourceType type) const noexcept {
    return tables_.accounts[account].granted[column(type)];
  }
  [[nodiscard]] bool try_charge(std::uint32_t account, ResourceType type,
                                std::uint64_t amount) noexcept {
    return budget::charge(used(account, type), granted(account, type), amount);
  }
  [[nodiscard]] std::uint64_t idle_in(std::uint32_t account, ResourceType type) noexcept;

  BudgetTables tables_;
  lock::LockTables locks_;
  Authority& authority_;
  /// Who draws or returns: what is said of an account is said by one at a time.
  std::mutex asking_;
  std::unordered_map<std::uint32_t, std::uint32_t> accounts_;  ///< by driver
};

}  // namespace resmgr::client
