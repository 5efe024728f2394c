// SPDX-License-Identifier: Apache-2.0
//
// Timer: one timer channel, the same for every backend.
//
// What it is: a one-shot or periodic alarm on CLOCK_MONOTONIC that can be waited for or polled, and
// that counts what was missed and how late each expiration was noticed. What it is not: a lock; who
// may use a channel is decided by the resource that stands for it (see timer_driver.hpp).
//
// Periods are counted from the first expiration, not from when it was noticed: they don't drift.
// Lateness is the time from the oldest unreported expiration to the moment it is reported;
// expirations that had to be reported together with an older one are overruns.
// Lifetime: ends with its driver. Thread-safety: one thread at a time; fd() may be polled by
// others.
//
//   timer.arm_after(0ms, 16667us);
//   while (auto tick = timer.wait(Timer::Clock::now() + 1s)) frame(tick->count);
//   log(timer.statistics().lateness.p99);
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include <hal/resource.hpp>

#include "drivers/timer/backend.hpp"
#include "drivers/timer/lateness.hpp"
#include "drivers/timer/system.hpp"

namespace drivers::timer {

/// What a wait reports.
struct Expirations {
  std::uint64_t count = 0;           ///< since the last report; at least 1
  Clock::time_point due;             ///< of the oldest of them
  std::chrono::nanoseconds late{0};  ///< from `due` to this report; 0 for a clock that runs ahead
};

struct TimerStatistics {
  std::uint64_t expirations = 0;  ///< reported
  std::uint64_t overruns = 0;     ///< of these, reported together with an older one
  LatenessSummary lateness;       ///< one sample for each report
};

class Timer {
  struct Key {};  // only open() has one

 public:
  using Clock = timer::Clock;
  /// A deadline that never comes.
  static constexpr Clock::time_point kForever = Clock::time_point::max();

  /// The backend's timer of that number, disarmed. `system` must outlive it. Errors: those of
  /// Backend::open.
  [[nodiscard]] static hal::Result<std::unique_ptr<Timer>> open(System& system,
                                                                const Backend& backend,
                                                                std::uint32_t number);
  Timer(Key, System& system, const Backend& backend, std::unique_ptr<Device> device) noexcept;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() = default;

  /// Expires at `first`, at once if that has passed, and, with a period above 0, again after each
  /// period (those that have passed count). Replaces an earlier schedule with its unreported
  /// expirations. Errors: InvalidArgument (a `first` not after the clock's epoch, a period below 0
  /// or outside of limits()), Unsupported (limits() exclude the kind), System; the earlier schedule
  /// goes on then.
  hal::Result<void> arm_at(Clock::time_point first, std::chrono::nanoseconds period = {});
  /// As arm_at, `delay` (0 or more) from now. Errors: InvalidArgument also for a delay below 0 or
  /// past the end of the clock.
  hal::Result<void> arm_after(std::chrono::nanoseconds delay, std::chrono::nanoseconds period = {});
  /// Stops; unreported expirations are forgotten. Idempotent. Errors: System.
  hal::Result<void> disarm();
  /// False also after a one-shot's expiration was reported.
  [[nodiscard]] bool armed() const noexcept { return armed_; }

  /// Waits for an expiration. Errors: TimedOut (none until `deadline`), InvalidArgument (not
  /// armed), System. A deadline that has passed still reports what has expired.
  hal::Result<Expirations> wait(Clock::time_point deadline);
  /// As wait, without waiting: for those who poll fd(). Errors: WouldBlock in place of TimedOut.
  hal::Result<Expirations> poll();
  /// Readable while expirations are unreported. Owned by the timer; reading it yourself takes the
  /// expirations from the statistics.
  [[nodiscard]] int fd() const noexcept { return device_->fd.get(); }

  [[nodiscard]] Limits limits() const { return backend_->limits(*device_); }
  /// Since the timer was opened, or the last reset.
  [[nodiscard]] TimerStatistics statistics() const noexcept;
  void reset_statistics() noexcept;

 private:
  [[nodiscard]] Expirations report(std::uint64_t count) noexcept;

  System* system_;
  const Backend* backend_;
  std::unique_ptr<Device> device_;
  bool armed_ = false;
  Schedule next_;  // `first` is that of the oldest unreported expiration
  std::uint64_t expirations_ = 0;
  std::uint64_t overruns_ = 0;
  Lateness lateness_;
};

}  // namespace drivers::timer
