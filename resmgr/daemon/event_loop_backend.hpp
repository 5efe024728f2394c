// SPDX-License-Identifier: Apache-2.0
//
// Poller: how an event loop waits for descriptors; LoopBackend: a kind of Poller.
//
// What it is: the line between EventLoop, which knows watchers and timers, and the file of each
// backend, which talks to the kernel; also where a test plugs in a kernel of its own. A new backend
// is one file, and one line in event_loop.cpp. What it is not: for users of the loop.
//
// Descriptors go by an index that the loop chose: small, and used again after remove().
//
// Lifetime: a Poller is its loop's; backends are constants. Thread-safety: as EventLoop. In a child
// of fork() it is only destroyed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/error.hpp"

namespace resmgr::daemon {

/// A deadline that never comes.
inline constexpr std::uint64_t kNever = ~std::uint64_t{0};

/// That a descriptor is ready.
struct FdReport {
  std::uint32_t index = 0;
  unsigned events = 0;  ///< wanted ones, or of EventLoop::kAlwaysReported
};

class Poller {
 public:
  Poller() noexcept = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  virtual ~Poller() = default;

  /// Reports on `fd` under an index that is free. Errors, after which it still is:
  /// CapacityExceeded. May throw std::bad_alloc.
  [[nodiscard]] virtual Result<void> add(std::uint32_t index, int fd, unsigned events) = 0;
  virtual void change(std::uint32_t index, unsigned events) noexcept = 0;
  /// Nothing of the descriptor is in use any more. No report of it comes under this index, whoever
  /// is the next to have it.
  virtual void remove(std::uint32_t index) noexcept = 0;
  /// Waits until a descriptor is ready or `deadline_ns` has come, and then appends one report for
  /// each that is ready. `reports` has room for one for each index. Errors: System.
  [[nodiscard]] virtual Result<void> wait(std::uint64_t deadline_ns,
                                          std::vector<FdReport>& reports) noexcept = 0;

 protected:
  /// Nanoseconds until it comes, 0 once it has. Never more than a century or so, for the kernel
  /// adds them to its own time, which is signed.
  [[nodiscard]] static std::uint64_t time_left(std::uint64_t deadline_ns) noexcept {
    constexpr std::uint64_t kLongest = std::uint64_t{1} << 62;
    const std::uint64_t now = Clock::now();
    return deadline_ns > now ? std::min(deadline_ns - now, kLongest) : 0;
  }
};

struct LoopBackend {
  std::string_view name;
  /// Errors: those of the kernel, with their errno.
  Result<std::unique_ptr<Poller>> (*create)();
};

/// io_uring with one-shot polls; Linux 5.11.
extern const LoopBackend kUringBackend;
/// ppoll(2), on every machine; the time of each turn grows with the number of descriptors.
extern const LoopBackend kPollBackend;

}  // namespace resmgr::daemon
