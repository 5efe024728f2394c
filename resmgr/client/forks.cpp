// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/forks.hpp"

#include <pthread.h>

#include <memory>
#include <mutex>
#include <vector>

#include "resmgr/client/domain.hpp"
#include "resmgr/client/doorbell_threads.hpp"
#include "resmgr/lock/context_table.hpp"

namespace resmgr::client {
namespace {

struct List {
  std::mutex mutex;
  std::vector<Domain*> domains;
};

// Never destroyed: a fork may come as late as it likes.
List& list() {
  static std::unique_ptr<List> holder = std::make_unique<List>();
  static List& instance = *holder.release();
  return instance;
}

// All locks that a child's own domains need, so that none of them is held by a thread that did not
// come along.
void prepare() {
  list().mutex.lock();
  DoorbellThreads::before_fork();
  for (Domain* domain : list().domains) domain->before_fork();
  lock::ContextTable::lock_objects();
}

void in_parent() {
  lock::ContextTable::unlock_objects();
  for (Domain* domain : list().domains) domain->after_fork_in_parent();
  DoorbellThreads::after_fork_in_parent();
  list().mutex.unlock();
}

void in_child() {
  lock::ContextTable::unlock_objects();
  for (Domain* domain : list().domains) domain->after_fork_in_child();
  DoorbellThreads::after_fork_in_child();
  list().domains.clear();
  list().mutex.unlock();
}

}  // namespace

void Forks::add(Domain& domain) {
  [[maybe_unused]] static const int registered = ::pthread_atfork(prepare, in_parent, in_child);
  const std::lock_guard lock(list().mutex);
  list().domains.push_back(&domain);
}

void Forks::remove(Domain& domain) noexcept {
  const std::lock_guard lock(list().mutex);
  std::erase(list().domains, &domain);
}

}  // namespace resmgr::client
