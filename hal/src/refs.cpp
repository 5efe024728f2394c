// SPDX-License-Identifier: Apache-2.0
#include <hal/refs.hpp>

#include <hal/resource_manager.hpp>

#include "hal/src/convert.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/lock/engine.hpp"

namespace hal {

using resmgr::fail;
using resmgr::lock::FastPath;
using resmgr::lock::LockEngine;
using Outcome = FastPath::Outcome;

void ScopedResource::let_go(Handle handle, std::uintptr_t context) noexcept {
  resmgr::lock::Context& holder = *context_of(context);
  const Outcome outcome = kind_of(context) == HoldKind::Exclusive
                              ? FastPath::try_release_exclusive(holder, handle)
                              : FastPath::try_release_shared(holder, handle);
  if (outcome != Outcome::Done) [[unlikely]] {
    let_go_slowly(handle, context, outcome == Outcome::Owing);
  }
}

// There is nobody to tell if the hold was revoked, or its resource is gone.
void ScopedResource::let_go_slowly(Handle handle, std::uintptr_t context, bool ended) noexcept {
  resmgr::lock::Context& holder = *context_of(context);
  // Acquire: pairs with the release store of close(), which frees what the engine stands on.
  LockEngine* engine = holder.engine.load(std::memory_order_acquire);
  if (!engine) return;
  if (ended) return engine->finish_release_shared(holder, handle);
  (void)engine->release(holder, handle, kind_of(context));
}

Result<void> ScopedResource::release() noexcept {
  if (!context_) return fail(ErrorCode::NotPermitted, "release of an empty ref");
  resmgr::lock::Context& holder = *context();
  LockEngine* engine = holder.engine.load(std::memory_order_acquire);
  const Handle handle = handle_;
  const HoldKind held = kind();
  handle_ = Handle();
  context_ = 0;
  if (!engine) return fail(ErrorCode::Disconnected);
  return engine->release(holder, handle, held);
}

bool ScopedResource::inconsistent() const noexcept {
  if (!context_) return false;
  LockEngine* engine = context()->engine.load(std::memory_order_acquire);
  if (!engine) return false;
  const resmgr::lock::StateWord word = engine->word(handle_.slot());
  return word.is_tenant(handle_.generation()) && word.has(RM_WORD_INCONSISTENT);
}

Result<void> ScopedResource::downgrade() noexcept {
  if (!context_) return fail(ErrorCode::InvalidArgument, "an empty ref");
  LockEngine* engine = context()->engine.load(std::memory_order_acquire);
  if (!engine) return fail(ErrorCode::Disconnected);
  if (kind() == HoldKind::Shared) return fail(ErrorCode::InvalidArgument, "held shared already");
  auto done = engine->downgrade(*context(), handle_);
  if (done) context_ |= kSharedBit;
  return done;
}

Result<void> ScopedResource::try_upgrade(std::source_location where) noexcept {
  return upgrade(AcquireOptions{.mode = AcquisitionMode::NonBlocking}, where);
}

Result<void> ScopedResource::upgrade(const AcquireOptions& options,
                                     std::source_location where) noexcept {
  if (!context_) return fail(ErrorCode::InvalidArgument, "an empty ref");
  LockEngine* engine = context()->engine.load(std::memory_order_acquire);
  if (!engine) return fail(ErrorCode::Disconnected);
  if (kind() == HoldKind::Exclusive) {
    return fail(ErrorCode::InvalidArgument, "held exclusively already");
  }
  auto request = convert::request(options, where);
  if (!request) return std::unexpected(std::move(request.error()));
  auto done = engine->upgrade(*context(), handle_, *request);
  if (done) context_ &= ~kSharedBit;
  return done;
}

Result<void> ScopedResource::consistent() noexcept {
  if (!context_) return fail(ErrorCode::InvalidArgument, "an empty ref");
  LockEngine* engine = context()->engine.load(std::memory_order_acquire);
  if (!engine) return fail(ErrorCode::Disconnected);
  return engine->consistent(*context(), handle_);
}

bool WeakResource::expired() const noexcept {
  const auto domain = domain_.lock();
  return !domain || domain->closed() || !domain->engine().is_valid(handle_);
}

Result<ScopedResource> WeakResource::lock(HoldKind kind,
                                          std::source_location where) const noexcept {
  const auto domain = domain_.lock();
  if (!domain || domain->closed()) return fail(ErrorCode::Disconnected);
  auto context = domain->thread_context();
  if (!context) return std::unexpected(std::move(context.error()));
  const auto request = convert::request({.kind = kind}, where);
  if (!request) return std::unexpected(request.error());
  auto grant = domain->acquire(**context, handle_, *request);
  if (!grant) return std::unexpected(std::move(grant.error()));
  return ScopedResource(handle_.with_tenure(grant->tenure), *context, kind);
}

}  // namespace hal
