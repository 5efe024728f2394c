// SPDX-License-Identifier: Apache-2.0
//
// Book: who may have how much, and has.
//
// What it is: the authority's hand in the budgets of a domain. A charge counts twice, for its type
// and for its driver's share of that type, and is refused where either has not enough; what was
// charged always adds up to what is registered, and to what clients drew in advance, which is how
// it is made anew after a crash (recount()). What it is not: a clock, nor a wait: who is refused
// tries again when something was given back.
//
// An emergency takes what is reserved, and then more than there is: an overdraft, which is counted
// and told.
//
// Lifetime: borrows the tables. Thread-safety: callers serialise; readers in any process go on
// meanwhile, and see each field by itself.
//
//   Book book(tables);
//   book.set(0, ResourceType::Memory, {.max = 64 << 20});
//   if (auto charged = book.charge(driver, ResourceType::Memory, bytes, Urgency::Normal); !charged)
//     return charged;   // BudgetExceeded: requested(), available()
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "resmgr/abi/budget_layout.h"
#include "resmgr/abi/budget_tables.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::budget {

/// What a row says. Each field is current; together they need not fit.
[[nodiscard]] BudgetUsage read_usage(const rm_budget& row) noexcept;

/// What a driver may still be given, of its own budget and of all drivers'; 0 if there is no such
/// driver or type.
[[nodiscard]] std::uint64_t available(const BudgetTables& tables, std::uint32_t driver,
                                      ResourceType type) noexcept;

/// An emergency took what others are not given.
struct Overdraft {
  std::uint32_t driver = 0;
  ResourceType type = ResourceType::Custom;
  std::uint64_t amount = 0;    ///< of the charge
  std::uint64_t reserved = 0;  ///< of it, from what is kept for emergencies
  std::uint64_t beyond = 0;    ///< of it, above the maximum
};

/// Credits in the hands of a client.
struct Drawn {
  std::uint32_t account = 0;  ///< which
  std::uint64_t amount = 0;   ///< given now
};

class Book final : public Accountant {
 public:
  explicit Book(const BudgetTables& tables) noexcept : tables_(tables) {}

  /// Who is told of overdrafts; quick, and calling nothing of this.
  void on_overdraft(std::function<void(const Overdraft&)> told) { overdraft_ = std::move(told); }

  /// Who is told that what is used of a type, by a driver or by all (0), or what may be, is another
  /// amount; likewise.
  void on_change(std::function<void(std::uint32_t driver, ResourceType type)> told) {
    changed_ = std::move(told);
  }

  /// Somebody sleeps on the word of changes until some of that type comes back: what does next
  /// wakes him. What came back before this changed the word, so that he does not fall asleep if he
  /// looked at it before he asked.
  void expect_return(ResourceType type) noexcept;

  /// Of a driver, or of all (0). Less than is used is allowed: nothing is taken from anybody, but
  /// nothing given either before enough came back. `while_running`: not by the configuration.
  /// Errors: InvalidArgument (more reserved than there is; percents that are not 0 < warning <=
  /// critical <= 100; no such driver or type).
  Result<void> set(std::uint32_t driver, ResourceType type, const ResourceBudget& budget,
                   bool while_running = false) noexcept;
  /// Errors: InvalidArgument (no such driver or type).
  [[nodiscard]] Result<BudgetUsage> usage(std::uint32_t driver, ResourceType type) const noexcept;

  [[nodiscard]] Result<void> check(std::uint32_t driver, ResourceType type, std::uint64_t amount,
                                   Urgency urgency) noexcept override;
  /// Errors: BudgetExceeded, with what was requested and what is available; InvalidArgument.
  [[nodiscard]] Result<void> charge(std::uint32_t driver, ResourceType type, std::uint64_t amount,
                                    Urgency urgency) noexcept override;
  /// REQUIRES: it was charged so.
  void give_back(std::uint32_t driver, ResourceType type, std::uint64_t amount) noexcept override;

  /// Draws credits for a driver of a client: at least `least`, and up to `most` where there is
  /// plenty. Errors: as charge(), and CapacityExceeded (accounts).
  [[nodiscard]] Result<Drawn> draw(std::uint32_t client, std::uint32_t driver, ResourceType type,
                                   std::uint64_t least, std::uint64_t most,
                                   Urgency urgency) noexcept;
  /// Takes credits back that the client has not charged, by its word: it keeps `kept`. Said twice
  /// it is done once. Errors: InvalidArgument (not its account, or more than it was given).
  Result<void> return_credits(std::uint32_t client, std::uint32_t account, ResourceType type,
                              std::uint64_t kept) noexcept;
  /// The client is gone: so is all that it drew.
  void close_accounts(std::uint32_t client) noexcept;

  /// Makes `used` and `drawn` of all rows anew: what drivers drew is in the accounts, and
  /// `registered` calls its argument with driver, type and amount of each thing registered.
  /// `known`: how many drivers have names, 0 included, behind whose rows none is looked at; and how
  /// many clients there can be. What no authority can have written is no limit, and nobody's
  /// account. By a new authority, before anything else.
  using Add = std::function<void(std::uint32_t driver, ResourceType type, std::uint64_t amount)>;
  struct Known {
    std::uint32_t drivers = 0;
    std::uint32_t clients = 0;
  };
  void recount(const Known& known, const std::function<void(const Add&)>& registered);

  [[nodiscard]] const BudgetTables& tables() const noexcept { return tables_; }

 private:
  struct Rows {
    rm_budget* all = nullptr;  ///< null: no such driver or type
    rm_budget* own = nullptr;  ///< null: the driver has no name
  };
  /// The row that has too little; null: none.
  [[nodiscard]] static rm_budget* row_without(const Rows& rows, std::uint64_t amount,
                                              Urgency urgency) noexcept;
  [[nodiscard]] Rows rows_of(std::uint32_t driver, ResourceType type) const noexcept;
  [[nodiscard]] Result<rm_account*> account_of(std::uint32_t client, std::uint32_t driver) noexcept;

  void returned() noexcept;
  void changed(std::uint32_t driver, ResourceType type) const noexcept;

  BudgetTables tables_;
  std::function<void(const Overdraft&)> overdraft_;
  std::function<void(std::uint32_t, ResourceType)> changed_;
};

}  // namespace resmgr::budget
