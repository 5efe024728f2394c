// SPDX-License-Identifier: Apache-2.0
//
// Acquisitions on a ring that call back.
#include <memory>
#include <utility>

#include <hal/ring.hpp>

#include "hal/src/guard.hpp"

namespace hal {

using resmgr::fail;

struct Ring::Called final : Ring::Pending {
  template <typename What>
  Called(ResourceManager& manager, What& what, const AcquireOptions& options,
         std::source_location where, AsyncPath path, Callback&& to_call) noexcept
      : Pending(manager, what, options, where, path), callback(std::move(to_call)) {}
  void tell() override { callback(wait.take()); }
  Callback callback;
};

template <typename What>
Result<Ring::Token> Ring::call_back(ResourceManager& manager, What& what,
                                    const AcquireOptions& options, Callback&& callback,
                                    std::source_location where) {
  if (!callback) return fail(ErrorCode::InvalidArgument, "no callback");
  return guard("ring", [&]() -> Result<Token> {
    return own(
        std::make_unique<Called>(manager, what, options, where, path(), std::move(callback)));
  });
}

Result<Ring::Token> Ring::acquire(ResourceManager& manager, Handle handle,
                                  const AcquireOptions& options, Callback callback,
                                  std::source_location where) {
  return call_back(manager, handle, options, std::move(callback), where);
}

Result<Ring::Token> Ring::acquire_any(ResourceManager& manager, Selection& any,
                                      const AcquireOptions& options, Callback callback,
                                      std::source_location where) {
  return call_back(manager, any, options, std::move(callback), where);
}

struct Ring::CalledAll final : Ring::Several {
  CalledAll(Ring& ring, ResourceManager& manager, std::span<const Wanted> wanted,
            const AcquireOptions& options, std::source_location where,
            AllCallback&& to_call) noexcept
      : Several(ring, manager, wanted, options, where), callback(std::move(to_call)) {}
  void tell() override { callback(take()); }
  AllCallback callback;
};

Result<Ring::Token> Ring::acquire_all(ResourceManager& manager, std::span<const Wanted> wanted,
                                      const AcquireOptions& options, AllCallback callback,
                                      std::source_location where) {
  if (!callback) return fail(ErrorCode::InvalidArgument, "no callback");
  return guard("ring", [&]() -> Result<Token> {
    return own(
        std::make_unique<CalledAll>(*this, manager, wanted, options, where, std::move(callback)));
  });
}

}  // namespace hal
