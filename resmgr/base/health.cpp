// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/health.hpp"

#include <array>
#include <cstddef>

namespace resmgr {
namespace {

constexpr std::array<std::string_view, 3> kStatuses{"ok", "degraded", "critical"};
constexpr std::array<std::string_view, 11> kCodes{
    "budget-near-limit", "budget-exhausted", "budget-overdrawn",   "quarantined",
    "poisoned",          "orphaned",         "dead-not-recovered", "table-nearly-full",
    "table-full",        "long-wait",        "authority-absent"};

}  // namespace

std::string_view to_string(HealthStatus status) noexcept {
  const auto number = static_cast<std::size_t>(status);
  return number < kStatuses.size() ? kStatuses[number] : "unknown";
}

std::string_view to_string(HealthCode code) noexcept {
  const auto number = static_cast<std::size_t>(code);
  return number < kCodes.size() ? kCodes[number] : "unknown";
}

}  // namespace resmgr
