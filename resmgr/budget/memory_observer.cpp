// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/memory_observer.hpp"

namespace resmgr::budget {

MemoryObserver MemoryObserver::find(const std::string& root) {
  MemoryObserver found;
  if (auto groups = CgroupMemory::find(root)) found.groups_ = std::move(*groups);
  if (auto stall = PressureStall::watch(stall_file(root))) found.stall_ = std::move(*stall);
  return found;
}

MemoryObserver::View MemoryObserver::look() {
  View view{.cgroup = {}, .stalled = std::exchange(noted_, false)};
  if (groups_) view.cgroup = groups_->read().fullest;
  if (!stall_) return view;
  const auto stalled = stall_->has_stalled();
  if (stalled) {
    view.stalled |= *stalled;
  } else if (stalled.error() == ErrorCode::Disconnected) {
    stall_.reset();
  }
  return view;
}

}  // namespace resmgr::budget
