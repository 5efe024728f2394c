// SPDX-License-Identifier: Apache-2.0
#include <hal/budgets.hpp>

#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;

void BudgetCharge::return_it(const What& what) noexcept {
  resmgr::client::Domain* const domain = what.gate->domain();
  if (domain != nullptr) domain->give_back(*what.used, what.type, what.amount);
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

Budgeting::AtOnce Budgeting::charge_at_once(ResourceType type, std::uint64_t amount) noexcept {
  if (!domain_) return {};
  resmgr::lock::Context* const context = domain_->known_thread_context();
  // Without slots the domain is closed or over.
  if (context == nullptr || context->slot_count == 0) return {};
  return {resmgr::client::Domain::charge_at_once(*context, type, amount), &domain_->gate()};
}

Result<BudgetCharge> Budgeting::charge_slowly(ResourceType type, std::uint64_t amount,
                                              const ChargeOptions& options) {
  const auto context = context_of(options.context);
  if (!context) return std::unexpected(context.error());
  if (options.mode > AcquisitionMode::Emergency ||
      static_cast<unsigned>(type) >= resmgr::kResourceTypes) {
    return fail(ErrorCode::InvalidArgument, "no such mode or type");
  }
  std::uint64_t* used = resmgr::client::Domain::charge_at_once(**context, type, amount);
  if (used == nullptr) {
    const std::uint64_t deadline = convert::patience(options.mode, options.timeout);
    const auto charged = guard("charge", [&] {
      return domain_->charge(**context, type, amount, convert::urgency(options.mode), deadline);
    });
    if (!charged) return std::unexpected(charged.error());
    used = *charged;
  }
  return BudgetCharge({.used = used, .gate = &domain_->gate(), .amount = amount, .type = type});
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
