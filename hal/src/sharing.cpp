// SPDX-License-Identifier: Apache-2.0
//
// Rights of other drivers, and dependencies between resources.
#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;

Result<void> ResourceManager::share_resource(Handle handle, DriverId by, DriverId with,
                                             Rights rights) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("share_resource", [&]() -> Result<void> {
    return domain_->authority().share(handle, by.value, with.value, rights);
  });
}

Result<void> ResourceManager::unshare_resource(Handle handle, DriverId by, DriverId with) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("unshare_resource", [&]() -> Result<void> {
    return domain_->authority().unshare(handle, by.value, with.value);
  });
}

Result<Rights> ResourceManager::rights(Handle handle, DriverId driver) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("rights", [&]() -> Result<Rights> {
    const auto entry = domain_->view().read(handle);
    if (!entry) return std::unexpected(entry.error());
    if (!domain_->knows_driver(driver.value)) {
      return fail(ErrorCode::InvalidArgument, "no such driver");
    }
    return domain_->read_settled(
        [&](const auto& view) { return view.rights(handle, driver.value); });
  });
}

Result<void> ResourceManager::add_dependency(Handle needs, Handle needed) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("add_dependency", [&]() -> Result<void> {
    return domain_->authority().add_dependency(needs, needed);
  });
}

Result<void> ResourceManager::remove_dependency(Handle needs, Handle needed) {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("remove_dependency", [&]() -> Result<void> {
    return domain_->authority().remove_dependency(needs, needed);
  });
}

Result<std::vector<Handle>> ResourceManager::teardown_order(Handle handle) const {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  return guard("teardown_order", [&]() -> Result<std::vector<Handle>> {
    return domain_->read_settled([&](const auto& view) { return view.teardown_order(handle); });
  });
}

}  // namespace hal
