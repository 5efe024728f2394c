// SPDX-License-Identifier: Apache-2.0
//
// Doorbell: how a domain hears that its waits are decided, where io_uring can't wait on their
// futexes.
//
// What it is: the process's side of rm_client.doorbell. Whoever decides a node that is watched here
// sets its bit and rings; a thread that sleeps for the doorbell (see DoorbellThreads) wakes, takes
// the bits of its nodes, and tells who listens for them. What it is not: the outcome, which the
// node says; being told too often does no harm.
//
// Lifetime: the region outlives what is done until stop(); the object may live longer. Thread-
// safety: any thread; listeners are called by the doorbell's thread, or who looks, under its lock.
//
//   auto watched = doorbell->watch(wait, listener, 7);   // then LockEngine::sleep_on(wait)
//   ...listener.ready(7)...
//   doorbell->unwatch(wait, listener);
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/client/doorbell_threads.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {
struct Wait;
}

namespace resmgr::client {

/// Who is told that a wait may be decided.
class DoorbellListener {
 public:
  /// By the doorbell's thread, under its lock: no call of the doorbell from here.
  virtual void ready(std::uint64_t cookie) noexcept = 0;

 protected:
  ~DoorbellListener() = default;
};

class Doorbell {
 public:
  /// `client`: which record of the lock region this process is. `threads`: not null.
  Doorbell(const lock::LockTables& tables, std::uint32_t client,
           std::shared_ptr<DoorbellThreads> threads) noexcept;
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  ~Doorbell() { stop(); }

  /// What Wait::wake_target says of waits that are watched here.
  [[nodiscard]] std::uint32_t target() const noexcept { return client_ + 1; }
  /// From here on, until unwatch(), `listener` is told of this wait. REQUIRES: it is begun. Errors:
  /// System (no memory, no thread), Disconnected (it was stopped).
  Result<void> watch(const lock::Wait& wait, DoorbellListener& listener, std::uint64_t cookie);
  /// Returns when the listener is told no more of it. Does nothing if it is not watched.
  void unwatch(const lock::Wait& wait, const DoorbellListener& listener) noexcept;
  /// Does the thread's work now, for who is about to sleep until he is told: saves him two switches
  /// where the outcome is there already.
  void look() noexcept { (void)tell(Look::Bits); }
  /// Tells all who listen once more, and has the thread leave it alone; idempotent.
  void stop() noexcept;
  // A child of fork() has no such thread, but may unwatch.
  void before_fork() noexcept { mutex_.lock(); }
  void after_fork() noexcept { mutex_.unlock(); }

 private:
  friend class DoorbellThreads;
  struct Watch {
    DoorbellListener* listener = nullptr;
    std::uint64_t cookie = 0;
  };
  enum class Look : std::uint8_t { Bits, Nodes, All };

  // For the thread.
  bool tell(Look look) noexcept;
  [[nodiscard]] const std::uint32_t* word() const noexcept { return &record_->doorbell; }
  /// Returns what the word says while the thread may sleep on.
  std::uint32_t fall_asleep() noexcept;
  void wake_up() noexcept;
  /// Wakes it, though nothing is decided.
  void ring() noexcept;
  [[nodiscard]] bool is_watching() noexcept;

  lock::LockTables t_;  ///< a copy: unwatch() may be called when the region is gone
  std::uint32_t client_;
  rm_client* record_;
  std::mutex mutex_;
  // Under the mutex:
  std::vector<Watch> watches_;          ///< by number of the node
  std::vector<std::uint64_t> watched_;  ///< a bit each
  std::uint32_t count_ = 0;
  bool stopping_ = false;
  std::shared_ptr<DoorbellThreads> threads_;   ///< null: it was stopped
  DoorbellThreads::Thread* thread_ = nullptr;  ///< null: nothing was watched yet
};

}  // namespace resmgr::client
