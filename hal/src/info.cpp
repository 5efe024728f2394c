// SPDX-License-Identifier: Apache-2.0
//
// What goes on: descriptions, counters and holders.
#include <string>
#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::client::Domain;

Result<ResourceInfo> convert::info(const Domain& domain, const resmgr::registry::EntryCopy& entry) {
  ResourceInfo to;
  to.handle = entry.handle;
  to.name = entry.name_text();
  to.metadata.type = entry.type;
  to.metadata.class_name = domain.class_name(entry.class_id);
  to.metadata.size_bytes = entry.size_bytes;
  to.metadata.alignment = entry.alignment;
  to.metadata.access_pattern = entry.access_pattern;
  to.metadata.priority = entry.priority;
  to.metadata.flags = entry.flags;
  to.metadata.numa_node = entry.numa_node;
  const auto pairs =
      domain.read_settled([&](const auto& view) { return view.pairs(entry.handle); });
  if (!pairs) return std::unexpected(pairs.error());
  for (const auto& pair : *pairs) {
    to.metadata.pairs.emplace_back(pair.key.data(), pair.value.data());
  }
  to.owner = DriverId{entry.owner_driver};
  to.owner_name = domain.driver_name(entry.owner_driver);
  to.state = domain.lifecycle(entry);
  to.cookie = entry.cookie;
  to.age_ns = resmgr::Clock::elapsed_ns(entry.created_at);
  to.has_fd = domain.has_file(entry.handle);
  return to;
}

Result<ResourceInfo> ResourceManager::info(Handle handle) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("info", [&]() -> Result<ResourceInfo> {
    const auto entry = domain_->view().read(handle);
    if (!entry) return std::unexpected(entry.error());
    return convert::info(*domain_, *entry);
  });
}

Result<void> ResourceManager::for_each(
    const std::function<bool(const ResourceInfo&)>& visit) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!visit) return fail(ErrorCode::InvalidArgument, "nothing to call");
  return guard("for_each", [&]() -> Result<void> {
    domain_->view().for_each([&](const resmgr::registry::EntryCopy& entry) {
      const auto described = convert::info(*domain_, entry);
      return !described || visit(*described);  // what goes meanwhile is not shown
    });
    return {};
  });
}

Result<ResourceStats> ResourceManager::get_resource_stats(Handle handle) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("get_resource_stats", [&]() -> Result<ResourceStats> {
    const auto counters = domain_->engine().counters(handle);
    if (!counters) return std::unexpected(counters.error());
    ResourceStats stats;
    stats.exclusive_acquisitions = counters->exclusive_acquisitions;
    stats.shared_acquisitions = counters->shared_acquisitions;
    stats.contended = counters->contended;
    stats.longest_wait_ns = counters->longest_wait_ns;
    stats.sampled_hold_ns = counters->sampled_hold_ns;
    const auto waits = resmgr::lock::read_slot_waits(domain_->engine().tables(), handle);
    stats.waits = waits.waits;
    stats.waited_ns = waits.waited_ns;
    if (const auto entry = domain_->view().read(handle)) {
      stats.age_ns = resmgr::Clock::elapsed_ns(entry->created_at);
    }
    stats.waiting = domain_->engine().count_waiters(handle);
    domain_->engine().for_each_holder(
        handle, [&](const Participant& who) { stats.holders.push_back(who); });
    return stats;
  });
}

ResourceManager::DomainStats ResourceManager::stats() const noexcept {
  DomainStats stats;
  if (!domain_) return stats;
  const rm_lock_region& region = *domain_->engine().tables().region;
  stats.deadlocks = resmgr::load_relaxed(region.deadlocks);
  stats.late_victims = resmgr::load_relaxed(region.late_victims);
  stats.order_inversions = resmgr::load_relaxed(region.order_inversions);
  stats.resources = domain_->view().size();
  stats.contexts = domain_->contexts();
  stats.resident_bytes = domain_->resident_bytes();
  return stats;
}

Result<std::vector<Participant>> ResourceManager::holds() const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("holds", [&]() -> Result<std::vector<Participant>> { return domain_->holds(); });
}

Result<void> ResourceManager::set_order_policy(OrderPolicy policy) noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (policy > OrderPolicy::Refuse) return fail(ErrorCode::InvalidArgument, "order policy");
  domain_->engine().order().set_policy(policy);
  return {};
}

}  // namespace hal
