// SPDX-License-Identifier: Apache-2.0
//
// System calls that a process may not make, as in many a container.
//
// What it is: a filter of seccomp's. Nothing takes it back, so it is for a process that ends soon.
// Lifetime: of the process. Thread-safety: the calling thread and those that it starts.
//
//   if (!forbid(SYS_io_uring_setup, EPERM)) ...   // from here on it fails with EPERM
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hal::test {

/// Whether it is forbidden now.
[[nodiscard]] inline bool forbid(long call, int error) {
  std::array<sock_filter, 4> rules{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  sock_fprog filter{.len = rules.size(), .filter = rules.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace hal::test
