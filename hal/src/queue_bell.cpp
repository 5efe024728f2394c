// SPDX-License-Identifier: Apache-2.0
#include "hal/src/queue_bell.hpp"

#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/futex.hpp"

namespace hal::ring {
namespace {

// The longest that a message can lie unnoticed after its producer was killed before he rang.
constexpr std::chrono::milliseconds kSlice{100};

bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

bool register_for_barriers() noexcept {
  return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

Bell::Bell(BellWords& words, bool reachable, int event_fd) noexcept
    : words_(&words), reachable_(reachable), event_fd_(event_fd) {
  if (!reachable_) resmgr::store(words_->locked, 1);
}

void Bell::ring_if_announced() noexcept {
  if (reachable_ && resmgr::load_relaxed(words_->locked) == 0) {
    // The compiler must keep the order that the sleeper's membarrier gives to the processor.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (resmgr::load_relaxed(words_->announced) == 0) [[likely]]
      return;
  } else if (resmgr::atomic(words_->announced).fetch_add(0) == 0) {
    return;
  }
  const std::uint32_t sleepers = resmgr::atomic(words_->announced).exchange(0);
  if (sleepers & kFutexSleeper) {
    resmgr::atomic(words_->sequence).fetch_add(1);
    // All of them: an announcement says that someone sleeps, not how many.
    resmgr::futex_wake(&words_->sequence, INT_MAX);
  }
  if ((sleepers & kEventSleeper) != 0 && event_fd_ >= 0) {
    // A full counter is a ringing bell as well.
    static_cast<void>(::eventfd_write(event_fd_, 1));
  }
}

std::uint32_t Bell::announce(std::uint32_t sleeper) noexcept {
  const std::uint32_t sequence = resmgr::load_acquire(words_->sequence);
  resmgr::atomic(words_->announced).fetch_or(sleeper);
  if (!membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED)) {
    // Allowed at first and forbidden since (a sandbox was entered): ringers must come to us.
    resmgr::store(words_->locked, 1);
  }
  return sequence;
}

void Bell::sleep(std::uint32_t announced_at, Queue::TimePoint deadline) noexcept {
  const Queue::TimePoint until = std::min(deadline, Queue::Clock::now() + kSlice);
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(until.time_since_epoch());
  // Woken, changed, interrupted or late: the caller looks at the ring in each case.
  static_cast<void>(
      resmgr::futex_wait(&words_->sequence, announced_at,
                         ns.count() > 0 ? static_cast<std::uint64_t>(ns.count()) : 0));
}

}  // namespace hal::ring
