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
#include <functional>
#include <memory>
#include <utility>

#include <hal/export.hpp>
#include <hal/resource.hpp>

#include "resmgr/base/budgets.hpp"

namespace resmgr::client {
class Domain;
class DomainGate;
}  // namespace resmgr::client
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
  std::chrono::nanoseconds timeout{0};  ///< of Timeout
  /// Whose driver is charged; null: the calling thread's own context.
  Context* context = nullptr;
};

/// What was charged; given back when it goes out of scope.
class [[nodiscard]] HAL_EXPORT BudgetCharge {
 public:
  BudgetCharge() noexcept = default;
  BudgetCharge(BudgetCharge&& other) noexcept : what_(std::exchange(other.what_, What())) {}
  BudgetCharge& operator=(BudgetCharge&& other) noexcept {
    if (this != &other) {
      give_back();
      what_ = std::exchange(other.what_, What());
    }
    return *this;
  }
  BudgetCharge(const BudgetCharge&) = delete;
  BudgetCharge& operator=(const BudgetCharge&) = delete;
  ~BudgetCharge() { give_back(); }

  [[nodiscard]] std::uint64_t amount() const noexcept { return what_.amount; }
  [[nodiscard]] ResourceType type() const noexcept { return what_.type; }
  /// Now; it is of nothing afterwards. From any thread.
  void give_back() noexcept {
    if (what_.used == nullptr) return;
    return_it(what_);
    what_ = What();
  }

 private:
  friend class Budgeting;
  struct What {
    std::uint64_t* used = nullptr;  ///< of the account; null: nothing was charged
    const resmgr::client::DomainGate* gate = nullptr;
    std::uint64_t amount = 0;
    ResourceType type = ResourceType::Custom;
  };
  explicit BudgetCharge(const What& what) noexcept : what_(what) {}
  static void return_it(const What& what) noexcept;

  What what_;
};

/// Somebody needs more of a type than there is.
struct ReclamationRequest {
  ResourceType type = ResourceType::Custom;
  std::uint64_t amount = 0;  ///< that is still needed
};
/// Frees what it can do without, and returns how much that was, in units of the type. What it frees
/// comes back by itself: by unregistering, or by giving a charge back. Reclamation goes on with the
/// next callback where that was less than is needed.
using OnReclaim = std::function<std::uint64_t(const ReclamationRequest&)>;

/// A budget has become more or less scarce.
struct PressureChange {
  ResourceType type = ResourceType::Custom;
  DriverId driver = {};  ///< whose; none: of all together
  ResourcePressure level = ResourcePressure::Low;
  ResourcePressure before = ResourcePressure::Low;
};
using OnPressure = std::function<void(const PressureChange&)>;

/// A callback that was registered; it is no more when this goes, and does not run then, unless it
/// is what ends it.
class [[nodiscard]] HAL_EXPORT BudgetCallback {
 public:
  BudgetCallback() noexcept = default;
  BudgetCallback(BudgetCallback&& other) noexcept;
  BudgetCallback& operator=(BudgetCallback&& other) noexcept;
  BudgetCallback(const BudgetCallback&) = delete;
  BudgetCallback& operator=(const BudgetCallback&) = delete;
  ~BudgetCallback() { unregister(); }
  void unregister() noexcept;

 private:
  friend class Budgeting;
  enum class Kind : std::uint8_t { None, Reclamation, Pressure };

  std::weak_ptr<resmgr::client::Domain> domain_;
  std::uint64_t id_ = 0;
  Kind kind_ = Kind::None;
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
  /// Charges the driver of a context. Blocking and Timeout wait for what others give back: those
  /// who have some that they do not use, and those with reclamation callbacks, are asked for it, in
  /// all processes of the domain. Who waits is no part of the wait-for graph: that somebody waits
  /// for budget that he alone could give back, nobody tells him. Errors: BudgetExceeded
  /// (requested(), available(); also where it is more than there can be, and in a callback of the
  /// manager's, which could not be answered while it waits), TimedOut (likewise), InvalidArgument
  /// (no such type or mode, a context of another manager), NotPermitted (an emergency, which the
  /// driver may not use), CapacityExceeded (contexts, or accounts: four for each client that there
  /// can be, and 64 at least), Disconnected, System.
  [[nodiscard]] Result<BudgetCharge> charge(ResourceType type, std::uint64_t amount,
                                            const ChargeOptions& options) {
    return charge_slowly(type, amount, options);
  }
  /// NonBlocking, as the thread's own context: the fast path.
  [[nodiscard]] Result<BudgetCharge> charge(ResourceType type, std::uint64_t amount) {
    const AtOnce charged = charge_at_once(type, amount);
    if (charged.used != nullptr) [[likely]]
      return BudgetCharge(
          {.used = charged.used, .gate = charged.gate, .amount = amount, .type = type});
    return charge_slowly(type, amount, ChargeOptions{});
  }

  /// Whom to call where somebody needs more of a type than there is; those of lower priority first,
  /// and of one priority the older. Callbacks run on the manager's one callback thread, one at a
  /// time, under no lock; they may call any function of the manager but close(), and what waits for
  /// budget does not wait there. Errors: InvalidArgument (nothing to call, no such type or
  /// priority), Disconnected, System.
  [[nodiscard]] Result<BudgetCallback> register_reclamation_callback(
      ResourceType type, OnReclaim callback, ResourcePriority priority = ResourcePriority::Normal);
  /// Whom to call when a budget has another level of pressure, in the order of the changes, as
  /// above. Errors: InvalidArgument (nothing to call), Disconnected, System.
  [[nodiscard]] Result<BudgetCallback> register_pressure_callback(OnPressure callback);

  /// For what of the library stands on the same domain.
  [[nodiscard]] const std::shared_ptr<resmgr::client::Domain>& domain() const noexcept {
    return domain_;
  }

 protected:
  explicit Budgeting(std::shared_ptr<resmgr::client::Domain> domain) noexcept;
  Budgeting(const Budgeting&) = delete;
  Budgeting& operator=(const Budgeting&) = delete;
  ~Budgeting();

  /// What was charged, in two registers; nothing if there is no account with enough.
  struct AtOnce {
    std::uint64_t* used = nullptr;
    const resmgr::client::DomainGate* gate = nullptr;
  };
  [[nodiscard]] AtOnce charge_at_once(ResourceType type, std::uint64_t amount) noexcept;
  [[nodiscard]] Result<BudgetCharge> charge_slowly(ResourceType type, std::uint64_t amount,
                                                   const ChargeOptions& options);
  /// The context, or the calling thread's own, where it is null. Errors: Disconnected,
  /// InvalidArgument (another manager's), CapacityExceeded.
  [[nodiscard]] Result<resmgr::lock::Context*> context_of(Context* given) const noexcept;

  std::shared_ptr<resmgr::client::Domain> domain_;
};

}  // namespace hal
