// SPDX-License-Identifier: Apache-2.0
//
// Steps of an asynchronous acquire_all: those of AcquireAll, each of which is one AsyncAcquire.
//
// What it is: what a ring of the library's and one of the author's have in common. What it is not:
// the wait, which its caller has, for a ring knows it. Lifetime: the wait is over before it, or
// given up. Thread-safety: none.
//
//   steps->begin(domain, context, wanted, request);
//   waits = steps->has_to_wait(wait);
//   ...wait is done...
//   waits = steps->goes_on(wait);
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <hal/async_acquire_all.hpp>

#include "resmgr/client/acquire_all.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

struct [[gnu::visibility("hidden")]] AsyncAcquireAll::Steps {
  explicit Steps(AsyncPath how) noexcept : path(how) {}

  /// As ResourceManager::acquire_all(), up to the first wait, which `wait` is for. Null: no memory.
  [[nodiscard]] static std::unique_ptr<Steps> make(ResourceManager& manager,
                                                   std::span<const Wanted> wanted,
                                                   const AcquireOptions& options,
                                                   std::source_location where, AsyncPath path,
                                                   AsyncAcquire& wait) noexcept;
  /// Of a wait that is done. False: there is an outcome of the whole. Otherwise it waits anew.
  [[nodiscard]] bool goes_on(AsyncAcquire& wait) noexcept {
    if (waits) heed(wait.take());
    return has_to_wait(wait);
  }
  [[nodiscard]] Result<std::vector<ScopedResource>> take() noexcept;

  AsyncPath path;
  bool cancelled = false;

 private:
  Result<void> begin(std::shared_ptr<resmgr::client::Domain> from, resmgr::lock::Context& by,
                     std::span<const Wanted> wanted, const resmgr::lock::Request& request);
  [[nodiscard]] bool has_to_wait(AsyncAcquire& wait) noexcept;
  void heed(Result<ScopedResource> outcome) noexcept;

  std::shared_ptr<resmgr::client::Domain> domain{};
  resmgr::lock::Context* context = nullptr;
  std::unique_ptr<resmgr::client::AcquireAll> all{};  ///< none if it was refused at once
  std::optional<Error> refusal{};
  std::vector<ScopedResource> holds{};  ///< none yet; room for all
  bool waits = false;                   ///< for the next one; its outcome was not heeded
};

}  // namespace hal
