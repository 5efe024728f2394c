// SPDX-License-Identifier: Apache-2.0
//
// ContextTable: takes and returns context records of the lock region.
//
// What it is: which ids this process has, and their Context objects. A returned object is kept for
// the next context, because a hold that outlived its own may still point at it. What it is not:
// recovery of dead contexts. Thread-safety: all functions from any thread.
//
//   Context* context = table.open(client, driver, tid, this_thread()).value();
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "resmgr/lock/context.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

class ContextTable {
 public:
  ContextTable(const LockTables& tables, LockEngine& engine) noexcept
      : t_(tables), engine_(engine) {}
  ~ContextTable();
  ContextTable(const ContextTable&) = delete;
  ContextTable& operator=(const ContextTable&) = delete;

  /// A live context of this process. `thread` is this_thread() of its thread, or null for a task.
  /// Errors: CapacityExceeded, Disconnected (after end()), System (no memory for its scratch). May
  /// throw std::bad_alloc; nothing is taken then.
  [[nodiscard]] Result<Context*> open(std::uint32_t client, std::uint32_t driver, std::uint32_t tid,
                                      const void* thread);
  /// Gives the id back. REQUIRES: it holds nothing and waits for nothing. `had_holds`: some were
  /// released by force, so that refs to them may still exist: the object is then not used again.
  void close(Context& context, bool had_holds) noexcept;
  /// Calls `visit(Context&)` for each open context of this process.
  template <typename Visit>
  void for_each(Visit&& visit) {
    std::vector<Context*> open;
    {
      const std::lock_guard lock(mutex_);
      open = open_;
    }
    for (Context* context : open) visit(*context);
  }
  [[nodiscard]] std::uint32_t size() const noexcept;
  /// The domain is over, and this process has no part in its region any more: the contexts are
  /// closed without a touch of it, while their threads may be inside calls, and no more are opened.
  /// Their objects are never used again, for refs may exist.
  void end() noexcept;

  // ---- for client/forks.hpp: the table stands still from before_fork() on ---------------------

  void before_fork() noexcept { mutex_.lock(); }
  void after_fork_in_parent() noexcept { mutex_.unlock(); }
  /// The contexts are the parent's: here they are closed, without a touch of the region.
  void after_fork_in_child() noexcept;
  /// The lock of the Context objects of all tables.
  static void lock_objects() noexcept;
  static void unlock_objects() noexcept;

 private:
  [[nodiscard]] std::uint32_t claim(std::uint32_t client) noexcept;
  /// REQUIRES: mutex_ held.
  void close_untouched() noexcept;

  const LockTables& t_;
  LockEngine& engine_;
  mutable std::mutex mutex_;
  std::vector<Context*> open_;
  bool over_ = false;
};

}  // namespace resmgr::lock
