// SPDX-License-Identifier: Apache-2.0
//
// reopen_read_only: the file of a descriptor, opened once more.
//
// What it is: an open file description of its own, which can only be read, and of which no mapping
// can be made writable. What it is not: a duplicate, which shares all that; nor possible without
// /proc. Thread-safety: any thread.
//
//   auto own = reopen_read_only(region.fd());
#pragma once

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr {

/// Errors: System (also where /proc is not to be seen), NotPermitted, CapacityExceeded (no
/// descriptor left).
[[nodiscard]] inline Result<UniqueFd> reopen_read_only(int fd) noexcept {
  std::array<char, 32> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  UniqueFd opened(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!opened) return fail_errno(errno, "opening a file anew");
  return opened;
}

}  // namespace resmgr
