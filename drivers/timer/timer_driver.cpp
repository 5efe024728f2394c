// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/timer_driver.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace drivers::timer {
namespace {

using hal::ErrorCode;
using resmgr::fail;

}  // namespace

hal::Result<std::unique_ptr<TimerDriver>> TimerDriver::create(hal::ResourceManager& manager,
                                                              const TimerDriverOptions& options) {
  if (options.channels == 0 || options.channels > kMaxChannels) {
    return fail(ErrorCode::InvalidArgument, "timer driver: number of channels");
  }
  System& system = options.system ? *options.system : System::kernel();
  auto backend = choose_backend(system, options.backend);
  if (!backend) return std::unexpected(std::move(backend.error()));
  auto available = (*backend)->probe(system);
  if (!available) return std::unexpected(std::move(available.error()));
  if (options.channels > *available) {
    hal::Error error(ErrorCode::CapacityExceeded, "timer driver: channels");
    error.with_amounts(options.channels, *available);
    return std::unexpected(std::move(error));
  }
  auto id = manager.register_driver("timer-" + std::string((*backend)->name));
  if (!id) return std::unexpected(std::move(id.error()));

  auto driver = std::make_unique<TimerDriver>(Key(), manager, **backend, *id);
  for (std::uint32_t number = 0; number < options.channels; ++number) {
    const std::string name = options.name + "/channel/" + std::to_string(number);
    if (auto added = driver->add_channel(name, system, number); !added) {
      return std::unexpected(std::move(added.error()));  // the destructor unregisters the others
    }
  }
  return driver;
}

TimerDriver::TimerDriver(Key, hal::ResourceManager& manager, const Backend& backend,
                         hal::DriverId id) noexcept
    : manager_(&manager), backend_(&backend), id_(id) {}

TimerDriver::~TimerDriver() { static_cast<void>(close()); }

hal::Result<void> TimerDriver::add_channel(const std::string& name, System& system,
                                           std::uint32_t number) {
  auto timer = Timer::open(system, *backend_, number);
  if (!timer) return std::unexpected(std::move(timer.error()));
  hal::UniqueFd copy(::fcntl((*timer)->fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return resmgr::fail_errno(errno, "fcntl(F_DUPFD_CLOEXEC)");
  const Limits limits = (*timer)->limits();
  auto handle = manager_->register_resource(
      name,
      {.type = hal::ResourceType::Platform,
       .class_name = "timer",
       .flags = hal::ResourceFlags::Shareable | hal::ResourceFlags::Transient,
       .pairs = {{"backend", std::string(backend_->name)},
                 {"resolution_ns", std::to_string(limits.resolution.count())},
                 {"periodic", limits.periodic ? "yes" : "no"}}},
      {.driver = id_, .cookie = number, .fd = std::move(copy)});
  if (!handle) return std::unexpected(std::move(handle.error()));
  handles_.push_back(*handle);
  timers_.push_back(std::move(*timer));
  return {};
}

hal::Result<Timer*> TimerDriver::open(const hal::ScopedResource& hold) {
  if (timers_.empty()) return fail(ErrorCode::Disconnected, "timer driver");
  if (!hold) return fail(ErrorCode::InvalidArgument, "timer driver: nothing is held");
  const auto found = std::ranges::find(handles_, hold.handle());
  if (found == handles_.end()) {
    return fail(ErrorCode::NotFound, "timer driver: not one of its channels");
  }
  if (hold.kind() != hal::HoldKind::Exclusive) {
    return fail(ErrorCode::NotPermitted, "timer driver: a shared hold can't arm");
  }
  // A hold of another manager can carry the same number.
  auto stats = manager_->get_resource_stats(*found);
  if (!stats) return std::unexpected(std::move(stats.error()));
  if (stats->holders.empty()) return fail(ErrorCode::NotPermitted, "timer driver: not held here");

  Timer* timer = timers_[static_cast<std::size_t>(found - handles_.begin())].get();
  if (auto disarmed = timer->disarm(); !disarmed) {
    return std::unexpected(std::move(disarmed.error()));
  }
  timer->reset_statistics();
  return timer;
}

hal::Result<void> TimerDriver::close() {
  while (!handles_.empty()) {
    if (auto gone = manager_->unregister_resource(handles_.back());
        !gone && gone.error() != ErrorCode::StaleHandle &&
        gone.error() != ErrorCode::Disconnected) {
      return gone;
    }
    handles_.pop_back();
    timers_.pop_back();
  }
  return {};
}

}  // namespace drivers::timer
