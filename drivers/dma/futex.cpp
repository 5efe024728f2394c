// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/futex.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

namespace drivers::dma {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::steady_clock::time_point deadline) noexcept {
  using std::chrono::nanoseconds;
  using std::chrono::seconds;
  timespec until{};
  const timespec* timeout = nullptr;
  if (deadline != std::chrono::steady_clock::time_point::max()) {
    // A time before the clock's start is as past as its start is; the kernel refuses negative ones.
    const nanoseconds since_start = std::max(deadline.time_since_epoch(), nanoseconds::zero());
    const auto whole = std::chrono::duration_cast<seconds>(since_start);
    until.tv_sec = whole.count();
    until.tv_nsec = (since_start - whole).count();
    timeout = &until;
  }
  // FUTEX_WAIT_BITSET takes an absolute time; plain FUTEX_WAIT a relative one.
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, timeout, nullptr,
            FUTEX_BITSET_MATCH_ANY);
}

void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
}

bool spinning_helps() noexcept {
  cpu_set_t allowed;
  // More CPUs than a cpu_set_t holds: EINVAL, and certainly more than one.
  return ::sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) > 1;
}

}  // namespace drivers::dma
