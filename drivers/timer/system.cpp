// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/system.hpp"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace drivers::timer {
namespace {

using hal::ErrorCode;
using resmgr::fail;
using resmgr::fail_errno;

class Kernel final : public System {
 public:
  Clock::time_point now() noexcept override { return Clock::now(); }

  hal::Result<hal::UniqueFd> create_timerfd() noexcept override {
    hal::UniqueFd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd) return fail_errno(errno, "timerfd_create");
    return fd;
  }

  hal::Result<void> set_timerfd(int fd, const itimerspec& absolute) noexcept override {
    if (::timerfd_settime(fd, TFD_TIMER_ABSTIME, &absolute, nullptr) != 0) {
      return fail_errno(errno, "timerfd_settime");
    }
    return {};
  }

  hal::Result<std::uint64_t> read_count(int fd) noexcept override {
    std::uint64_t count = 0;
    for (;;) {
      const ssize_t got = ::read(fd, &count, sizeof(count));
      if (got == ssize_t{sizeof(count)}) return count;
      if (got >= 0) return fail_errno(EIO, "read of a timer");
      if (errno == EAGAIN) return fail(ErrorCode::WouldBlock, "timer");
      if (errno != EINTR) return fail_errno(errno, "read of a timer");
    }
  }

  hal::Result<bool> wait_readable(int fd, Clock::time_point deadline) noexcept override {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    for (;;) {
      // ppoll takes durations: an interrupted one is computed anew.
      const Clock::time_point start = now();
      const auto left = deadline > start ? deadline - start : Clock::duration::zero();
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
      const timespec limit{.tv_sec = static_cast<time_t>(seconds.count()),
                           .tv_nsec = static_cast<long>((left - seconds).count())};
      const bool forever = deadline == Clock::time_point::max();
      const int ready = ::ppoll(&entry, 1, forever ? nullptr : &limit, nullptr);
      if (ready > 0 && (entry.revents & POLLIN) == 0) return fail_errno(EIO, "poll of a timer");
      if (ready >= 0) return ready > 0;
      if (errno != EINTR) return fail_errno(errno, "poll of a timer");
    }
  }
};

}  // namespace

System::~System() = default;

System& System::kernel() noexcept {
  static Kernel kernel;
  return kernel;
}

}  // namespace drivers::timer
