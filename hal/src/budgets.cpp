// SPDX-License-Identifier: Apache-2.0
#include <hal/budgets.hpp>

#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::Urgency;

// The lock region, in which the account is, stands for as long as the context has an engine.
void BudgetCharge::return_it() noexcept {
  resmgr::lock::Context* const context = std::exchange(context_, nullptr);
  const std::uint64_t amount = std::exchange(amount_, 0);
  // Acquire: pairs with the release store of close(), which frees what the engine stands on.
  resmgr::lock::LockEngine* const engine = context->engine.load(std::memory_order_acquire);
  if (engine == nullptr) return;
  auto& used = engine->tables().credits[account_].used;
  resmgr::budget::give_back(used[static_cast<std::size_t>(type_)], amount);
}

Budgeting::Budgeting(std::shared_ptr<resmgr::client::Domain> domain) noexcept
    : domain_(std::move(domain)) {}

Budgeting::~Budgeting() = default;

Result<void> Budgeting::set_budget(ResourceType type, const ResourceBudget& budget,
                                   DriverId driver) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!domain_->knows_driver(driver.value) ||
      static_cast<unsigned>(type) >= resmgr::kResourceTypes) {
    return fail(ErrorCode::InvalidArgument, "no such driver or type");
  }
  return guard("set_budget",
               [&] { return domain_->authority().set_budget(driver.value, type, budget); });
}

Result<BudgetUsage> Budgeting::budget(ResourceType type, DriverId driver) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  const rm_budget* const row = domain_->budgets().row(driver.value, type);
  if (row == nullptr || !domain_->knows_driver(driver.value)) {
    return fail(ErrorCode::InvalidArgument, "no such driver or type");
  }
  return resmgr::budget::read_usage(*row);
}

Result<BudgetCharge> Budgeting::charge(ResourceType type, std::uint64_t amount,
                                       const ChargeOptions& options) {
  const auto context = context_of(options.context);
  if (!context) return std::unexpected(context.error());
  if (options.mode > AcquisitionMode::Emergency ||
      static_cast<unsigned>(type) >= resmgr::kResourceTypes) {
    return fail(ErrorCode::InvalidArgument, "no such mode or type");
  }
  const std::uint32_t driver = resmgr::load_relaxed((*context)->record->driver);
  const Urgency urgency =
      options.mode == AcquisitionMode::Emergency ? Urgency::Emergency : Urgency::Normal;
  const auto account =
      guard("charge", [&] { return domain_->credits().charge(driver, type, amount, urgency); });
  if (!account) return std::unexpected(account.error());
  BudgetCharge charged;
  charged.context_ = *context;
  charged.amount_ = amount;
  charged.account_ = *account;
  charged.type_ = type;
  return charged;
}

}  // namespace hal
