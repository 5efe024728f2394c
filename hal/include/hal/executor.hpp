// SPDX-License-Identifier: Apache-2.0
//
// ExecutorScope: this thread runs tasks, and must not be blocked by one for what another holds.
//
// What it is: the word of a loop that runs coroutines or callbacks with contexts of their own.
// While a scope lives on the thread, a call that would wait for what such a task holds, or for
// somebody who waits for one, directly or not, is refused as Deadlock before it sleeps: the thread
// that sleeps is the one that the holder needs to go on. hal::Ring does this by itself; who polls
// an io_uring of his own, or another library's loop, puts a scope around what he runs. What it is
// not: a ban on blocking calls. What no task of the thread has a part in may be waited for; it
// costs the other tasks their time.
//
// A task is known by its context (ResourceManager::create_context()): it is one of the thread that
// acquired for it last, in a scope, or by AsyncAcquire or a Ring anywhere. The thread's own context
// is one of its tasks too. A task that acquired here, and was then moved to another thread without
// acquiring there, still counts.
//
// Lifetime: a block's; they may be nested. Thread-safety: belongs to the thread that made it.
//
//   void handle(io_uring_cqe* cqe) {
//     const hal::ExecutorScope inside;
//     resume_who_waits_for(cqe);         // a blocking acquire in there is checked
//   }
#pragma once

#include <hal/export.hpp>

namespace hal {

class HAL_EXPORT [[nodiscard]] ExecutorScope {
 public:
  ExecutorScope() noexcept;
  ExecutorScope(const ExecutorScope&) = delete;
  ExecutorScope& operator=(const ExecutorScope&) = delete;
  ~ExecutorScope();
  /// Whether one lives on the calling thread.
  [[nodiscard]] static bool inside() noexcept;
};

}  // namespace hal
