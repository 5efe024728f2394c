// SPDX-License-Identifier: Apache-2.0
#include <hal/async_acquire_all.hpp>

#include <liburing.h>

#include <cerrno>
#include <utility>

#include "hal/async/all_steps.hpp"
#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"

namespace hal {

using resmgr::fail;
using resmgr::client::AcquireAll;

// ---- the steps ----------------------------------------------------------------------------------

std::unique_ptr<AsyncAcquireAll::Steps> AsyncAcquireAll::Steps::make(
    ResourceManager& manager, std::span<const Wanted> wanted, const AcquireOptions& options,
    std::source_location where, AsyncPath path, AsyncAcquire& wait) noexcept {
  std::unique_ptr<Steps> steps;
  auto begun = guard("acquire_all", [&]() -> Result<void> {
    steps = std::make_unique<Steps>(path);
    const auto context = manager.acquirer(options.context, true);
    if (!context) return std::unexpected(context.error());
    const auto request = convert::request(options, where);
    if (!request) return std::unexpected(request.error());
    return steps->begin(manager.domain_, **context, wanted, *request);
  });
  if (!steps) return steps;
  if (!begun) steps->refusal.emplace(std::move(begun.error()));
  (void)steps->has_to_wait(wait);
  return steps;
}

Result<void> AsyncAcquireAll::Steps::begin(std::shared_ptr<resmgr::client::Domain> from,
                                           resmgr::lock::Context& by,
                                           std::span<const Wanted> wanted,
                                           const resmgr::lock::Request& request) {
  holds.reserve(wanted.size());
  auto made = AcquireAll::make(from->engine(), from->view(), by, wanted, request);
  if (!made) return std::unexpected(std::move(made.error()));
  domain = std::move(from);
  context = &by;
  all = std::make_unique<AcquireAll>(std::move(*made));
  return {};
}

// Asks until it has to wait. False: it need not any more.
bool AsyncAcquireAll::Steps::has_to_wait(AsyncAcquire& wait) noexcept {
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

void AsyncAcquireAll::Steps::heed(Result<ScopedResource> outcome) noexcept {
  waits = false;
  if (outcome) {
    all->granted({.tenure = outcome->hand_on().tenure()});
  } else if (auto retreats = all->refused(std::move(outcome.error())); !retreats) {
    refusal.emplace(std::move(retreats.error()));
  }
}

Result<std::vector<ScopedResource>> AsyncAcquireAll::Steps::take() noexcept {
  const auto taken = [] { return Error(ErrorCode::InvalidArgument, "it was taken already"); };
  if (refusal) return std::unexpected(std::exchange(*refusal, taken()));
  for (const resmgr::client::Acquired& one : all->take()) {
    holds.push_back(ScopedResource(one.handle, one.context, one.kind));
  }
  refusal.emplace(taken());
  return std::move(holds);
}

// ---- on the author's ring -----------------------------------------------------------------------

AsyncAcquireAll::AsyncAcquireAll(ResourceManager& manager, std::span<const Wanted> wanted,
                                 const AcquireOptions& options,
                                 std::source_location where) noexcept {
  steps_ = Steps::make(manager, wanted, options, where, AsyncPath::Auto, wait_);
}

AsyncAcquireAll::~AsyncAcquireAll() = default;

Result<void> AsyncAcquireAll::prepare(std::span<io_uring_sqe* const> sqes,
                                      std::uint64_t user_data) noexcept {
  if (left_over_ != 0) return fail(ErrorCode::InvalidArgument, "no submission is due");
  return wait_.prepare(sqes, user_data);
}

AsyncAcquireAll::Step AsyncAcquireAll::complete(const io_uring_cqe* completion) noexcept {
  if (!completion || done()) return Step::NotMine;
  if (left_over_ != 0) {
    if (completion->user_data != left_over_data_) return Step::NotMine;
    return --left_over_ == 0 ? look() : Step::More;
  }
  const Step step = wait_.complete(completion);
  // What the ring refuses it will refuse the next one as well.
  if (step == Step::Rearm && wait_.doorbell()) steps_->path = AsyncPath::Doorbell;
  return step == Step::Done && steps_->goes_on(wait_) ? Step::Rearm : step;
}

AsyncAcquireAll::Step AsyncAcquireAll::look() noexcept {
  return wait_.check() && !steps_->goes_on(wait_) ? Step::Done : Step::Rearm;
}

bool AsyncAcquireAll::check() noexcept {
  if (done()) return true;
  const unsigned in_flight = wait_.in_flight_;
  if (!wait_.check()) return false;
  if (!steps_->goes_on(wait_)) return true;
  // The next one is not to be taken for done by a completion of the last.
  if (in_flight != 0) {
    left_over_ = in_flight;
    left_over_data_ = wait_.user_data_;
  }
  return false;
}

bool AsyncAcquireAll::cancel() noexcept {
  if (done()) return false;
  steps_->cancelled = true;
  (void)wait_.cancel();
  if (wait_.done()) (void)steps_->goes_on(wait_);
  return true;
}

Result<std::vector<ScopedResource>> AsyncAcquireAll::take() noexcept {
  if (!done()) return fail(ErrorCode::WouldBlock, "it is not done");
  if (!steps_) return resmgr::fail_errno(ENOMEM, "acquire_all");
  return steps_->take();
}

}  // namespace hal
