// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/borrowed_timer.hpp"

namespace demo {

Outcome<std::unique_ptr<BorrowedTimer>> BorrowedTimer::open(hal::ResourceManager& manager,
                                                            hal::Handle channel,
                                                            hal::DriverId driver) {
  auto file = manager.fd(channel, driver);
  if (!file) return failed("the timer's file", file.error());
  auto borrowed = std::make_unique<BorrowedTimer>(Key(), std::move(*file));
  auto timer = drivers::timer::Timer::open(borrowed->system_, drivers::timer::kTimerfdBackend, 0);
  if (!timer) return failed("opening the timer", timer.error());
  borrowed->timer_ = std::move(*timer);
  // Whatever the last holder left.
  if (auto disarmed = borrowed->timer_->disarm(); !disarmed) {
    return failed("disarming the timer", disarmed.error());
  }
  return borrowed;
}

}  // namespace demo
