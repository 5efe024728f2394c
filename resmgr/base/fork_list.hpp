// SPDX-License-Identifier: Apache-2.0
//
// ForkList: objects that have to know of each fork(), and handlers that tell them.
//
// What it is: a list under a lock that is held from before a fork until after it, in parent and
// child. What it is not: the handlers, which are their owner's. Lifetime: of the process; never
// destroyed, for a fork may come as late as it likes. Thread-safety: add() and remove() from any
// thread; the others in handlers, between lock() and unlock().
//
//   void prepare() { list().lock(); for (Domain* each : list().all()) each->before_fork(); }
#pragma once

#include <pthread.h>

#include <memory>
#include <mutex>
#include <vector>

namespace resmgr {

template <typename T>
class ForkList {
 public:
  /// The one of all T.
  [[nodiscard]] static ForkList& instance() {
    static std::unique_ptr<ForkList> holder = std::make_unique<ForkList>();
    static ForkList& list = *holder.release();
    return list;
  }

  /// The handlers are registered with the first. Where they can't be, for want of memory, children
  /// are on their own. May throw std::bad_alloc.
  void add(T& object, void (*prepare)(), void (*in_parent)(), void (*in_child)()) {
    [[maybe_unused]] static const int registered = ::pthread_atfork(prepare, in_parent, in_child);
    const std::lock_guard lock(mutex_);
    all_.push_back(&object);
  }
  void remove(T& object) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase(all_, &object);
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  [[nodiscard]] const std::vector<T*>& all() const noexcept { return all_; }
  void clear() noexcept { all_.clear(); }

 private:
  std::mutex mutex_;
  std::vector<T*> all_;
};

}  // namespace resmgr
