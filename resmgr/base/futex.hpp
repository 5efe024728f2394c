// SPDX-License-Identifier: Apache-2.0
//
// Futex: sleep until a 32-bit word of shared memory changes, and wake who sleeps on it.
//
// What it is: the system calls, shared between processes, with absolute deadlines on
// CLOCK_MONOTONIC. What it is not: a lock. Thread-safety: as the system calls; wakes are hints, a
// waiter looks at the word again.
//
//   futex_wait(&word, seen, deadline_ns);
//   futex_wake(&word, 1);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace resmgr {

/// A deadline that never comes.
inline constexpr std::uint64_t kNoDeadline = ~std::uint64_t{0};

enum class FutexResult { Woken, Changed, TimedOut, Interrupted, Failed };

/// Sleeps while the 32 bits at `word`, aligned to 4, are `expected`, at most until `deadline_ns`
/// (CLOCK_MONOTONIC). They may be the low half of a 64-bit word.
FutexResult futex_wait(const void* word, std::uint32_t expected,
                       std::uint64_t deadline_ns) noexcept;
/// A word, and what it says while somebody sleeps on it.
struct FutexWord {
  const void* word = nullptr;
  std::uint32_t expected = 0;
};
/// So many at a time, which is the kernel's limit.
inline constexpr std::size_t kMaxFutexWords = 128;
/// Whether the kernel has futex_waitv (Linux 5.16), and allows it; asked once.
[[nodiscard]] bool has_futex_wait_any() noexcept;
/// Sleeps while all of them say what they are expected to. REQUIRES: has_futex_wait_any(); 1 to
/// kMaxFutexWords words.
FutexResult futex_wait_any(std::span<const FutexWord> words, std::uint64_t deadline_ns) noexcept;
/// Wakes up to `count` sleepers; returns how many.
int futex_wake(const void* word, int count) noexcept;

}  // namespace resmgr
