// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/pool_forks.hpp"

#include "resmgr/base/fork_list.hpp"
#include "resmgr/pool/block_pool.hpp"
#include "resmgr/pool/thread_magazines.hpp"

namespace resmgr::pool {
namespace {

ForkList<BlockPool>& list() { return ForkList<BlockPool>::instance(); }

// All locks that a child needs, so that none of them is held by a thread that did not come along.
void prepare() {
  list().lock();
  for (BlockPool* pool : list().all()) pool->before_fork();
}

void in_parent() {
  for (BlockPool* pool : list().all()) pool->after_fork_in_parent();
  list().unlock();
}

void in_child() {
  for (BlockPool* pool : list().all()) pool->after_fork_in_child();
  ThreadMagazines::forget_all();
  list().clear();
  list().unlock();
}

}  // namespace

void PoolForks::add(BlockPool& pool) { list().add(pool, prepare, in_parent, in_child); }

void PoolForks::remove(BlockPool& pool) noexcept { list().remove(pool); }

}  // namespace resmgr::pool
