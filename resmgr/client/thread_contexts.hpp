// SPDX-License-Identifier: Apache-2.0
//
// ThreadContexts: each thread's own context in each domain it uses.
//
// What it is: a one-entry cache for the domain used last, a list behind it, and what happens when a
// thread ends: its contexts are closed, and what they still hold is released and reported. What it
// is not: for contexts that authors open themselves. Lifetime: a domain may go before the thread.
// Thread-safety: everything is the calling thread's own.
//
//   lock::Context* context = this_thread_context(domain);   // null if there is none yet
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "resmgr/lock/context.hpp"

namespace resmgr::client {

class Domain;

/// Which context the thread used last, and of which domain (by serial number, never reused).
struct LastContext {
  std::uint64_t domain = 0;
  lock::Context* context = nullptr;
};
/// Initial-exec: this library is linked at start, or small enough for the loader's reserve.
[[gnu::tls_model("initial-exec")]] inline constinit thread_local LastContext last_context{};

class ThreadContexts {
 public:
  /// The calling thread's list.
  [[nodiscard]] static ThreadContexts& of_this_thread();

  ThreadContexts() = default;
  ThreadContexts(const ThreadContexts&) = delete;
  ThreadContexts& operator=(const ThreadContexts&) = delete;
  ~ThreadContexts();

  [[nodiscard]] lock::Context* find(std::uint64_t domain) const noexcept;
  /// Room for one more, so that add() does not throw.
  void reserve() { entries_.reserve(entries_.size() + 1); }
  void add(std::uint64_t domain, std::weak_ptr<Domain> owner, lock::Context* context);

 private:
  struct Entry {
    std::uint64_t domain;
    std::weak_ptr<Domain> owner;
    lock::Context* context;
  };
  std::vector<Entry> entries_;
};

}  // namespace resmgr::client
