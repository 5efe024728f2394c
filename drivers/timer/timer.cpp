// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/timer.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace drivers::timer {
namespace {

using hal::ErrorCode;
using resmgr::fail;
using std::chrono::nanoseconds;

/// `time` plus `count` periods, or the end of the clock.
Clock::time_point advance(Clock::time_point time, nanoseconds period,
                          std::uint64_t count) noexcept {
  std::int64_t step = 0;
  std::int64_t sum = 0;
  if (__builtin_mul_overflow(period.count(), count, &step) ||
      __builtin_add_overflow(time.time_since_epoch().count(), step, &sum)) {
    return Clock::time_point::max();
  }
  return Clock::time_point(Clock::duration(sum));
}

}  // namespace

hal::Result<std::unique_ptr<Timer>> Timer::open(System& system, const Backend& backend,
                                                std::uint32_t number) {
  auto device = backend.open(system, number);
  if (!device) return std::unexpected(std::move(device.error()));
  return std::make_unique<Timer>(Key(), system, backend, std::move(*device));
}

Timer::Timer(Key, System& system, const Backend& backend, std::unique_ptr<Device> device) noexcept
    : system_(&system), backend_(&backend), device_(std::move(device)) {}

hal::Result<void> Timer::arm_at(Clock::time_point first, nanoseconds period) {
  if (first.time_since_epoch().count() <= 0) {
    return fail(ErrorCode::InvalidArgument, "timer: not after the clock's epoch");
  }
  const Limits can = limits();
  if (period.count() < 0 ||
      (period.count() > 0 && (period < can.min_period || period > can.max_period))) {
    return fail(ErrorCode::InvalidArgument, "timer: period out of range");
  }
  if (period.count() == 0 ? !can.one_shot : !can.periodic) {
    return fail(ErrorCode::Unsupported, "timer: not a kind that this backend has");
  }
  const Schedule schedule{.first = first, .period = period};
  if (auto armed = backend_->arm(*system_, *device_, schedule); !armed) return armed;
  next_ = schedule;
  armed_ = true;
  return {};
}

hal::Result<void> Timer::arm_after(nanoseconds delay, nanoseconds period) {
  const Clock::time_point now = system_->now();
  if (delay.count() < 0 || delay > Clock::time_point::max() - now) {
    return fail(ErrorCode::InvalidArgument, "timer: delay out of range");
  }
  return arm_at(now + delay, period);
}

hal::Result<void> Timer::disarm() {
  if (auto disarmed = backend_->disarm(*system_, *device_); !disarmed) return disarmed;
  armed_ = false;
  return {};
}

hal::Result<Expirations> Timer::wait(Clock::time_point deadline) {
  for (;;) {
    auto polled = poll();
    if (polled || polled.error() != ErrorCode::WouldBlock) return polled;
    auto readable = system_->wait_readable(device_->fd.get(), deadline);
    if (!readable) return std::unexpected(std::move(readable.error()));
    if (!*readable) return fail(ErrorCode::TimedOut, "timer");
  }
}

hal::Result<Expirations> Timer::poll() {
  if (!armed_) return fail(ErrorCode::InvalidArgument, "timer: not armed");
  auto count = backend_->read(*system_, *device_);
  if (!count) return std::unexpected(std::move(count.error()));
  return report(*count);
}

Expirations Timer::report(std::uint64_t count) noexcept {
  const nanoseconds late = std::max(nanoseconds(system_->now() - next_.first), nanoseconds(0));
  const Expirations expired{.count = count, .due = next_.first, .late = late};
  lateness_.record(late);
  expirations_ += count;
  overruns_ += count - 1;
  if (next_.period.count() == 0) armed_ = false;
  next_.first = advance(next_.first, next_.period, count);
  return expired;
}

TimerStatistics Timer::statistics() const noexcept {
  return {.expirations = expirations_, .overruns = overruns_, .lateness = lateness_.summary()};
}

void Timer::reset_statistics() noexcept {
  expirations_ = 0;
  overruns_ = 0;
  lateness_ = Lateness();
}

}  // namespace drivers::timer
