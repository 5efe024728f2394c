// SPDX-License-Identifier: Apache-2.0
//
// Ticker: keeps an engine's tick for as long as it is worth it.
//
// What it is: a thread that sleeps without a time limit until wake(), then writes the time down
// every ten milliseconds for a second, and sleeps again; if the time is still asked for as often as
// before, it is woken again. Holds are then stamped with a load instead of a clock, and an age is
// right within ten milliseconds. What it is not: needed. Without it (no thread could be made) the
// clock is read. A process that was stopped may stamp its first holds afterwards with the time of
// the stop.
//
// Lifetime: the engine outlives it. Thread-safety: wake() from any thread, under any lock; the rest
// by one thread.
//
//   Ticker ticker(engine);
//   (void)ticker.start();
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "resmgr/base/error.hpp"
#include "resmgr/lock/engine.hpp"

namespace resmgr::client {

class Ticker {
 public:
  static constexpr std::uint64_t kPeriodNs = 10'000'000;
  static constexpr unsigned kTicks = 100;  ///< of one wake

  explicit Ticker(lock::LockEngine& engine) noexcept : engine_(engine) {}
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker() { stop(); }

  /// Makes the thread, asleep. Errors: System (no thread).
  Result<void> start();
  /// Begins to tick, if it does not. Allocates nothing.
  void wake() noexcept;
  /// Ends the thread; idempotent.
  void stop() noexcept;

 private:
  enum State : std::uint32_t { kAsleep, kTicking, kStopping };
  void run() noexcept;
  /// Ticks until it has done so kTicks times, is to stop, or everything is to be recorded: what
  /// finds a tick is not.
  void tick() noexcept;

  lock::LockEngine& engine_;
  std::atomic<std::uint32_t> state_{kAsleep};  ///< the futex that the thread sleeps on
  std::thread thread_;
};

}  // namespace resmgr::client
