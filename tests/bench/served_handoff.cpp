// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/served_handoff.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "tests/bench/must.hpp"

namespace bench {
namespace {

void wake(std::atomic<std::uint32_t>& word) {
  (void)::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr);
}

void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  (void)::syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr);
}

void sleep_for_a_second_on(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  timespec until{};
  ::clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 1;
  (void)::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, value, &until, nullptr,
                  FUTEX_BITSET_MATCH_ANY);
}

/// Until the word may be another than `value`.
void pause_at(std::atomic<std::uint32_t>& word, std::uint32_t value, WordDuel::Wait wait) {
  switch (wait) {
    case WordDuel::Wait::Futex:
      return sleep_on(word, value);
    case WordDuel::Wait::TimedFutex:
      return sleep_for_a_second_on(word, value);
    case WordDuel::Wait::Spin:
      return __builtin_ia32_pause();
  }
}

}  // namespace

LockDuel::LockDuel(ServedDomain& domain, unsigned processor) : manager_(domain.manager()) {
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    handles_[i] = must(manager_.register_resource("duel/" + std::to_string(i), {}));
  }
  mine_ = must(manager_.try_acquire(handles_[0]));
  partner_ = std::make_unique<Other>([this, &domain, processor] {
    pin(processor);
    const auto manager = domain.connect();
    auto theirs = must(manager->try_acquire(handles_[1]));
    board_->ready.store(1);
    for (unsigned next = Ring::after(1);; next = Ring::after(next)) {
      theirs = must(manager->acquire_scoped_resource(handles_[next]));
    }
  });
  while (board_->ready.load() == 0) std::this_thread::yield();
}

LockDuel::~LockDuel() {
  partner_.reset();
  mine_ = {};
  for (const hal::Handle handle : handles_) {
    (void)manager_.unregister_resource(handle, std::chrono::seconds(1));
  }
}

void LockDuel::play(std::uint64_t operations) {
  for (; operations != 0; --operations) {
    place_ = Ring::after(place_);
    mine_ = must(manager_.acquire_scoped_resource(handles_[place_]));
  }
}

WordDuel::WordDuel(Wait wait, unsigned processor) : wait_(wait) {
  partner_ = std::make_unique<Other>([this, processor] {
    pin(processor);
    for (;;) {
      while (board_->turn.load(std::memory_order_acquire) != 1) {
        pause_at(board_->turn, 0, board_->playing.load() == 0 ? Wait::Futex : wait_);
      }
      pass(*board_, wait_, 0);
    }
  });
}

void WordDuel::play(std::uint64_t operations) {
  board_->playing.store(1);
  bool asleep = true;
  for (; operations != 0; --operations) {
    // Before its last turn, so that the partner ends asleep.
    if (operations == 1) board_->playing.store(0);
    pass(*board_, asleep ? Wait::Futex : wait_, 1);
    asleep = false;
    await(*board_, wait_, 0);
  }
}

void WordDuel::pass(Board& board, Wait wait, std::uint32_t to) {
  board.turn.store(to, std::memory_order_release);
  if (wait != Wait::Spin) wake(board.turn);
}

void WordDuel::await(Board& board, Wait wait, std::uint32_t turn) {
  while (board.turn.load(std::memory_order_acquire) != turn) pause_at(board.turn, 1 - turn, wait);
}

QueueDuel::QueueDuel(unsigned processor) {
  board_->locks[0].acquire(0);
  partner_ = std::make_unique<Other>([this, processor] {
    pin(processor);
    board_->locks[1].acquire(1);
    board_->ready.store(true);
    for (unsigned place = 1;; place = Ring::after(place)) {
      board_->locks[Ring::after(place)].acquire(1);
      board_->locks[place].release(1);
    }
  });
  while (!board_->ready.load()) std::this_thread::yield();
}

void QueueDuel::play(std::uint64_t operations) {
  for (; operations != 0; --operations) {
    const unsigned before = std::exchange(place_, Ring::after(place_));
    board_->locks[place_].acquire(0);
    board_->locks[before].release(0);
  }
}

void QueueDuel::QueueLock::acquire(std::uint32_t player) noexcept {
  Node& mine = nodes[player];
  mine.next.store(kNobody, std::memory_order_relaxed);
  mine.granted.store(false, std::memory_order_relaxed);
  const std::uint32_t before = tail.exchange(player, std::memory_order_acq_rel);
  if (before == kNobody) return;
  nodes[before].next.store(player, std::memory_order_release);
  while (!mine.granted.load(std::memory_order_acquire)) __builtin_ia32_pause();
}

void QueueDuel::QueueLock::release(std::uint32_t player) noexcept {
  Node& mine = nodes[player];
  if (mine.next.load(std::memory_order_acquire) == kNobody) {
    std::uint32_t last = player;
    if (tail.compare_exchange_strong(last, kNobody, std::memory_order_acq_rel)) return;
    while (mine.next.load(std::memory_order_acquire) == kNobody) __builtin_ia32_pause();
  }
  nodes[mine.next.load(std::memory_order_relaxed)].granted.store(true, std::memory_order_release);
}

}  // namespace bench
