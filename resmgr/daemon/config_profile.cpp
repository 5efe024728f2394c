// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/config_profile.hpp"

#include <algorithm>
#include <variant>

#include "resmgr/budget/profile.hpp"
#include "resmgr/daemon/config_keys.hpp"

namespace resmgr::daemon {
void apply_profile(Config& config, const GivenConfig& given, const budget::Platform& platform) {
  const auto profile = budget::make_profile(config.domain.profile, platform);
  if (!profile) return;
  const Capacities from_file = config.domain.capacities;
  config.domain.capacities = profile->capacities;
  for (const Key<DomainConfig>& key : domain_keys()) {
    const auto* const size = std::get_if<setting::Capacity<DomainConfig>>(&key.setting);
    if (!size || !given.domain.find(key.name)) continue;
    config.domain.capacities.*size->member = from_file.*size->member;
  }
  for (std::size_t i = 0; i < kResourceTypes; ++i) {
    const auto type = static_cast<ResourceType>(i);
    const ResourceBudget& budget = profile->budget(type);
    const bool said = std::ranges::any_of(config.budgets, [&](const BudgetRule& rule) {
      return rule.driver.empty() && rule.type == type;
    });
    if (said || budget.max == kUnlimited) continue;
    config.budgets.push_back({.type = type,
                              .max = budget.max,
                              .reserved = budget.reserved,
                              .warning = budget.warning_percent,
                              .critical = budget.critical_percent});
  }
}

}  // namespace resmgr::daemon
