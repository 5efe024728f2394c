// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/forks.hpp"

#include "resmgr/base/fork_list.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/client/doorbell_threads.hpp"
#include "resmgr/lock/context_table.hpp"

namespace resmgr::client {
namespace {

ForkList<Domain>& list() { return ForkList<Domain>::instance(); }

// All locks that a child's own domains need, so that none of them is held by a thread that did not
// come along.
void prepare() {
  list().lock();
  DoorbellThreads::before_fork();
  for (Domain* domain : list().all()) domain->before_fork();
  lock::ContextTable::lock_objects();
}

void in_parent() {
  lock::ContextTable::unlock_objects();
  for (Domain* domain : list().all()) domain->after_fork_in_parent();
  DoorbellThreads::after_fork_in_parent();
  list().unlock();
}

void in_child() {
  lock::ContextTable::unlock_objects();
  for (Domain* domain : list().all()) domain->after_fork_in_child();
  DoorbellThreads::after_fork_in_child();
  list().clear();
  list().unlock();
}

}  // namespace

void Forks::add(Domain& domain) { list().add(domain, prepare, in_parent, in_child); }

void Forks::remove(Domain& domain) noexcept { list().remove(domain); }

}  // namespace resmgr::client
