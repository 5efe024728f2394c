// SPDX-License-Identifier: Apache-2.0
#include <hal/async_acquire.hpp>

#include <liburing.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "hal/async/submission.hpp"
#include "hal/src/convert.hpp"
#include "hal/src/guard.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/client/candidates.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/client/doorbell.hpp"
#include "resmgr/lock/wait.hpp"

namespace hal {

using resmgr::fail;
using resmgr::UniqueFd;
using resmgr::lock::Grant;
using resmgr::lock::LockEngine;

/// What a wait needs beside the outcome.
struct AsyncAcquire::Waiting final : resmgr::client::DoorbellListener {
  resmgr::client::Domain* domain;  ///< there as long as engine() is
  resmgr::lock::Context* context;
  resmgr::lock::Wait wait;
  __kernel_timespec deadline{};  ///< read by the kernel when the requests are submitted
  bool refused = false;          ///< one of the submissions in flight was
  bool hopeless = false;         ///< whatever it was
  // Where a thread waits:
  std::shared_ptr<resmgr::client::Doorbell> doorbell{};
  const resmgr::client::DoorbellListener* listener = nullptr;  ///< who is told; null: nobody yet
  UniqueFd bell{};                                             ///< what a ring polls
  std::unique_ptr<resmgr::lock::Wait[]> members{};             ///< of a wait for any of several

  Waiting(resmgr::client::Domain& from, resmgr::lock::Context& by) noexcept
      : domain(&from), context(&by) {}
  void ready(std::uint64_t /*cookie*/) noexcept override { (void)::eventfd_write(bell.get(), 1); }
  /// Null once the context or the domain is closed, or the domain over: the wait is then, too.
  /// (Contexts are never freed, and used again only after they were closed.)
  [[nodiscard]] LockEngine* engine() const noexcept {
    return wait.slot ? context->engine.load(std::memory_order_acquire) : nullptr;
  }
};

void AsyncAcquire::begin(ResourceManager& manager, Handle handle, const AcquireOptions& options,
                         std::source_location where, AsyncPath path) noexcept {
  // Whoever goes on when it is granted is run by this thread, as far as anybody knows.
  const auto context = manager.acquirer(options.context, true);
  if (!context) return fail_with(context.error());
  const auto request = convert::request(options, where);
  if (!request) return fail_with(request.error());
  begin(*manager.domain_, **context, handle, *request, path);
}

void AsyncAcquire::begin(resmgr::client::Domain& domain, resmgr::lock::Context& context,
                         Handle handle, const resmgr::lock::Request& request,
                         AsyncPath path) noexcept {
  begin_with(domain, context, path, [&](Waiting& made, Grant& grant) {
    return domain.engine().begin(context, handle, request, made.wait, grant);
  });
}

void AsyncAcquire::begin(ResourceManager& manager, Selection& any, const AcquireOptions& options,
                         std::source_location where, AsyncPath path) noexcept {
  const auto context = manager.acquirer(options.context, true);
  if (!context) return fail_with(context.error());
  const auto request = convert::request(options, where);
  if (!request) return fail_with(request.error());
  const auto list = manager.list_of(any, true);
  if (!list) return fail_with(list.error());
  if (list->empty()) return fail_with(Error(ErrorCode::NotFound, "nothing that was selected"));
  auto members = guard("acquire_any", [&]() -> Result<std::unique_ptr<resmgr::lock::Wait[]>> {
    return std::make_unique<resmgr::lock::Wait[]>(list->size());
  });
  if (!members) return fail_with(members.error());
  begin_with(*manager.domain_, **context, path, [&](Waiting& made, Grant& grant) {
    made.members = std::move(*members);
    return manager.domain_->engine().begin_any(**context, *list, *request, made.wait,
                                               {made.members.get(), list->size()}, grant);
  });
}

bool AsyncAcquire::try_at_once(ResourceManager& manager, Selection& any,
                               const AcquireOptions& options, std::source_location where) noexcept {
  const auto list = manager.list_of(any, false);
  if (!list) return false;
  hold_ = ScopedResource(manager.any_at_once(*list, any.candidates_->order(), options, where));
  if (!hold_) return false;
  state_ = State::Acquired;
  return true;
}

template <typename Ask>
void AsyncAcquire::begin_with(resmgr::client::Domain& domain, resmgr::lock::Context& context,
                              AsyncPath path, Ask&& ask) noexcept {
  static_assert(sizeof(Waiting) <= kRoom && sizeof(Error) <= kRoom && alignof(Waiting) <= 8 &&
                alignof(Error) <= 8);
  Waiting& made = *::new (room_.data()) Waiting(domain, context);
  if (path == AsyncPath::Auto) path = async::usual_path(domain.async_path());
  if (path == AsyncPath::Doorbell) made.wait.wake_target = domain.doorbell()->target();
  state_ = State::Waiting;
  Grant grant;
  const auto at_once = ask(made, grant);
  if (at_once && !*at_once) {
    if (path == AsyncPath::Doorbell) made.doorbell = domain.doorbell();
    // The victim of a cycle, say.
    if (domain.engine().is_decided(made.wait)) conclude();
    return;
  }
  end_with(at_once ? Result<Grant>(grant) : std::unexpected(at_once.error()));
}

AsyncAcquire::Waiting& AsyncAcquire::waiting() noexcept {
  return *std::launder(reinterpret_cast<Waiting*>(room_.data()));
}

Error& AsyncAcquire::error() noexcept {
  return *std::launder(reinterpret_cast<Error*>(room_.data()));
}

void AsyncAcquire::fail_with(Error error) noexcept {
  ::new (room_.data()) Error(std::move(error));
  state_ = State::Failed;
}

unsigned AsyncAcquire::submissions() const noexcept {
  if (state_ != State::Waiting || in_flight_ != 0) return 0;
  const auto& self = *std::launder(reinterpret_cast<const Waiting*>(room_.data()));
  return self.wait.deadline_ns == resmgr::kNoDeadline ? 1 : 2;
}

Result<void> AsyncAcquire::prepare(std::span<io_uring_sqe* const> sqes,
                                   std::uint64_t user_data) noexcept {
  const unsigned needed = submissions();
  if (needed == 0) return fail(ErrorCode::InvalidArgument, "no submission is due");
  if (sqes.size() < needed || !sqes[0] || !sqes[needed - 1]) {
    return fail(ErrorCode::CapacityExceeded, "submissions");
  }
  Waiting& self = waiting();
  if (self.hopeless) return fail(ErrorCode::Unsupported, "what this ring allows");
  if (!self.doorbell && !async::has_futex_operations()) {
    return fail(ErrorCode::Unsupported, "io_uring's futex operations");
  }
  if (self.doorbell && !self.bell) {
    UniqueFd bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!bell) return resmgr::fail_errno(errno, "eventfd");
    self.bell = std::move(bell);
  }
  std::optional<std::uint32_t> value;
  if (LockEngine* const engine = self.engine()) {
    if (self.doorbell && !self.listener) {
      if (auto told = self.doorbell->watch(self.wait, self, 0); !told) return told;
      self.listener = &self;
    }
    value = engine->sleep_on(*self.context, self.wait);
  }
  if (!value) {
    // Decided by now; they are the author's, and may as well say so.
    for (io_uring_sqe* sqe : sqes.first(needed)) async::put_nothing(*sqe, user_data);
  } else {
    if (self.doorbell) {
      async::put_poll(*sqes[0], self.bell.get(), user_data);
    } else {
      async::put_futex_wait(*sqes[0], LockEngine::futex_of(self.wait), *value, user_data);
    }
    if (needed == 2) {
      self.deadline = async::to_timespec(self.wait.deadline_ns);
      async::put_deadline(*sqes[0], *sqes[1], self.deadline, user_data);
    }
  }
  self.refused = false;
  user_data_ = user_data;
  in_flight_ = static_cast<std::uint8_t>(needed);
  return {};
}

Result<bool> AsyncAcquire::listen(resmgr::client::DoorbellListener& listener,
                                  std::uint64_t cookie) noexcept {
  Waiting& self = waiting();
  LockEngine* const engine = self.engine();
  if (!engine) return false;
  if (auto told = self.doorbell->watch(self.wait, listener, cookie); !told) {
    return std::unexpected(std::move(told.error()));
  }
  self.listener = &listener;
  return engine->sleep_on(*self.context, self.wait).has_value();
}

const std::shared_ptr<resmgr::client::Doorbell>& AsyncAcquire::doorbell() noexcept {
  return waiting().doorbell;
}

std::uint64_t AsyncAcquire::deadline_ns() noexcept { return waiting().wait.deadline_ns; }

AsyncAcquire::Step AsyncAcquire::complete(const io_uring_cqe* completion) noexcept {
  if (!completion || in_flight_ == 0 || completion->user_data != user_data_) return Step::NotMine;
  Waiting& self = waiting();
  if (async::is_refusal(completion->res)) self.refused = true;
  if (--in_flight_ != 0) return Step::More;
  const bool refused = self.refused;
  const Step step = settle();
  if (refused && step == Step::Rearm) fall_back();
  return step;
}

// Submitting the same once more would be refused for ever.
void AsyncAcquire::fall_back() noexcept {
  Waiting& self = waiting();
  if (self.doorbell) {
    self.hopeless = true;
    return;
  }
  self.doorbell = self.domain->doorbell();
  self.wait.call_at(self.doorbell->target());
}

AsyncAcquire::Step AsyncAcquire::settle() noexcept {
  Waiting& self = waiting();
  if (self.bell) {
    // Before the look: whoever decides it after that makes it readable again.
    eventfd_t rings = 0;
    (void)::eventfd_read(self.bell.get(), &rings);
  }
  if (LockEngine* const engine = self.engine()) {
    const auto decided = [&] { return engine->is_decided(self.wait); };
    if (!decided() && self.wait.deadline_ns <= resmgr::Clock::now()) {
      (void)engine->give_up(self.wait, RM_NODE_TIMED_OUT);
    }
    if (!decided()) engine->look_again(*self.context, self.wait);
    if (!decided()) return Step::Rearm;
  }
  conclude();
  return Step::Done;
}

bool AsyncAcquire::check() noexcept {
  if (state_ != State::Waiting) return true;
  if (settle() == Step::Rearm) return false;
  in_flight_ = 0;
  return true;
}

bool AsyncAcquire::cancel() noexcept {
  if (state_ != State::Waiting) return false;
  Waiting& self = waiting();
  LockEngine* const engine = self.engine();
  const bool first = engine && engine->give_up(self.wait, RM_NODE_CANCELLED);
  if (in_flight_ == 0) conclude();
  return first;
}

// From waiting to an outcome. REQUIRES: it is decided, or nobody will decide it any more.
void AsyncAcquire::conclude() noexcept {
  Waiting& self = waiting();
  if (self.listener) self.doorbell->unwatch(self.wait, *self.listener);
  // A poll that is in flight would never end.
  if (self.bell && in_flight_ != 0) self.ready(0);
  LockEngine* const engine = self.engine();
  end_with(engine ? engine->finish(*self.context, self.wait) : fail(self.wait.ended));
}

// What the engine said becomes the outcome, in the place of the wait.
void AsyncAcquire::end_with(Result<Grant> grant) noexcept {
  Waiting& self = waiting();
  resmgr::client::Domain& domain = *self.domain;
  resmgr::lock::Context* const context = self.context;
  const Handle handle = self.wait.handle;
  const HoldKind kind = self.wait.request.kind;
  std::destroy_at(&self);
  state_ = State::Taken;
  if (!grant) return fail_with(std::move(grant.error()));
  if (auto whole = domain.complete(*context, handle, kind, *grant); !whole) {
    return fail_with(std::move(whole.error()));
  }
  hold_ = ScopedResource(handle.with_tenure(grant->tenure), context, kind);
  state_ = State::Acquired;
}

Result<ScopedResource> AsyncAcquire::failure() noexcept {
  if (state_ == State::Waiting) return fail(ErrorCode::WouldBlock, "it is not done");
  if (state_ == State::Taken) return fail(ErrorCode::InvalidArgument, "it was taken already");
  auto failed = std::unexpected(std::move(error()));
  std::destroy_at(&error());
  state_ = State::Taken;
  return failed;
}

// The hold, if there is one, is a member that lets go by itself.
void AsyncAcquire::clear() noexcept {
  if (state_ == State::Waiting) {
    (void)cancel();
    if (state_ == State::Waiting) conclude();
  }
  if (state_ == State::Failed) std::destroy_at(&error());
  state_ = State::Taken;
}

}  // namespace hal
