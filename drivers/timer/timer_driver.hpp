// SPDX-License-Identifier: Apache-2.0
//
// TimerDriver: timer channels as resources of a manager.
//
// What it is: N timers of one backend, registered as Platform resources NAME/channel/0 .. N-1 of
// class "timer", cookie N, Shareable and Transient, each with its descriptor as the resource's
// file, owned by the driver role "timer-BACKEND". Who holds one exclusively may arm it; who holds
// it shared may poll the file. What it is not: a scheduler, or a guard at every call: the hold is
// checked by open().
//
// Lifetime: the manager and the system must outlive the driver; its timers end with it. Holders
// must be gone before. Thread-safety: open() from any thread; see Timer for the rest.
//
//   auto driver = TimerDriver::create(manager, {.channels = 2}).value();
//   auto hold = manager.acquire_scoped_resource(manager.find("timer0/channel/1").value()).value();
//   Timer* timer = driver->open(hold).value();
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <hal/resource.hpp>
#include <hal/resource_manager.hpp>

#include "drivers/timer/backend.hpp"
#include "drivers/timer/system.hpp"
#include "drivers/timer/timer.hpp"

namespace drivers::timer {

struct TimerDriverOptions {
  std::string name = "timer0";  ///< the channels are called NAME/channel/N
  std::uint32_t channels = 4;   ///< 1 to TimerDriver::kMaxChannels
  std::string backend = {};     ///< empty: the best that the machine has
  System* system = nullptr;     ///< null: the running kernel
};

class TimerDriver {
  struct Key {};  // only create() has one

 public:
  static constexpr std::uint32_t kMaxChannels = 256;

  /// Opens and registers the channels. Errors: InvalidArgument (channels), NotFound (backend),
  /// Unsupported, CapacityExceeded (the machine has fewer; or a table of the domain is full),
  /// InvalidName, AlreadyExists, InUse, Disconnected, System. Nothing is left registered then.
  [[nodiscard]] static hal::Result<std::unique_ptr<TimerDriver>> create(
      hal::ResourceManager& manager, const TimerDriverOptions& options = {});
  TimerDriver(Key, hal::ResourceManager& manager, const Backend& backend,
              hal::DriverId id) noexcept;
  TimerDriver(const TimerDriver&) = delete;
  TimerDriver& operator=(const TimerDriver&) = delete;
  /// As close(); what is still held stays registered, as a name without a timer.
  ~TimerDriver();

  /// The timer of a channel that is held exclusively: disarmed, with fresh statistics, whatever the
  /// last holder left. The pointer is good while the hold lasts. Errors: InvalidArgument (an empty
  /// hold), NotFound (not a channel of this driver), NotPermitted (a shared hold, or nobody holds
  /// the channel here: the hold is another manager's), Disconnected (this driver or the manager is
  /// closed), System.
  [[nodiscard]] hal::Result<Timer*> open(const hal::ScopedResource& hold);

  /// The resources, by channel number.
  [[nodiscard]] std::span<const hal::Handle> handles() const noexcept { return handles_; }
  [[nodiscard]] const Backend& backend() const noexcept { return *backend_; }
  [[nodiscard]] hal::DriverId id() const noexcept { return id_; }

  /// Unregisters the channels and closes their timers. Idempotent. Errors: those of
  /// ResourceManager::unregister_resource (InUse while another context holds a channel); that
  /// channel and those before it stay.
  hal::Result<void> close();

 private:
  [[nodiscard]] hal::Result<void> add_channel(const std::string& name, System& system,
                                              std::uint32_t number);

  hal::ResourceManager* manager_;
  const Backend* backend_;
  hal::DriverId id_;
  // In step: the timer of handles_[n] is timers_[n].
  std::vector<hal::Handle> handles_;
  std::vector<std::unique_ptr<Timer>> timers_;
};

}  // namespace drivers::timer
