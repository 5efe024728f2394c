// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of budgets: what a type or a driver may have, what it has, and pressure.
//
// What it is: plain values that the engine, libhal and the tools share, and the interface through
// which the registry charges what is registered. What it is not: the rules; see resmgr/budget.
//
// Units go by type: bytes of Memory, tokens a second of Performance, resources of the others.
//
// Lifetime and thread-safety: plain values.
//
//   manager.set_budget(hal::ResourceType::Memory, {.max = 64 << 20, .reserved = 4 << 20});
#pragma once

#include <cstdint>
#include <string_view>

#include "resmgr/base/error.hpp"
#include "resmgr/base/export.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr {

/// No limit.
inline constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

struct ResourceBudget {
  std::uint64_t max = kUnlimited;      ///< never exceeded but in an emergency
  std::uint64_t reserved = 0;          ///< of max: for emergencies alone
  std::uint8_t warning_percent = 75;   ///< of max: pressure is Medium from here on
  std::uint8_t critical_percent = 90;  ///< High from here on; Critical where nothing is left

  friend bool operator==(const ResourceBudget&, const ResourceBudget&) = default;
};

/// How scarce something is. Levels are left later than they are entered (hysteresis).
enum class ResourcePressure : std::uint8_t { Low = 0, Medium = 1, High = 2, Critical = 3 };

/// What became of a budget so far.
struct BudgetUsage {
  ResourceBudget budget = {};
  std::uint64_t used = 0;        ///< `drawn` included
  std::uint64_t drawn = 0;       ///< in the hands of clients, whether or not they charged it yet
  std::uint64_t peak = 0;        ///< the most that was used at once
  std::uint64_t overdrawn = 0;   ///< the most that was used above max
  std::uint64_t refusals = 0;    ///< requests that met BudgetExceeded
  std::uint32_t overdrafts = 0;  ///< emergencies that took from what was reserved, or above max
  ResourcePressure pressure = ResourcePressure::Low;

  /// What may still be charged; `emergency`: of what is reserved too.
  [[nodiscard]] constexpr std::uint64_t available(bool emergency = false) const noexcept {
    const std::uint64_t most = budget.max - (emergency ? 0 : budget.reserved);
    return used < most ? most - used : 0;
  }
};

/// Whether a request may take what is reserved, and more.
enum class Urgency : std::uint8_t { Normal = 0, Emergency = 1 };

/// What a resource of that type and size costs.
[[nodiscard]] constexpr std::uint64_t cost_of(ResourceType type,
                                              std::uint64_t size_bytes) noexcept {
  const bool measured = type == ResourceType::Memory || type == ResourceType::Performance;
  return measured ? size_bytes : 1;
}

/// Who is asked before something is registered, and told when it is gone. Callers serialise.
class Accountant {
 public:
  virtual ~Accountant() = default;
  /// What charge() would say, without doing it; a refusal counts as one.
  [[nodiscard]] virtual Result<void> check(std::uint32_t driver, ResourceType type,
                                           std::uint64_t amount, Urgency urgency) noexcept = 0;
  /// Errors: BudgetExceeded.
  [[nodiscard]] virtual Result<void> charge(std::uint32_t driver, ResourceType type,
                                            std::uint64_t amount, Urgency urgency) noexcept = 0;
  virtual void give_back(std::uint32_t driver, ResourceType type,
                         std::uint64_t amount) noexcept = 0;
};

/// "low", "medium", "high", "critical"; "unknown" for values outside.
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(ResourcePressure pressure) noexcept;

}  // namespace resmgr
