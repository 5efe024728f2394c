// SPDX-License-Identifier: Apache-2.0
//
// CgroupMemory: how much memory the control groups around this process have, and may have.
//
// What it is: the limits of the process's group and of those around it, as far as they can be seen,
// for each of them binds all that are in it. Version 2: memory.max and memory.high, beyond which
// the kernel slows everybody down. Version 1: memory.limit_in_bytes, and the tightest of all, seen
// or not, in memory.stat. What is used is the working set: without the file pages that the kernel
// would drop first. What it is not: told of a change; whoever wants to know reads again. Files that
// are absent, unreadable or say "max" are no limit.
//
// Lifetime: a plain value. Thread-safety: reading from any thread. May throw std::bad_alloc.
//
//   const auto memory = CgroupMemory::find();
//   if (memory) gauge.update({.cgroup = memory->read().fullest}, now);
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/budget/cgroup_folder.hpp"
#include "resmgr/budget/fill.hpp"

namespace resmgr::budget {

struct CgroupMemoryState {
  std::uint64_t limit = kUnlimited;  ///< bytes, the tightest of all
  std::uint64_t used = 0;            ///< bytes, of the innermost group
  Fill fullest = {};                 ///< bytes, of the group with the least room for its size
};

class CgroupMemory {
 public:
  /// Errors: NotFound (there is no such group; see CgroupFolder).
  [[nodiscard]] static Result<CgroupMemory> find(const std::string& root = {});

  [[nodiscard]] CgroupMemoryState read() const;
  [[nodiscard]] const CgroupFolder& folder() const noexcept { return folder_; }

 private:
  explicit CgroupMemory(CgroupFolder folder) noexcept : folder_(std::move(folder)) {}

  CgroupFolder folder_;
};

}  // namespace resmgr::budget
