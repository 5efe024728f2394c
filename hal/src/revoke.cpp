// SPDX-License-Identifier: Apache-2.0
//
// What holders are asked when somebody is in an emergency.
#include <chrono>
#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;

Result<std::uint32_t> ResourceManager::holder_of(Context* given) const noexcept {
  if (!domain_ || domain_->closed()) return fail(ErrorCode::Disconnected);
  if (!given) return 0u;
  const auto context = context_of(given);
  if (!context) return std::unexpected(context.error());
  return std::uint32_t{(*context)->id};
}

Result<void> ResourceManager::on_revoke(OnRevoke callback, Context* context) {
  const auto holder = holder_of(context);
  if (!holder) return std::unexpected(holder.error());
  return guard("on_revoke", [&]() -> Result<void> {
    if (!callback) return domain_->on_revoke(*holder, {});
    return domain_->on_revoke(
        *holder, [call = std::move(callback)](const resmgr::client::Revocation& asked) {
          const std::chrono::nanoseconds until(asked.until_ns);
          call({.holder = asked.holder,
                .by = asked.by,
                .until = std::chrono::steady_clock::time_point(until)});
        });
  });
}

}  // namespace hal
