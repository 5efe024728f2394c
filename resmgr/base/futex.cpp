// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace resmgr {

FutexResult futex_wait(const void* word, std::uint32_t expected,
                       std::uint64_t deadline_ns) noexcept {
  timespec until{};
  timespec* limit = nullptr;
  if (deadline_ns != kNoDeadline) {
    until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000u);
    until.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000u);
    limit = &until;
  }
  // FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time; no PRIVATE flag, for the word is in
  // memory that other processes share.
  if (::syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, limit, nullptr,
                FUTEX_BITSET_MATCH_ANY) == 0) {
    return FutexResult::Woken;
  }
  switch (errno) {
    case EAGAIN:
      return FutexResult::Changed;
    case ETIMEDOUT:
      return FutexResult::TimedOut;
    case EINTR:
      return FutexResult::Interrupted;
    default:
      return FutexResult::Failed;
  }
}

int futex_wake(const void* word, int count) noexcept {
  const long woken = ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace resmgr
