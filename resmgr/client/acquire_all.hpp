// SPDX-License-Identifier: Apache-2.0
//
// AcquireAll: several resources for one context, all or nothing, step by step.
//
// What it is: which one to ask for next, and what a refusal means. Whoever waits for one keeps what
// he has of the others. Where that closes a cycle, and he is its victim, he lets go of them all,
// waits for the one that was in the way first, with nothing in hand, and then asks for the others;
// he keeps his place in time (his ticket) through it all. A cycle's victim is the one who came
// last, of one priority, so he who came first never lets go, and everybody's turn comes: the rule
// of wait-die, as ww_mutex and drm_exec have it. Who is refused with nothing in hand has a deadlock
// with what his context held before, and is told so.
//
// What it is not: something that waits; its caller does, with a thread or without one.
//
// Order: by class and slot at first, so that those who ask for the same seldom meet half-way. The
// classes of the set teach each other no order (LockOrder), for letting go is the remedy; what the
// context held before does.
//
// Lifetime: what it has is released with it, unless take() was called; the engine outlives it, or
// the context is closed before. Thread-safety: that of its context.
//
//   auto all = AcquireAll::make(domain.engine(), domain.view(), context, wanted, request);
//   while (const Wanted* next = all->next()) {
//     auto grant = domain.acquire(context, next->handle, all->request());
//     if (grant) all->granted(*grant);
//     else if (auto on = all->refused(std::move(grant.error())); !on) return on;
//   }
//   return all->take();
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/base/wanted.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/engine.hpp"
#include "resmgr/registry/view.hpp"

namespace resmgr::client {

/// An acquisition: the hold and its tenure.
struct Acquired {
  Handle handle;  ///< with the tenure
  lock::Context* context = nullptr;
  HoldKind kind = HoldKind::Exclusive;
};

class AcquireAll {
 public:
  /// `request` says how, for all of them but for the kind. Errors: InvalidArgument (one of them
  /// twice, or a kind out of range), OrderViolation. May throw std::bad_alloc.
  [[nodiscard]] static Result<AcquireAll> make(lock::LockEngine& engine,
                                               const registry::RegistryView& view,
                                               lock::Context& context,
                                               std::span<const Wanted> wanted,
                                               const lock::Request& request);
  AcquireAll(AcquireAll&&) noexcept = default;
  AcquireAll& operator=(AcquireAll&&) = delete;
  AcquireAll(const AcquireAll&) = delete;
  AcquireAll& operator=(const AcquireAll&) = delete;
  ~AcquireAll() { let_go(); }

  /// What to ask for; null: all are had.
  [[nodiscard]] const Wanted* next() const noexcept {
    return acquired_.size() < wanted_.size() ? &wanted_[acquired_.size()] : nullptr;
  }
  /// How to ask for it.
  [[nodiscard]] lock::Request request() const noexcept;
  /// next() was granted.
  void granted(const lock::Grant& grant) noexcept;
  /// It was refused. Success: to be asked for again, after the others were let go of. Errors: this
  /// one; nothing is held then.
  Result<void> refused(Error error) noexcept;
  /// The holds, which are the caller's now. REQUIRES: next() is null.
  [[nodiscard]] std::vector<Acquired> take() noexcept;

 private:
  AcquireAll(lock::Context& context, const lock::Request& request) noexcept
      : context_(&context), request_(request) {
    request_.asked_at = 0;  // each is asked for in its turn
  }
  void let_go() noexcept;

  lock::Context* context_;
  lock::Request request_;
  std::vector<Wanted> wanted_;      ///< in the order in which they are asked for
  std::vector<Acquired> acquired_;  ///< of the first ones; room for all
};

}  // namespace resmgr::client
