// SPDX-License-Identifier: Apache-2.0
//
// CgroupFolder: where the control group of this process is, as a folder.
//
// What it is: what /proc/self/cgroup and /proc/self/mountinfo say together, of version 2 (one
// hierarchy for all) and version 1 (one for each controller, often both side by side). What it is
// not: kept up to date: a process that is moved has to look again; nor a promise: the folder may
// have gone, or lack the controller's files. Lifetime and thread-safety: a plain value.
//
//   const auto memory = CgroupFolder::find("memory");
//   if (memory) memory->each([&](const std::string& folder) { ... });   // this one, then outwards
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "resmgr/base/error.hpp"

namespace resmgr::budget {

enum class CgroupVersion : std::uint8_t { One = 1, Two = 2 };

struct CgroupFolder {
  CgroupVersion version = CgroupVersion::Two;
  std::string group;  ///< this process's, or the innermost around it that can be seen
  std::string top;    ///< the outermost that can be seen; `group`, or a folder around it

  /// That of a controller: of version 1 where one of its hierarchies has it, else of version 2; no
  /// name: of version 2. `root` stands before every path, for tests. Errors: NotFound (no such
  /// hierarchy is mounted, or the process is outside of all that is: a namespace was made around
  /// others). May throw std::bad_alloc.
  [[nodiscard]] static Result<CgroupFolder> find(std::string_view controller,
                                                 const std::string& root = {});

  /// Calls with each folder, from the group outwards.
  template <typename Call>
  void each(const Call& call) const {
    std::string folder = group;
    for (;;) {
      call(std::as_const(folder));
      if (folder.size() <= top.size()) return;
      folder.resize(folder.rfind('/'));
    }
  }
};

}  // namespace resmgr::budget
