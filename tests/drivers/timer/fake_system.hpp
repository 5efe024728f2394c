// SPDX-License-Identifier: Apache-2.0
//
// FakeSystem: a kernel with a clock that moves only when a test, or a wait, moves it.
//
// What it is: timerfds as the manual describes them: absolute times, intervals, counts that a new
// setting forgets. Its descriptors are real ones, of eventfds, so that they can be owned, but time
// is in here alone. What it is not: safe for threads. Lifetime: must outlive the timers.
//
//   FakeSystem system;
//   system.latencies = {50us};   // the next wait returns that late
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "drivers/timer/system.hpp"

namespace drivers::timer::test {

class FakeSystem final : public System {
 public:
  using nanoseconds = std::chrono::nanoseconds;

  Clock::time_point now() noexcept override { return time; }

  hal::Result<hal::UniqueFd> create_timerfd() noexcept override {
    if (const int error = take(create_errors)) return resmgr::fail_errno(error, "create");
    hal::UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
    timers_[fd.get()] = {};
    return fd;
  }

  hal::Result<void> set_timerfd(int fd, const itimerspec& absolute) noexcept override {
    if (const int error = take(set_errors)) return resmgr::fail_errno(error, "set");
    settings.push_back(absolute);
    if (!valid(absolute.it_value) || !valid(absolute.it_interval)) {
      return resmgr::fail_errno(EINVAL, "set");
    }
    timers_[fd] = {.next = to_ns(absolute.it_value), .interval = to_ns(absolute.it_interval)};
    return {};
  }

  hal::Result<std::uint64_t> read_count(int fd) noexcept override {
    if (const int error = take(read_errors)) return resmgr::fail_errno(error, "read");
    FakeTimer& timer = timers_[fd];
    const nanoseconds elapsed = time.time_since_epoch() - timer.next;
    if (timer.next.count() == 0 || elapsed.count() < 0) {
      return resmgr::fail(hal::ErrorCode::WouldBlock, "read");
    }
    if (timer.interval.count() == 0) {
      timer.next = {};
      return 1u;
    }
    const auto count = elapsed / timer.interval + 1;
    timer.next += timer.interval * count;
    return static_cast<std::uint64_t>(count);
  }

  hal::Result<bool> wait_readable(int fd, Clock::time_point deadline) noexcept override {
    if (const int error = take(wait_errors)) return resmgr::fail_errno(error, "wait");
    ++waits;
    const FakeTimer& timer = timers_[fd];
    const Clock::time_point due{timer.next};
    if (timer.next.count() == 0 || due > deadline) {
      if (deadline > time) time = deadline;
      return false;
    }
    if (due > time) time = due;
    if (!latencies.empty()) {
      time += latencies.front();
      latencies.pop_front();
    }
    return true;
  }

  Clock::time_point time{std::chrono::hours(1)};
  std::deque<nanoseconds> latencies;  ///< by which the next waits return late
  std::vector<itimerspec> settings;   ///< every one that was asked for
  int waits = 0;
  // Errors of the next calls; 0 lets one pass.
  std::deque<int> create_errors;
  std::deque<int> set_errors;
  std::deque<int> read_errors;
  std::deque<int> wait_errors;

 private:
  struct FakeTimer {
    nanoseconds next{0};  ///< 0: disarmed
    nanoseconds interval{0};
  };

  static int take(std::deque<int>& errors) noexcept {
    if (errors.empty()) return 0;
    const int error = errors.front();
    errors.pop_front();
    return error;
  }
  static bool valid(const timespec& time) noexcept {
    return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < 1'000'000'000;
  }
  static nanoseconds to_ns(const timespec& time) noexcept {
    return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
  }

  std::map<int, FakeTimer> timers_;
};

}  // namespace drivers::timer::test
