// SPDX-License-Identifier: Apache-2.0
//
// Bell: how one side of a ring wakes the other, and how a side sleeps.
//
// What it is: an announcement word and a futex in shared memory, and optionally an eventfd. Ringing
// costs one load while nobody sleeps. What it is not: a lock, or a counter of rings.
//
// The order that both sides depend on (store-load: who publishes then looks for sleepers; who
// announces his sleep then looks for what was published; at least one of them sees the other):
//   sleeper   1. announces   2. membarrier(2)   3. looks at the ring, and sleeps if it is idle
//   ringer    1. publishes   2. looks for an announcement
// The processor may let the ringer's load overtake his store. Instead of a fence on each message,
// the sleeper, who has time, makes every running thread of registered processes pass a barrier: a
// store before it is visible to step 3, a load after it sees step 1. Where a process can't register
// or send membarriers, it sets BellWords::locked for good, and every ringer then reads the
// announcement by a locked instruction; so does a sleeper announce. Two read-modify-writes of one
// word are ordered, and the later one sees what came before the earlier one.
//
// Who is killed between publishing and ringing leaves a silent bell: sleeps are cut into slices.
// Lifetime: refers to the words. Thread-safety: any thread.
#pragma once

#include <chrono>
#include <cstdint>

#include <hal/queue.hpp>

#include "hal/src/queue_layout.hpp"

#include "resmgr/base/spin.hpp"

namespace hal::ring {

inline constexpr std::uint32_t kFutexSleeper = 1u << 0;
inline constexpr std::uint32_t kEventSleeper = 1u << 1;

/// Registers this process for membarriers; once is enough, more do no harm. False: it can't be.
[[nodiscard]] bool register_for_barriers() noexcept;

class Bell {
 public:
  /// `reachable`: what register_for_barriers() said. `event_fd`: -1 if there is none; borrowed.
  Bell(BellWords& words, bool reachable, int event_fd) noexcept;

  /// Wakes who announced that he sleeps. Call after publishing.
  void ring_if_announced() noexcept;

  /// Announces a sleeper (kFutexSleeper or kEventSleeper); look at the ring afterwards. Returns
  /// what sleep() needs.
  [[nodiscard]] std::uint32_t announce(std::uint32_t sleeper) noexcept;
  /// Sleeps until the bell rings, a slice of time is over, or the deadline is.
  void sleep(std::uint32_t announced_at, Queue::TimePoint deadline) noexcept;

  /// Calls `attempt` until it returns something else than `blocked` or the deadline has passed;
  /// at least once. Spins before it sleeps.
  template <typename Attempt, typename Outcome>
  Outcome wait(Queue::TimePoint deadline, Outcome blocked, Attempt attempt) {
    for (;;) {
      for (int turn = 0; turn < kSpins; ++turn) {
        if (const Outcome outcome = attempt(); outcome != blocked) return outcome;
        resmgr::cpu_relax();
      }
      if (Queue::Clock::now() >= deadline) return blocked;
      const std::uint32_t announced_at = announce(kFutexSleeper);
      if (const Outcome outcome = attempt(); outcome != blocked) return outcome;
      sleep(announced_at, deadline);
    }
  }

 private:
  // Some microseconds: a message that is under way costs no sleep, which takes tens of them.
  static constexpr int kSpins = 100;

  BellWords* words_;
  bool reachable_;
  int event_fd_;
};

}  // namespace hal::ring
