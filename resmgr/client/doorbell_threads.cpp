// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/doorbell_threads.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/client/doorbell.hpp"
#include "resmgr/lock/engine.hpp"

namespace resmgr::client {
namespace {

/// What a fork has to know.
struct Process {
  std::mutex mutex;
  // Under the mutex:
  std::weak_ptr<DoorbellThreads> threads;
  std::shared_ptr<DoorbellThreads> at_fork;  ///< while there is one
};

// Never destroyed: a fork may come as late as it likes.
Process& process() {
  static Process& instance = *std::make_unique<Process>().release();
  return instance;
}

}  // namespace

/// All of it is under the mutex, but for what is atomic.
class DoorbellThreads::Thread {
 public:
  explicit Thread(std::size_t most) : most_(most) {
    doorbells.reserve(most);
    words_.reserve(most + 1);
  }

  /// It has to look, though no doorbell rang.
  void announce() noexcept {
    changes_.fetch_add(1);
    futex_wake(&changes_, 1);
  }
  /// Something is watched.
  void look_around() noexcept {
    if (for_ever_.load()) announce();
  }
  [[nodiscard]] bool is_idle() const noexcept { return is_asleep && for_ever_.load(); }
  bool tell(Doorbell::Look look) const noexcept {
    bool told = false;
    for (Doorbell* const doorbell : doorbells) told |= doorbell->tell(look);
    return told;
  }
  /// Says that it is asleep. Returns until when it will be.
  [[nodiscard]] std::uint64_t fall_asleep() noexcept {
    words_.clear();
    for (Doorbell* const doorbell : doorbells) {
      words_.push_back({doorbell->word(), doorbell->fall_asleep()});
    }
    if (most_ > 1) {
      // Read first: who finds that this sleep has no end changes it, and is seen.
      words_.push_back({&changes_, changes_.load()});
      for_ever_.store(true);
      if (std::ranges::none_of(doorbells, &Doorbell::is_watching)) return kNoDeadline;
      for_ever_.store(false);
    }
    return Clock::now() + lock::kBoundedSleepNs;
  }
  [[nodiscard]] FutexResult sleep(std::uint64_t until) const noexcept {
    const FutexWord last = words_.back();
    if (most_ == 1) return futex_wait(last.word, last.expected, until);
    const FutexResult woken = futex_wait_any(words_, until);
    if (woken != FutexResult::Failed) return woken;
    // Forbidden by now. Whoever rings is heard late, and no sooner.
    futex_wait(last.word, last.expected, Clock::now() + lock::kBoundedSleepNs);
    return FutexResult::TimedOut;
  }
  /// By the one who slept, not by who wakes him: he may be killed in between, and who calls in his
  /// place has to find that this one is asleep.
  void wake_up() noexcept {
    for_ever_.store(false);
    for (Doorbell* const doorbell : doorbells) doorbell->wake_up();
  }

  std::vector<Doorbell*> doorbells;  ///< room for all
  bool is_asleep = false;
  std::uint64_t sleeps = 0;  ///< how many are over
  std::thread thread;

 private:
  const std::size_t most_;
  std::vector<FutexWord> words_;  ///< what it sleeps on; the thread's own
  std::atomic<std::uint32_t> changes_{0};
  std::atomic<bool> for_ever_{false};  ///< it sleeps until it is told that something is watched
};

std::shared_ptr<DoorbellThreads> DoorbellThreads::of_this_process() {
  const std::lock_guard lock(process().mutex);
  auto threads = process().threads.lock();
  if (!threads) {
    threads = std::make_shared<DoorbellThreads>(has_futex_wait_any() ? kMost : 1);
    process().threads = threads;
  }
  return threads;
}

Result<void> DoorbellThreads::add(Doorbell& doorbell) try {
  const std::lock_guard lock(mutex_);
  const std::lock_guard doorbells_lock(doorbell.mutex_);
  if (doorbell.stopping_) return fail(ErrorCode::Disconnected);
  if (doorbell.thread_) return {};
  Thread& thread = with_room();
  thread.doorbells.push_back(&doorbell);
  doorbell.thread_ = &thread;
  thread.announce();
  return {};
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "doorbell thread");
} catch (const std::system_error& error) {
  return fail_errno(error.code().value(), "doorbell thread");
}

DoorbellThreads::Thread& DoorbellThreads::with_room() {
  for (const auto& thread : threads_) {
    if (thread->doorbells.size() < most_) return *thread;
  }
  Thread& made = *threads_.emplace_back(std::make_shared<Thread>(most_));
  try {
    made.thread = std::thread([this, &made] { run(made); });
  } catch (...) {
    threads_.pop_back();
    throw;
  }
  return made;
}

bool DoorbellThreads::remove(Doorbell& doorbell) noexcept {
  std::unique_lock lock(mutex_);
  const auto at = std::ranges::find_if(
      threads_, [&](const auto& thread) { return thread.get() == doorbell.thread_; });
  if (at == threads_.end()) return false;
  const std::shared_ptr<Thread> thread = *at;  // to the end of this
  std::erase(thread->doorbells, &doorbell);
  thread->announce();
  doorbell.ring();  // where the thread sleeps on nothing else
  if (thread->doorbells.empty()) {
    threads_.erase(at);
    lock.unlock();
    thread->thread.join();
    return true;
  }
  awake_.wait(lock,
              [&, seen = thread->sleeps] { return !thread->is_asleep || thread->sleeps != seen; });
  return true;
}

void DoorbellThreads::look_around(Thread& thread) noexcept { thread.look_around(); }

std::size_t DoorbellThreads::count() const {
  const std::lock_guard lock(mutex_);
  return threads_.size();
}

std::size_t DoorbellThreads::idle() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(threads_, [](const auto& thread) { return thread->is_idle(); }));
}

void DoorbellThreads::run(Thread& thread) noexcept {
  std::unique_lock lock(mutex_);
  for (auto look = Doorbell::Look::Bits; !thread.doorbells.empty();) {
    // Awake, and the doorbells say so: who decides meanwhile wakes nobody.
    if (thread.tell(std::exchange(look, Doorbell::Look::Bits))) {
      lock.unlock();  // others want to be added and removed
      lock.lock();
      continue;
    }
    // Asleep first, then a look: who decides sets the bit first, then looks whether to wake. Both
    // seq_cst, so one of the two sees the other.
    const std::uint64_t until = thread.fall_asleep();
    if (!thread.tell(Doorbell::Look::Bits)) {
      thread.is_asleep = true;
      lock.unlock();
      const FutexResult woken = thread.sleep(until);
      lock.lock();
      thread.is_asleep = false;
      ++thread.sleeps;
      awake_.notify_all();
      if (woken == FutexResult::TimedOut) look = Doorbell::Look::Nodes;
    }
    thread.wake_up();
  }
}

void DoorbellThreads::before_fork() noexcept {
  process().mutex.lock();
  process().at_fork = process().threads.lock();
  if (process().at_fork) process().at_fork->mutex_.lock();
}

void DoorbellThreads::after_fork_in_parent() noexcept {
  const auto threads = std::move(process().at_fork);
  if (threads) threads->mutex_.unlock();
  process().mutex.unlock();
}

void DoorbellThreads::after_fork_in_child() noexcept {
  process().threads.reset();
  after_fork_in_parent();
}

}  // namespace resmgr::client
