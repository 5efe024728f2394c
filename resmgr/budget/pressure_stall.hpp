// SPDX-License-Identifier: Apache-2.0
//
// PressureStall: the kernel tells when processes have to wait for memory ("pressure stall
// information").
//
// What it is: one trigger: in each window of time in which the processes of a group, or of the
// machine, stood still for longer than some time, the descriptor gets ready with POLLPRI, once.
// What it is not: a level, see PressureGauge; nor told of an end, which is the want of a next one.
// Kernels before 5.2, and those that were built or started without it, have none. Up to Linux 6.4
// only root may ask; since then everybody may for windows of whole two seconds, which is what
// others get: the same share of a longer window.
//
// Lifetime: owns its descriptor; the trigger goes with it. A wait of poll(2) or io_uring is the
// owner's. Thread-safety: any thread.
//
//   auto stall = PressureStall::watch(stall_file());
//   poll(stall->fd(), PressureStall::kEvents) ...
//   if (stall->has_stalled().value_or(false)) gauge.update({.stalled = true}, now);
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr::budget {

/// Who must stand still.
enum class StallKind : std::uint8_t {
  Some,  ///< one of them at least
  Full,  ///< all that have something to do
};

struct StallTrigger {
  StallKind kind = StallKind::Some;
  std::chrono::microseconds stall = std::chrono::milliseconds(150);  ///< above 0, up to `window`
  std::chrono::microseconds window = std::chrono::seconds(1);        ///< 500 ms to 10 s

  friend bool operator==(const StallTrigger&, const StallTrigger&) noexcept = default;
};

class PressureStall {
 public:
  static constexpr short kEvents = POLLPRI;

  /// Errors: InvalidArgument (a trigger out of its range), Unsupported (this kernel has none, or it
  /// is switched off), NotPermitted, CapacityExceeded (no descriptor left), System.
  [[nodiscard]] static Result<PressureStall> watch(const std::string& file,
                                                   const StallTrigger& trigger = {}) noexcept;

  /// Whether it happened since the last call; never waits. Errors: Disconnected (the group is
  /// gone: nothing will come any more), System.
  [[nodiscard]] Result<bool> has_stalled() noexcept;

  /// For poll(2) with kEvents; still owned by this object.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// What was granted, possibly with a longer window than asked for.
  [[nodiscard]] const StallTrigger& trigger() const noexcept { return trigger_; }

 private:
  PressureStall(UniqueFd fd, const StallTrigger& trigger) noexcept
      : fd_(std::move(fd)), trigger_(trigger) {}

  UniqueFd fd_;
  StallTrigger trigger_;
};

/// Where to watch: the file of this process's control group, or that of the whole machine where it
/// has none that this process may write. `root` stands before every path, for tests. May throw
/// std::bad_alloc.
[[nodiscard]] std::string stall_file(const std::string& root = {});

}  // namespace resmgr::budget
