// SPDX-License-Identifier: Apache-2.0
//
// Several at once on a ring: the steps of AcquireAll, each of which is a wait of the ring's.
#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <hal/ring.hpp>

#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/client/acquire_all.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

using resmgr::fail;
using resmgr::client::AcquireAll;

struct [[gnu::visibility("hidden")]] Ring::Several::Steps {
  explicit Steps(AsyncPath how) noexcept : path(how) {}

  Result<void> begin(std::shared_ptr<resmgr::client::Domain> from, resmgr::lock::Context& by,
                     std::span<const Wanted> wanted, const resmgr::lock::Request& request) {
    holds.reserve(wanted.size());
    auto made = AcquireAll::make(*from, by, wanted, request);
    if (!made) return std::unexpected(std::move(made.error()));
    domain = std::move(from);
    context = &by;
    all = std::make_unique<AcquireAll>(std::move(*made));
    return {};
  }
  /// Asks until it has to wait. False: it need not any more.
  [[nodiscard]] bool has_to_wait(AsyncAcquire& wait) noexcept {
    while (!refusal) {
      const Wanted* const next = all->next();
      if (!next) return false;
      if (cancelled) {
        heed(fail(ErrorCode::Cancelled));
      } else if (context->engine.load(std::memory_order_acquire) != &domain->engine()) {
        heed(fail(ErrorCode::Disconnected));
      } else {
        wait.begin(*domain, *context, next->handle, all->request(), path);
        waits = !wait.done();
        if (waits) return true;
        heed(wait.take());
      }
    }
    return false;
  }
  void heed(Result<ScopedResource> outcome) noexcept {
    waits = false;
    if (outcome) {
      all->granted({.tenure = outcome->hand_on().tenure()});
    } else if (auto goes_on = all->refused(std::move(outcome.error())); !goes_on) {
      refusal.emplace(std::move(goes_on.error()));
    }
  }
  [[nodiscard]] Result<std::vector<ScopedResource>> take() noexcept {
    if (refusal) return std::unexpected(std::move(*refusal));
    for (const resmgr::client::Acquired& one : all->take()) {
      holds.push_back(ScopedResource(one.handle, one.context, one.kind));
    }
    return std::move(holds);
  }

  AsyncPath path;
  std::shared_ptr<resmgr::client::Domain> domain{};
  resmgr::lock::Context* context = nullptr;
  std::unique_ptr<AcquireAll> all{};  ///< none if it was refused at once
  std::optional<Error> refusal{};
  std::vector<ScopedResource> holds{};  ///< none yet; room for all
  bool waits = false;                   ///< for next(); its outcome was not heeded
  bool cancelled = false;
};

Ring::Several::Several(Ring& ring, ResourceManager& manager, std::span<const Wanted> wanted,
                       const AcquireOptions& options, std::source_location where) noexcept {
  const auto begun = guard("acquire_all", [&]() -> Result<void> {
    steps_ = std::make_unique<Steps>(ring.path());
    const auto context = manager.acquirer(options.context, true);
    if (!context) return std::unexpected(context.error());
    const auto request = convert::request(options, where);
    if (!request) return std::unexpected(request.error());
    return steps_->begin(manager.domain_, **context, wanted, *request);
  });
  if (!steps_) return;
  if (!begun) steps_->refusal.emplace(begun.error());
  (void)steps_->has_to_wait(wait);
}

Ring::Several::~Several() = default;

bool Ring::Several::is_all() noexcept {
  if (!steps_) return true;
  if (steps_->waits) steps_->heed(wait.take());
  return !steps_->has_to_wait(wait);
}

void Ring::Several::cancel() noexcept {
  if (steps_) steps_->cancelled = true;
  (void)wait.cancel();
}

Result<std::vector<ScopedResource>> Ring::Several::take() noexcept {
  if (!is_all()) return fail(ErrorCode::WouldBlock, "it waits");
  if (!steps_) return resmgr::fail_errno(ENOMEM, "acquire_all");
  return steps_->take();
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
