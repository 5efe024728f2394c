// SPDX-License-Identifier: Apache-2.0
//
// Budgets: what types and drivers may have, and charging it.
//
// What it is: limits of each type (bytes of Memory, tokens a second of Performance, numbers of the
// rest), for all drivers together and for each; what is registered counts by itself, and what a
// driver allocates otherwise is charged here. A charge is one local operation, on credits that were
// drawn in advance: all that was drawn counts as used, so the sum never passes the maximum, and it
// comes back when the process ends, however it ends. What it is not: an allocator, nor a limit to
// who does not ask.
//
// In an emergency (AcquisitionMode::Emergency) a charge takes what is reserved, and then more than
// there is; each of it is counted, and, served, written into the audit log.
//
// Lifetime: a BudgetCharge may outlive its manager; then it does nothing. Thread-safety: all
// functions from any thread; a BudgetCharge as a plain value.
//
//   manager->set_budget(hal::ResourceType::Memory, {.max = 64 << 20, .reserved = 4 << 20});
//   auto scratch = manager->charge(hal::ResourceType::Memory, 1 << 20);
//   if (!scratch) return scratch.error().available();   // BudgetExceeded
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include <hal/export.hpp>
#include <hal/resource.hpp>

#include "resmgr/base/budgets.hpp"

namespace resmgr::client {
class Domain;
}
namespace resmgr::lock {
struct Context;
}

namespace hal {

using resmgr::BudgetUsage;
using resmgr::kUnlimited;
using resmgr::ResourceBudget;
using resmgr::ResourcePressure;

class Context;

/// How to charge.
struct ChargeOptions {
  AcquisitionMode mode = AcquisitionMode::NonBlocking;
  /// Whose driver is charged; null: the calling thread's own context.
  Context* context = nullptr;
};

/// What was charged; given back when it goes out of scope.
class [[nodiscard]] HAL_EXPORT BudgetCharge {
 public:
  BudgetCharge() noexcept = default;
  BudgetCharge(BudgetCharge&& other) noexcept
      : context_(std::exchange(other.context_, nullptr)),
        amount_(std::exchange(other.amount_, 0)),
        account_(other.account_),
        type_(other.type_) {}
  BudgetCharge& operator=(BudgetCharge&& other) noexcept {
    if (this != &other) {
      give_back();
      context_ = std::exchange(other.context_, nullptr);
      amount_ = std::exchange(other.amount_, 0);
      account_ = other.account_;
      type_ = other.type_;
    }
    return *this;
  }
  BudgetCharge(const BudgetCharge&) = delete;
  BudgetCharge& operator=(const BudgetCharge&) = delete;
  ~BudgetCharge() { give_back(); }

  [[nodiscard]] std::uint64_t amount() const noexcept { return amount_; }
  [[nodiscard]] ResourceType type() const noexcept { return type_; }
  /// Now; it is of nothing afterwards. From any thread.
  void give_back() noexcept {
    if (context_ != nullptr) return_it();
  }

 private:
  friend class Budgeting;
  void return_it() noexcept;

  resmgr::lock::Context* context_ = nullptr;  ///< by which the domain is known to be there still
  std::uint64_t amount_ = 0;
  std::uint32_t account_ = 0;
  ResourceType type_ = ResourceType::Custom;
};

/// What a ResourceManager does about budgets.
class HAL_EXPORT Budgeting {
 public:
  /// Sets what all drivers together may have of a type, or, given one, what it may have of that.
  /// Less than is used is allowed: nothing is taken from anybody, and nothing given before enough
  /// came back. Errors: InvalidArgument (more reserved than there is; percents that are not
  /// 0 < warning <= critical <= 100; no such driver or type), NotPermitted (served: operators
  /// alone), Disconnected.
  Result<void> set_budget(ResourceType type, const ResourceBudget& budget, DriverId driver = {});
  /// What became of it so far. Errors: InvalidArgument (no such driver or type), Disconnected.
  [[nodiscard]] Result<BudgetUsage> budget(ResourceType type, DriverId driver = {}) const;
  /// Charges the driver of a context. Errors: BudgetExceeded (requested(), available()),
  /// InvalidArgument (no such type or mode, a context of another manager), NotPermitted (an
  /// emergency, which the driver may not use), CapacityExceeded (contexts, or accounts: four for
  /// each client that there can be, and 64 at least), Disconnected, System.
  [[nodiscard]] Result<BudgetCharge> charge(ResourceType type, std::uint64_t amount,
                                            const ChargeOptions& options = {});

 protected:
  explicit Budgeting(std::shared_ptr<resmgr::client::Domain> domain) noexcept;
  Budgeting(const Budgeting&) = delete;
  Budgeting& operator=(const Budgeting&) = delete;
  ~Budgeting();

  /// The context, or the calling thread's own, where it is null. Errors: Disconnected,
  /// InvalidArgument (another manager's), CapacityExceeded.
  [[nodiscard]] Result<resmgr::lock::Context*> context_of(Context* given) const noexcept;

  std::shared_ptr<resmgr::client::Domain> domain_;
};

}  // namespace hal
