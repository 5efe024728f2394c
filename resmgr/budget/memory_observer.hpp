// SPDX-License-Identifier: Apache-2.0
//
// MemoryObserver: how scarce the memory around this process is, seen from time to time.
//
// What it is: the control groups' limits and use, and the kernel's word that processes stood still
// for want of memory, as far as this machine tells of them. What it is not: a thread, or a level;
// whoever has a PressureWatch hands one to it and comes back when that says so. A group that goes,
// or files that can't be read any more, are no limit.
//
// Lifetime: owns its descriptor. Thread-safety: callers serialise.
//
//   watch.observe(MemoryObserver::find());
//   if (const auto next = watch.look_again(now())) call_again_at(*next);
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "resmgr/budget/cgroup_memory.hpp"
#include "resmgr/budget/fill.hpp"
#include "resmgr/budget/pressure_stall.hpp"

namespace resmgr::budget {

class MemoryObserver {
 public:
  struct View {
    Fill cgroup;           ///< bytes, of the group with the least room for its size
    bool stalled = false;  ///< since the last look
  };

  /// Of what there is on this machine: nothing at all, perhaps. `root` stands before every path,
  /// for tests. May throw std::bad_alloc.
  [[nodiscard]] static MemoryObserver find(const std::string& root = {});

  /// May throw std::bad_alloc.
  [[nodiscard]] View look();
  /// Whether a look may ever show anything.
  [[nodiscard]] bool sees_anything() const noexcept { return groups_ || stall_; }
  /// Whether stalls show.
  [[nodiscard]] bool sees_stalls() const noexcept { return stall_.has_value(); }
  /// Ready with PressureStall::kEvents when processes stood still; -1 where the kernel does not
  /// tell. Whoever waits on it says so with note_stall(), for it is ready once for each stall.
  [[nodiscard]] int stall_fd() const noexcept { return stall_ ? stall_->fd() : -1; }
  void note_stall() noexcept { noted_ = true; }

 private:
  std::optional<CgroupMemory> groups_;
  std::optional<PressureStall> stall_;
  bool noted_ = false;
};

}  // namespace resmgr::budget
