// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a word of this process's memory to change: spin a little, then sleep.
//
// What it is: the futex calls with deadlines of std::chrono, and a spinning loop with a budget.
// Waking a sleeper on an idle CPU takes some 20 us, passing a cache line to a spinning one under
// 0.2 us, so those who expect an answer soon spin first. What it is not: a lock.
//
// Thread-safety: any thread. Wakes are hints; look at the word again.
//
//   if (!spin_for(20us, [&] { return word.load() != seen; })) futex_wait(word, seen, deadline);
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace drivers::dma {

/// Two 64-byte lines: the adjacent one is fetched along with the one that is asked for.
inline constexpr std::size_t kCacheLine = 128;

/// Sleeps while `word` is `expected`, until woken or `deadline`. Returns for any reason.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::steady_clock::time_point deadline) noexcept;
/// Wakes all who sleep on `word`.
void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept;
/// Whether this thread may run on more than one CPU. On one alone, spinning only keeps the other
/// thread from working.
[[nodiscard]] bool spinning_helps() noexcept;

inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

/// Polls `ready` until it is true or about `budget` has passed; returns what it said last. A budget
/// of 0 looks once.
template <typename Ready>
[[nodiscard]] bool spin_for(std::chrono::nanoseconds budget, Ready&& ready) noexcept {
  if (ready()) return true;
  if (budget <= std::chrono::nanoseconds::zero()) return false;
  // Looking at the clock costs as much as some pauses do.
  constexpr int kLooksPerClock = 16;
  const auto end = std::chrono::steady_clock::now() + budget;
  do {
    for (int look = 0; look < kLooksPerClock; ++look) {
      cpu_relax();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace drivers::dma
