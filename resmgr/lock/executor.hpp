// SPDX-License-Identifier: Apache-2.0
//
// Executor: a thread that runs tasks, each a context of its own, and what a call of one of them
// that blocks the thread keeps from going on: all the others.
//
// What it is: the marks that tell the wait-for graph so. A task's context names the context of the
// thread that runs it (rm_context.executor); while a call blocks that thread, its own context names
// who made the call (rm_context.blocked_in). Whoever waits for a task of a thread so blocked waits,
// through it, for what that call waits for. What it is not: a scheduler. What a thread is inside of
// is known to that thread alone.
//
// The marks are hints of whoever runs the tasks, as an owner driver's name is: false ones make
// false cycles for those who stand in them, and no more.
//
// Thread-safety: scopes belong to their thread; marks of a context to the thread that acquires for
// it.
//
//   const ExecutorScope inside;
//   engine.acquire(task, handle, request);    // Deadlock, if another task of this thread holds it
#pragma once

#include <cstdint>

#include "resmgr/base/atomic.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

/// The calling thread runs tasks while one of these lives on it.
class ExecutorScope {
 public:
  ExecutorScope() noexcept { enter(); }
  ExecutorScope(const ExecutorScope&) = delete;
  ExecutorScope& operator=(const ExecutorScope&) = delete;
  ~ExecutorScope() { leave(); }
  [[nodiscard]] static bool inside() noexcept;

  // The same for who has a scope of another kind.
  static void enter() noexcept;
  static void leave() noexcept;
};

/// Says that `task` is run by the thread whose own context `thread` is, or null: by none. Relaxed:
/// whoever finds the task among holders or waiters found it in a word written after this.
inline void set_executor(Context& task, const Context* thread) noexcept {
  const std::uint16_t id = thread ? thread->id : std::uint16_t{0};
  if (load_relaxed(task.record->executor) != id) store_relaxed(task.record->executor, id);
}

/// A call that blocks the thread, for as long as this lives.
class BlockedExecutor {
 public:
  /// `caller`: the thread's own context, or one of its tasks.
  BlockedExecutor(const LockTables& tables, const Context& caller) noexcept
      : loop_(ExecutorScope::inside() ? loop_of(tables, caller) : nullptr) {
    // seq_cst, and before the wait is visible: a walk that finds the wait finds this (I7).
    if (loop_) store(loop_->blocked_in, caller.id);
  }
  BlockedExecutor(const BlockedExecutor&) = delete;
  BlockedExecutor& operator=(const BlockedExecutor&) = delete;
  ~BlockedExecutor() {
    if (loop_) store_release(loop_->blocked_in, std::uint16_t{0});
  }

 private:
  [[nodiscard]] static rm_context* loop_of(const LockTables& tables,
                                           const Context& caller) noexcept {
    return caller.thread ? caller.record : tables.context(load_relaxed(caller.record->executor));
  }
  rm_context* loop_;
};

/// The context in whose call the thread is blocked that runs `context`, or that it belongs to; 0:
/// none. Of what others wrote: it need not be the id of any context.
[[nodiscard]] inline std::uint16_t stuck_in(const LockTables& tables,
                                            std::uint16_t context) noexcept {
  const rm_context* const record = tables.context(context);
  if (!record) return 0;
  if (const std::uint16_t own = load(record->blocked_in); own != 0) return own;
  const rm_context* const loop = tables.context(load_relaxed(record->executor));
  return loop ? load(loop->blocked_in) : std::uint16_t{0};
}

}  // namespace resmgr::lock
