// SPDX-License-Identifier: Apache-2.0
//
// DoorbellThreads: the threads of a process that sleep until one of its doorbells rings.
//
// What it is: one thread for all domains of the process (futex_waitv), and one more for each 127 of
// them. Before Linux 5.16, or where futex_waitv is forbidden, one for each, which then wakes ten
// times a second. What it is not: what knows who waits; see Doorbell.
//
// A thread says by RM_DOORBELL_ASLEEP whether it sleeps, and while it does not, who decides wakes
// nobody. It sleeps without a time limit while nothing is watched. While something is, it looks at
// what is watched every 100 ms, for those who were stopped or killed between deciding and ringing.
// tests/model/doorbell.pml is its model.
//
// Lifetime: one instance a process, from the first domain that asks to the last that lets go of it;
// each of its doorbells has a share. A thread is made with the first doorbell that it sleeps for,
// and ends with the last. A child of fork() forgets the instance, and its own domains make another.
// Thread-safety: any thread. Listeners are told under its lock.
//
//   const auto threads = DoorbellThreads::of_this_process();
//   auto thread = threads->add(doorbell);      // from here on it is looked after
//   threads->remove(doorbell);                 // and from here on not touched any more
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/futex.hpp"

namespace resmgr::client {

class Doorbell;

class DoorbellThreads {
 public:
  /// May throw std::bad_alloc.
  [[nodiscard]] static std::shared_ptr<DoorbellThreads> of_this_process();
  /// `most`: how many doorbells a thread sleeps for, 1 to kMost; 1: it needs no futex_waitv.
  explicit DoorbellThreads(std::size_t most) noexcept : most_(most) {}
  DoorbellThreads(const DoorbellThreads&) = delete;
  DoorbellThreads& operator=(const DoorbellThreads&) = delete;
  /// REQUIRES: all doorbells were removed.
  ~DoorbellThreads() = default;

  /// Beside the word by which a thread is told of changes.
  static constexpr std::size_t kMost = kMaxFutexWords - 1;

  class Thread;
  /// Has a thread sleep for it as well, which is Doorbell::thread_ then. Does nothing if one does.
  /// Errors: System (no memory, no thread), Disconnected (the doorbell was stopped).
  Result<void> add(Doorbell& doorbell);
  /// Something is watched at one of the thread's doorbells where nothing was.
  static void look_around(Thread& thread) noexcept;
  /// Returns when no thread looks at it any more. False: it was not added.
  bool remove(Doorbell& doorbell) noexcept;
  /// How many there are.
  [[nodiscard]] std::size_t count() const;
  /// How many of them sleep until something is watched.
  [[nodiscard]] std::size_t idle() const;

  // For Forks. A child has none of the threads.
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;

 private:
  void run(Thread& thread) noexcept;
  [[nodiscard]] Thread& with_room();

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::condition_variable awake_;
  std::vector<std::shared_ptr<Thread>> threads_;  ///< under the mutex
};

}  // namespace resmgr::client
