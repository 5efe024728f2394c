// SPDX-License-Identifier: Apache-2.0
//
// PoolForks: the pools of this process, and what becomes of them in a child of fork().
//
// What it is: a list that handlers of pthread_atfork() go through. The blocks in the magazines are
// the parent's, so in the child every pool is closed: it gives out nothing, and takes nothing back.
// A child attaches on its own. What it is not: needed by vfork() or posix_spawn(), or by clone()
// without libc, which calls no handlers. Lifetime: of the process. Thread-safety: any thread.
//
//   PoolForks::add(pool);      // once it is complete
//   PoolForks::remove(pool);   // before it goes
#pragma once

namespace resmgr::pool {

class BlockPool;

class PoolForks {
 public:
  /// Where the handlers can't be registered, for want of memory, children are on their own. May
  /// throw std::bad_alloc.
  static void add(BlockPool& pool);
  static void remove(BlockPool& pool) noexcept;
};

}  // namespace resmgr::pool
