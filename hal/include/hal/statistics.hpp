// SPDX-License-Identifier: Apache-2.0
//
// Statistics and health: what a manager tells of its domain as a whole.
//
// What it is: counts by type and owner that all processes of the domain add to, the resources that
// cost the most waiting, and what speaks against the domain's health. What it is not: on the way of
// what is free: an acquisition that does not wait counts where it writes anyhow, and the rest is
// counted by those who waited or were refused; nor exact to the last one where processes are
// killed. Calls here look at every resource that there is: for a tool, or once a second, not for a
// loop.
//
// Lifetime: part of a ResourceManager. Thread-safety: all functions from any thread.
//
//   const auto dma = manager->statistics(hal::ResourceType::Hardware, driver);
//   if (dma && dma->contention() > 0.5) add_channels();
//   for (const auto& worst : manager->bottlenecks(3).value()) log(worst.name, worst.blamed_driver);
#pragma once

#include <cstddef>
#include <vector>

#include <hal/budgets.hpp>
#include <hal/export.hpp>
#include <hal/resource.hpp>

#include "resmgr/base/health.hpp"
#include "resmgr/base/statistics.hpp"

namespace hal {

using resmgr::Bottleneck;
using resmgr::HealthCode;
using resmgr::HealthLimits;
using resmgr::HealthReason;
using resmgr::HealthReport;
using resmgr::HealthStatus;
using resmgr::TypeStatistics;
using resmgr::WaitStatistics;

/// What a ResourceManager tells of its domain.
class HAL_EXPORT Observing : public Budgeting {
 public:
  /// Of the resources of a type, and, given a driver, of those that it owns. Errors:
  /// InvalidArgument (no such driver or type), Disconnected, System.
  [[nodiscard]] Result<TypeStatistics> statistics(ResourceType type, DriverId driver = {}) const;
  /// The resources that cost the most waiting since they were registered, at most so many, the
  /// worst first; none that nobody queued for. Errors: Disconnected, System.
  [[nodiscard]] Result<std::vector<Bottleneck>> bottlenecks(std::size_t most = 10) const;
  /// Whether the domain is well, and every reason against it, the worst first. Errors:
  /// InvalidArgument (a limit of more than 100 percent), Disconnected (also where the domain is
  /// over), System.
  [[nodiscard]] Result<HealthReport> health(const HealthLimits& limits = {}) const;

 protected:
  using Budgeting::Budgeting;
  ~Observing() = default;
};

}  // namespace hal
