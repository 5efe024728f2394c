// SPDX-License-Identifier: Apache-2.0
#include <hal/budgets.hpp>

#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;

// The domain is there for as long as the context has an engine.
void BudgetCharge::return_it() noexcept {
  resmgr::lock::Context* const context = std::exchange(context_, nullptr);
  const std::uint64_t amount = std::exchange(amount_, 0);
  // Acquire: pairs with the release store of close(), which frees what the engine stands on.
  if (context->engine.load(std::memory_order_acquire) == nullptr) return;
  domain_->give_back(account_, type_, amount);
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
  const auto charged = [&](std::uint32_t account) {
    BudgetCharge charge;
    charge.domain_ = domain_.get();
    charge.context_ = *context;
    charge.amount_ = amount;
    charge.account_ = account;
    charge.type_ = type;
    return charge;
  };
  if (const auto account = domain_->charge_at_once(driver, type, amount)) [[likely]]
    return charged(*account);
  const std::uint64_t deadline = convert::patience(options.mode, options.timeout);
  const auto account = guard("charge", [&] {
    return domain_->charge(driver, type, amount, convert::urgency(options.mode), deadline);
  });
  if (!account) return std::unexpected(account.error());
  return charged(*account);
}

Result<BudgetCallback> Budgeting::register_reclamation_callback(ResourceType type,
                                                                OnReclaim callback,
                                                                ResourcePriority priority) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!callback || static_cast<unsigned>(type) >= resmgr::kResourceTypes ||
      priority > ResourcePriority::Critical) {
    return fail(ErrorCode::InvalidArgument, "nothing to call, or no such type or priority");
  }
  return guard("callback", [&]() -> Result<BudgetCallback> {
    auto id = domain_->add_reclaimer(
        {.type = type,
         .free = [type, call = std::move(callback)](
                     std::uint64_t amount) { return call({.type = type, .amount = amount}); }},
        static_cast<int>(priority));
    if (!id) return std::unexpected(std::move(id.error()));
    BudgetCallback registered;
    registered.domain_ = domain_;
    registered.id_ = *id;
    registered.kind_ = BudgetCallback::Kind::Reclamation;
    return registered;
  });
}

Result<BudgetCallback> Budgeting::register_pressure_callback(OnPressure callback) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!callback) return fail(ErrorCode::InvalidArgument, "nothing to call");
  return guard("callback", [&]() -> Result<BudgetCallback> {
    auto id = domain_->on_pressure([call = std::move(callback)](const auto& event) {
      call({.type = event.type,
            .driver = DriverId{event.driver_id},
            .level = event.level,
            .before = event.before});
    });
    if (!id) return std::unexpected(std::move(id.error()));
    BudgetCallback registered;
    registered.domain_ = domain_;
    registered.id_ = *id;
    registered.kind_ = BudgetCallback::Kind::Pressure;
    return registered;
  });
}

BudgetCallback::BudgetCallback(BudgetCallback&& other) noexcept
    : domain_(std::move(other.domain_)),
      id_(std::exchange(other.id_, 0)),
      kind_(std::exchange(other.kind_, Kind::None)) {}

BudgetCallback& BudgetCallback::operator=(BudgetCallback&& other) noexcept {
  if (this != &other) {
    unregister();
    domain_ = std::move(other.domain_);
    id_ = std::exchange(other.id_, 0);
    kind_ = std::exchange(other.kind_, Kind::None);
  }
  return *this;
}

void BudgetCallback::unregister() noexcept {
  const Kind kind = std::exchange(kind_, Kind::None);
  const auto domain = domain_.lock();
  if (!domain || kind == Kind::None) return;
  if (kind == Kind::Reclamation) {
    domain->remove_reclaimer(id_);
  } else {
    domain->remove_on_pressure(id_);
  }
}

}  // namespace hal
