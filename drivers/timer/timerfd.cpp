// SPDX-License-Identifier: Apache-2.0
//
// The timerfd backend: each timer is a timerfd on CLOCK_MONOTONIC.
#include <sys/timerfd.h>
#include <time.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "drivers/timer/backend.hpp"

namespace drivers::timer {
namespace {

using std::chrono::nanoseconds;

timespec to_timespec(nanoseconds time) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = static_cast<time_t>(seconds.count()),
          .tv_nsec = static_cast<long>((time - seconds).count())};
}

hal::Result<std::uint32_t> probe(System& system) {
  auto fd = system.create_timerfd();
  if (!fd) return std::unexpected(std::move(fd.error()));
  return 1024u;  // as many as there are descriptors: half of a process's usual limit
}

hal::Result<std::unique_ptr<Device>> open(System& system, std::uint32_t) {
  auto fd = system.create_timerfd();
  if (!fd) return std::unexpected(std::move(fd.error()));
  return std::make_unique<Device>(std::move(*fd));
}

Limits limits(const Device&) {
  return {.resolution = nanoseconds(1),
          .min_period = std::chrono::microseconds(1),
          .max_period = std::chrono::hours(24 * 365),
          .one_shot = true,
          .periodic = true};
}

hal::Result<void> arm(System& system, Device& device, const Schedule& schedule) {
  // Never zero, which would disarm: `first` is after the epoch.
  return system.set_timerfd(device.fd.get(),
                            {.it_interval = to_timespec(schedule.period),
                             .it_value = to_timespec(schedule.first.time_since_epoch())});
}

hal::Result<void> disarm(System& system, Device& device) {
  return system.set_timerfd(device.fd.get(), itimerspec{});
}

hal::Result<std::uint64_t> read(System& system, Device& device) {
  return system.read_count(device.fd.get());
}

}  // namespace

const Backend kTimerfdBackend{
    .name = "timerfd",
    .probe = probe,
    .open = open,
    .limits = limits,
    .arm = arm,
    .disarm = disarm,
    .read = read,
};

}  // namespace drivers::timer
