// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/pool_forks.hpp"

#include <pthread.h>

#include <memory>
#include <mutex>
#include <vector>

#include "resmgr/pool/block_pool.hpp"
#include "resmgr/pool/thread_magazines.hpp"

namespace resmgr::pool {
namespace {

struct List {
  std::mutex mutex;
  std::vector<BlockPool*> pools;
};

// Never destroyed: a fork may come as late as it likes.
List& list() {
  static std::unique_ptr<List> holder = std::make_unique<List>();
  static List& instance = *holder.release();
  return instance;
}

// All locks that a child needs, so that none of them is held by a thread that did not come along.
void prepare() {
  list().mutex.lock();
  for (BlockPool* pool : list().pools) pool->before_fork();
}

void in_parent() {
  for (BlockPool* pool : list().pools) pool->after_fork_in_parent();
  list().mutex.unlock();
}

void in_child() {
  for (BlockPool* pool : list().pools) pool->after_fork_in_child();
  ThreadMagazines::forget_all();
  list().pools.clear();
  list().mutex.unlock();
}

}  // namespace

void PoolForks::add(BlockPool& pool) {
  [[maybe_unused]] static const int registered = ::pthread_atfork(prepare, in_parent, in_child);
  const std::lock_guard lock(list().mutex);
  list().pools.push_back(&pool);
}

void PoolForks::remove(BlockPool& pool) noexcept {
  const std::lock_guard lock(list().mutex);
  std::erase(list().pools, &pool);
}

}  // namespace resmgr::pool
