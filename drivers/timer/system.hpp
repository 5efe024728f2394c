// SPDX-License-Identifier: Apache-2.0
//
// System: everything that the timer driver asks of the kernel.
//
// What it is: a narrow seam, so that a test can be the kernel, with a clock of its own. What it is
// not: policy; arguments are passed on as they are. Lifetime: must outlive the timers that use it.
// Thread-safety: any thread.
//
//   System& system = System::kernel();
//   auto fd = system.create_timerfd().value();
#pragma once

#include <sys/timerfd.h>

#include <chrono>
#include <cstdint>

#include <hal/resource.hpp>

namespace drivers::timer {

/// CLOCK_MONOTONIC.
using Clock = std::chrono::steady_clock;

class System {
 public:
  System() = default;
  System(const System&) = delete;
  System& operator=(const System&) = delete;
  virtual ~System();

  /// The running kernel.
  [[nodiscard]] static System& kernel() noexcept;

  [[nodiscard]] virtual Clock::time_point now() noexcept = 0;
  /// A disarmed timerfd on CLOCK_MONOTONIC that does not block. Errors: System, CapacityExceeded.
  [[nodiscard]] virtual hal::Result<hal::UniqueFd> create_timerfd() noexcept = 0;
  /// timerfd_settime with TFD_TIMER_ABSTIME. Errors: System.
  virtual hal::Result<void> set_timerfd(int fd, const itimerspec& absolute) noexcept = 0;
  /// Reads the 64-bit count that timerfds and HPET files give. Errors: WouldBlock (nothing
  /// expired), System.
  [[nodiscard]] virtual hal::Result<std::uint64_t> read_count(int fd) noexcept = 0;
  /// Waits until `fd` is readable: true; or until the deadline: false. Errors: System.
  [[nodiscard]] virtual hal::Result<bool> wait_readable(int fd,
                                                        Clock::time_point deadline) noexcept = 0;
};

}  // namespace drivers::timer
