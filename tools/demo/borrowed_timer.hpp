// SPDX-License-Identifier: Apache-2.0
//
// BorrowedTimer: a timer whose driver is another process, used through its file.
//
// What it is: the file behind a timer channel, which resmgrd hands to who has the rights, as a
// Timer: armed, read and measured here. What it is not: a hold: have the channel's, exclusively.
// Lifetime: of its own, for the file is a duplicate; disarm it before the hold ends.
// Thread-safety: as Timer.
//
//   auto timer = BorrowedTimer::open(manager, handle, producer);
//   (*timer)->timer().arm_after(0ms, 1ms);
#pragma once

#include <memory>
#include <utility>

#include <hal/resource_manager.hpp>

#include "drivers/timer/timer.hpp"
#include "tools/demo/failure.hpp"

namespace demo {

class BorrowedTimer {
  struct Key {};  // only open() has one

 public:
  /// On behalf of `driver`, which needs rights to read and write. The channel's must be a timerfd.
  [[nodiscard]] static Outcome<std::unique_ptr<BorrowedTimer>> open(hal::ResourceManager& manager,
                                                                    hal::Handle channel,
                                                                    hal::DriverId driver);
  BorrowedTimer(Key, hal::UniqueFd file) noexcept : system_(std::move(file)) {}

  [[nodiscard]] drivers::timer::Timer& timer() noexcept { return *timer_; }

 private:
  /// The kernel, where the next timerfd is one that was made before.
  class OneFile final : public drivers::timer::System {
   public:
    using Clock = drivers::timer::Clock;
    explicit OneFile(hal::UniqueFd file) noexcept : file_(std::move(file)) {}
    [[nodiscard]] Clock::time_point now() noexcept override { return kernel().now(); }
    [[nodiscard]] hal::Result<hal::UniqueFd> create_timerfd() noexcept override {
      return std::move(file_);
    }
    hal::Result<void> set_timerfd(int fd, const itimerspec& absolute) noexcept override {
      return kernel().set_timerfd(fd, absolute);
    }
    [[nodiscard]] hal::Result<std::uint64_t> read_count(int fd) noexcept override {
      return kernel().read_count(fd);
    }
    [[nodiscard]] hal::Result<bool> wait_readable(int fd,
                                                  Clock::time_point deadline) noexcept override {
      return kernel().wait_readable(fd, deadline);
    }

   private:
    hal::UniqueFd file_;
  };

  OneFile system_;
  std::unique_ptr<drivers::timer::Timer> timer_;
};

}  // namespace demo
