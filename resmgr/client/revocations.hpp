// SPDX-License-Identifier: Apache-2.0
//
// Revocations: the callbacks of those who want to be asked before something is taken from them.
//
// What it is: a callback for each context that has one, and one for all others of this process.
// What it is not: a thread; who asks calls what find() returns, under no lock. A callback that is
// replaced while it runs goes on.
//
// Lifetime: owned by its domain. Thread-safety: all functions from any thread.
//
//   revocations.set(0, callback);
//   if (const auto callback = revocations.find(context)) (*callback)(revocation);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "resmgr/base/error.hpp"

namespace resmgr::client {

/// Somebody in an emergency asks for what a context of this process holds.
struct Revocation {
  Participant holder;          ///< and what it holds
  Participant by;              ///< who asks, and for what kind of hold
  std::uint64_t until_ns = 0;  ///< CLOCK_MONOTONIC
};
using OnRevoke = std::function<void(const Revocation&)>;

class Revocations {
 public:
  /// `context`: whose holds it is about; 0: those of all that have none of their own. Null: takes
  /// it back. May throw std::bad_alloc.
  void set(std::uint32_t context, OnRevoke callback) {
    // Before the lock: what goes is destroyed under none.
    auto kept = callback ? std::make_shared<const OnRevoke>(std::move(callback)) : nullptr;
    const bool takes_back = kept == nullptr;
    const std::lock_guard lock(mutex_);
    if (!takes_back) {
      callbacks_[context].swap(kept);
    } else if (const auto found = callbacks_.find(context); found != callbacks_.end()) {
      kept.swap(found->second);
      callbacks_.erase(found);
    }
  }
  void forget(std::uint32_t context) noexcept {
    decltype(callbacks_)::node_type gone;
    const std::lock_guard lock(mutex_);
    gone = callbacks_.extract(context);
  }
  /// Null: who holds by this context is not asked.
  [[nodiscard]] std::shared_ptr<const OnRevoke> find(std::uint32_t context) const noexcept {
    const std::lock_guard lock(mutex_);
    auto found = callbacks_.find(context);
    if (found == callbacks_.end()) found = callbacks_.find(0);
    return found == callbacks_.end() ? nullptr : found->second;
  }
  [[nodiscard]] bool empty() const noexcept {
    const std::lock_guard lock(mutex_);
    return callbacks_.empty();
  }
  void clear() noexcept {
    decltype(callbacks_) gone;
    const std::lock_guard lock(mutex_);
    gone.swap(callbacks_);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::uint32_t, std::shared_ptr<const OnRevoke>> callbacks_;
};

}  // namespace resmgr::client
