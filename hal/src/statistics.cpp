// SPDX-License-Identifier: Apache-2.0
#include <hal/statistics.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;

Result<TypeStatistics> Observing::statistics(ResourceType type, DriverId driver) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("statistics", [&]() -> Result<TypeStatistics> {
    if (!domain_->knows_driver(driver.value) ||
        static_cast<unsigned>(type) >= resmgr::kResourceTypes) {
      return fail(ErrorCode::InvalidArgument, "no such driver or type");
    }
    return domain_->observe().statistics(driver.value, type);
  });
}

Result<std::vector<Bottleneck>> Observing::bottlenecks(std::size_t most) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("bottlenecks", [&]() -> Result<std::vector<Bottleneck>> {
    return domain_->observe().bottlenecks(most);
  });
}

Result<HealthReport> Observing::health(const HealthLimits& limits) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (limits.table_percent > 100) return fail(ErrorCode::InvalidArgument, "percent of a table");
  return guard("health", [&]() -> Result<HealthReport> {
    return domain_->observe().health(limits,
                                     {.authority = domain_->authority().is_there(), .is_gone = {}});
  });
}

}  // namespace hal
