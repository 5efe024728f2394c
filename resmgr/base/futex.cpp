// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>

namespace resmgr {
namespace {

FutexResult result_of(long returned) noexcept {
  if (returned >= 0) return FutexResult::Woken;
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

/// Null where there is no deadline.
const timespec* to_timespec(std::uint64_t deadline_ns, timespec& until) noexcept {
  if (deadline_ns == kNoDeadline) return nullptr;
  until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000u);
  until.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000u);
  return &until;
}

bool ask_for_futex_wait_any() noexcept {
  const std::uint32_t changed = 1;
  const FutexWord word{.word = &changed, .expected = 0};
  return futex_wait_any(std::span(&word, 1), kNoDeadline) == FutexResult::Changed;
}

}  // namespace

FutexResult futex_wait(const void* word, std::uint32_t expected,
                       std::uint64_t deadline_ns) noexcept {
  timespec until{};
  // FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time; no PRIVATE flag, for the word is in
  // memory that other processes share.
  return result_of(::syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                             to_timespec(deadline_ns, until), nullptr, FUTEX_BITSET_MATCH_ANY));
}

bool has_futex_wait_any() noexcept {
  static const bool has = ask_for_futex_wait_any();
  return has;
}

FutexResult futex_wait_any(std::span<const FutexWord> words, std::uint64_t deadline_ns) noexcept {
  std::array<futex_waitv, kMaxFutexWords> waiters;  // of which as many are written as are read
  for (std::size_t i = 0; i < words.size(); ++i) {
    waiters[i] = {.val = words[i].expected,
                  .uaddr = reinterpret_cast<std::uintptr_t>(words[i].word),
                  .flags = FUTEX_32,
                  .__reserved = 0};
  }
  timespec until{};
  return result_of(::syscall(SYS_futex_waitv, waiters.data(), words.size(), 0,
                             to_timespec(deadline_ns, until), CLOCK_MONOTONIC));
}

int futex_wake(const void* word, int count) noexcept {
  const long woken = ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace resmgr
