// SPDX-License-Identifier: Apache-2.0
//
// Doorbell: one thread that sleeps for all waits of a process, where io_uring can't wait on their
// futexes.
//
// What it is: the process's side of rm_client.doorbell. Whoever decides a node that is watched here
// sets its bit and rings; the thread wakes, takes the bits of its own nodes, and tells who listens
// for them, until there are no more. Who decides meanwhile finds it awake, and has no call of the
// kernel to pay for. What it is not: the outcome, which the node says; being told too often does no
// harm. The thread is made with the first watch, and sleeps without a time limit while there is
// none. While there are some it looks at them itself every 100 ms, for those who were stopped or
// killed between deciding and ringing. tests/model/doorbell.pml is its model.
//
// Lifetime: the region outlives the thread, which stop() ends; the object may live longer. Thread-
// safety: any thread; listeners are called by the doorbell's own, under its lock.
//
//   auto watched = doorbell->watch(wait, listener, 7);   // then LockEngine::sleep_on(wait)
//   ...listener.ready(7)...
//   doorbell->unwatch(wait, listener);
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "resmgr/base/error.hpp"
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
  /// `client`: which record of the lock region this process is.
  Doorbell(const lock::LockTables& tables, std::uint32_t client) noexcept;
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
  /// Tells all who listen once more, and ends the thread; idempotent.
  void stop() noexcept;
  // A child of fork() has no such thread, but may unwatch.
  void before_fork() noexcept { mutex_.lock(); }
  void after_fork() noexcept { mutex_.unlock(); }

 private:
  struct Watch {
    DoorbellListener* listener = nullptr;
    std::uint64_t cookie = 0;
  };
  enum class Look : std::uint8_t { Bits, Nodes, All };

  void run() noexcept;
  [[nodiscard]] std::optional<std::uint64_t> sleeps_until() noexcept;
  bool tell(Look look) noexcept;

  lock::LockTables t_;  ///< a copy: unwatch() may be called when the region is gone
  std::uint32_t client_;
  rm_client* record_;
  std::mutex mutex_;
  // Under the mutex:
  std::vector<Watch> watches_;          ///< by number of the node
  std::vector<std::uint64_t> watched_;  ///< a bit each
  std::uint32_t count_ = 0;
  bool sleeps_for_ever_ = false;  ///< for there was nothing to look at
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace resmgr::client
