// SPDX-License-Identifier: Apache-2.0
//
// What ours is compared with: locks of other hands that processes can share.
//
// What it is: thin inline wrappers with one vocabulary, lock() and unlock(). What it is not: a fair
// use of each lock's own features; robust mutexes are repaired by nobody here. Lifetime: an object
// is initialised once and never moves: see tests/bench/shared_memory.hpp. Thread-safety: they are
// locks.
//
//   Shared<RobustMutex> mutex;
//   mutex->lock();
#pragma once

#include <pthread.h>

#include <atomic>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <cstdint>

namespace bench {

/// The floor: a lock of two compare-and-swaps on a cache line of its own, which can't wait.
struct alignas(64) CasLine {
  std::atomic<std::uint64_t> word{0};

  /// Both return whether the word was as expected; alone on the line it always is.
  [[nodiscard]] bool lock() noexcept {
    std::uint64_t expected = 0;
    return word.compare_exchange_strong(expected, 1);
  }
  [[nodiscard]] bool unlock() noexcept {
    std::uint64_t expected = 1;
    return word.compare_exchange_strong(expected, 0);
  }
};

/// pthread_mutex_t, process-shared and robust.
class RobustMutex {
 public:
  RobustMutex();
  RobustMutex(const RobustMutex&) = delete;
  RobustMutex& operator=(const RobustMutex&) = delete;
  ~RobustMutex() { ::pthread_mutex_destroy(&mutex_); }

  [[nodiscard]] bool lock() noexcept { return ::pthread_mutex_lock(&mutex_) == 0; }
  [[nodiscard]] bool unlock() noexcept { return ::pthread_mutex_unlock(&mutex_) == 0; }

 private:
  pthread_mutex_t mutex_{};
};

/// pthread_rwlock_t, process-shared, for reading.
class SharedRwLock {
 public:
  SharedRwLock();
  SharedRwLock(const SharedRwLock&) = delete;
  SharedRwLock& operator=(const SharedRwLock&) = delete;
  ~SharedRwLock() { ::pthread_rwlock_destroy(&lock_); }

  [[nodiscard]] bool lock() noexcept { return ::pthread_rwlock_rdlock(&lock_) == 0; }
  [[nodiscard]] bool unlock() noexcept { return ::pthread_rwlock_unlock(&lock_) == 0; }

 private:
  pthread_rwlock_t lock_{};
};

/// boost::interprocess::interprocess_sharable_mutex, for reading.
class BoostSharableMutex {
 public:
  [[nodiscard]] bool lock() {
    mutex_.lock_sharable();
    return true;
  }
  [[nodiscard]] bool unlock() {
    mutex_.unlock_sharable();
    return true;
  }

 private:
  boost::interprocess::interprocess_sharable_mutex mutex_;
};

}  // namespace bench
