// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of health: whether a domain is well, and what speaks against it.
//
// What it is: plain values that libhal and the tools share. What it is not: damage, which
// `resmgrctl doctor` looks for; a domain without any may be out of room, or of patience.
//
// Lifetime and thread-safety: plain values.
//
//   const auto health = manager->health();
//   if (health && health->status == hal::HealthStatus::Critical) page_somebody(health->reasons);
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/base/export.hpp"

namespace resmgr {

enum class HealthStatus : std::uint8_t {
  Ok = 0,
  Degraded = 1,  ///< it works, and somebody should look
  Critical = 2,  ///< something that is asked for can't be had
};

enum class HealthCode : std::uint8_t {
  BudgetNearLimit = 0,   ///< above its warning level
  BudgetExhausted = 1,   ///< nothing is left but what is kept for emergencies
  BudgetOverdrawn = 2,   ///< emergencies took more than there is
  Quarantined = 3,       ///< hardware that is being made quiet
  Poisoned = 4,          ///< hardware that can't be made quiet
  Orphaned = 5,          ///< its owner died, and nobody took his place yet
  DeadNotRecovered = 6,  ///< a client died, and what it held is not yet taken from it
  TableNearlyFull = 7,
  TableFull = 8,
  LongWait = 9,          ///< somebody waits for long
  AuthorityAbsent = 10,  ///< resmgrd does not answer: nothing is registered or shared meanwhile
};

struct HealthReason {
  HealthCode code = HealthCode::BudgetNearLimit;
  HealthStatus status = HealthStatus::Degraded;  ///< what it makes of the domain
  std::string subject;                           ///< a resource, a budget, a table
  std::string text;                              ///< one line
};

struct HealthReport {
  HealthStatus status = HealthStatus::Ok;  ///< the worst of the reasons'
  std::vector<HealthReason> reasons;
};

/// From where on something is a reason.
struct HealthLimits {
  std::uint32_t table_percent = 90;            ///< used of a table
  std::uint64_t long_wait_ns = 1'000'000'000;  ///< of one request that is queued
  std::uint32_t most_reasons_of_a_code = 16;   ///< those behind are counted in one more
};

/// "ok", "degraded", "critical"; "unknown" for values outside.
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(HealthStatus status) noexcept;
/// As the enumeration, lower case with dashes; likewise.
[[nodiscard]] RESMGR_EXPORT std::string_view to_string(HealthCode code) noexcept;

}  // namespace resmgr
