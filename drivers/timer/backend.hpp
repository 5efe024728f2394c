// SPDX-License-Identifier: Apache-2.0
//
// Backend: what a kind of timer hardware has to offer, as one table of operations.
//
// What it is: the line between Timer, which checks arguments, keeps time and counts, and the file
// of each backend, which talks to the kernel. What it is not: for users of timers. A new backend is
// one file with one table, and one line in backends.cpp.
// Lifetime: tables are constants. Thread-safety: operations on one Device by one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include <hal/resource.hpp>

#include "drivers/timer/system.hpp"

namespace drivers::timer {

/// What one timer can do.
struct Limits {
  std::chrono::nanoseconds resolution{1};  ///< to which times are rounded
  std::chrono::nanoseconds min_period{0};
  std::chrono::nanoseconds max_period{0};
  bool one_shot = false;
  bool periodic = false;
};

/// When a timer expires: at `first` and then, if `period` is not 0, after each period.
struct Schedule {
  Clock::time_point first;
  std::chrono::nanoseconds period{0};
};

/// One open timer; a backend that keeps more derives from it.
struct Device {
  explicit Device(hal::UniqueFd file) noexcept : fd(std::move(file)) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device();

  hal::UniqueFd fd;  ///< readable while expirations wait to be read
};

struct Backend {
  std::string_view name;  ///< 1 to 16 bytes of [a-z0-9-]

  /// How many timers can be had at most. Errors: Unsupported (not on this machine), System.
  hal::Result<std::uint32_t> (*probe)(System& system);
  /// The timer of that number, counted from 0, disarmed. Errors: InUse, System, CapacityExceeded.
  hal::Result<std::unique_ptr<Device>> (*open)(System& system, std::uint32_t number);
  Limits (*limits)(const Device& device);
  /// Arms anew; expirations not read yet are forgotten. `first` is after the clock's epoch but may
  /// have passed; period and kind are within the limits. Errors: System.
  hal::Result<void> (*arm)(System& system, Device& device, const Schedule& schedule);
  /// Stops; expirations not read yet are forgotten. Errors: System.
  hal::Result<void> (*disarm)(System& system, Device& device);
  /// Expirations since the last read, at least 1. Errors: WouldBlock, System.
  hal::Result<std::uint64_t> (*read)(System& system, Device& device);
};

/// timerfd: the kernel's high-resolution timers, on every machine.
extern const Backend kTimerfdBackend;

/// All backends, best first.
[[nodiscard]] std::span<const Backend* const> backends() noexcept;
/// The backend of that name; for an empty name the first that the machine has. Errors: NotFound,
/// Unsupported.
[[nodiscard]] hal::Result<const Backend*> choose_backend(System& system, std::string_view name);

}  // namespace drivers::timer
