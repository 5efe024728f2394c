// SPDX-License-Identifier: Apache-2.0
//
// Being asked to let go, on a ring.
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include <hal/ring.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;

/// Where a manager finds the ring, as long as there is one.
struct [[gnu::visibility("hidden")]] Ring::Address {
  std::mutex mutex;
  Ring* ring = nullptr;
};

Result<void> Ring::on_revoke(ResourceManager& manager, OnRevoke callback, Context* context) {
  if (!callback) return manager.on_revoke({}, context);
  return guard("on_revoke", [&]() -> Result<void> {
    if (!address_) {
      address_ = std::make_shared<Address>();
      address_->ring = this;
    }
    auto kept = std::make_shared<const OnRevoke>(std::move(callback));
    return manager.on_revoke(
        [address = address_, kept](const RevokeRequest& request) {
          const std::lock_guard lock(address->mutex);
          if (!address->ring) return;
          (void)address->ring->post([kept, request] { (*kept)(request); });
        },
        context);
  });
}

void Ring::leave() noexcept {
  if (!address_) return;
  const std::lock_guard lock(address_->mutex);
  address_->ring = nullptr;
}

}  // namespace hal
