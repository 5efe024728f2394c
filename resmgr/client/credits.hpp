// SPDX-License-Identifier: Apache-2.0
//
// Credits: what this process may charge of budgets without asking anybody.
//
// What it is: an account for each driver that charges; where it has too little the authority is
// asked for more, and then for some in advance. What it is not: the authority's book, in which all
// that was drawn counts as used, and from which it vanishes with this process.
//
// Lifetime: borrows the tables and the authority; of the domain. Thread-safety: all functions from
// any thread; charging asks under a mutex of its own only where the account has too little.
//
//   auto account = credits.charge(driver, ResourceType::Memory, bytes, Urgency::Normal);
//   ...
//   credits.give_back(*account, ResourceType::Memory, bytes);
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

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
      : tables_(tables),
        locks_(locks),
        authority_(authority),
        link_of_driver_(std::make_unique<std::atomic<std::uint32_t>[]>(tables.drivers)) {}

  /// Returns the account that was charged; nothing if it has too little, or there is none yet.
  [[nodiscard]] std::optional<std::uint32_t> charge_at_once(std::uint32_t driver, ResourceType type,
                                                            std::uint64_t amount) noexcept {
    if (driver >= tables_.drivers) return {};
    // Acquire: the account was this client's before its number was known here.
    const std::uint32_t link = link_of_driver_[driver].load(std::memory_order_acquire);
    if (link == 0 || !try_charge(link - 1, type, amount)) return {};
    return link - 1;
  }
  /// Returns the account that was charged. Errors: those of Authority::draw().
  [[nodiscard]] Result<std::uint32_t> charge(std::uint32_t driver, ResourceType type,
                                             std::uint64_t amount, Urgency urgency);
  /// REQUIRES: charge() returned the account, of this type and amount.
  void give_back(std::uint32_t account, ResourceType type, std::uint64_t amount) noexcept {
    budget::give_back(used(account, type), amount);
  }
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
  /// Of each driver: its account's index + 1, once it has one.
  std::unique_ptr<std::atomic<std::uint32_t>[]> link_of_driver_;
  /// Who draws or returns: what is said of an account is said by one at a time.
  std::mutex asking_;
  std::vector<std::uint32_t> accounts_;
};

}  // namespace resmgr::client
