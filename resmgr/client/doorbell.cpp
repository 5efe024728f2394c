// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/doorbell.hpp"

#include <bit>
#include <cerrno>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/base/futex.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::client {
namespace {

constexpr std::uint64_t bit_of(std::uint32_t index) noexcept {
  return std::uint64_t{1} << (index % 64);
}

}  // namespace

Doorbell::Doorbell(const lock::LockTables& tables, std::uint32_t client) noexcept
    : t_(tables), client_(client), record_(tables.client(client)) {}

Result<void> Doorbell::watch(const lock::Wait& wait, DoorbellListener& listener,
                             std::uint64_t cookie) try {
  const std::uint32_t index = t_.link_of(wait.waiter.node) - 1;
  const std::lock_guard lock(mutex_);
  if (stopping_ || !record_) return fail(ErrorCode::Disconnected);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  if (index >= watches_.size()) {
    watches_.resize(index + std::size_t{1});
    watched_.resize(watches_.size() / 64 + 1);
  }
  watches_[index] = {&listener, cookie};
  if ((watched_[index / 64] & bit_of(index)) == 0) {
    watched_[index / 64] |= bit_of(index);
    ++count_;
  }
  // From now on it looks around.
  if (std::exchange(sleeps_for_ever_, false)) {
    atomic(record_->doorbell).fetch_add(RM_DOORBELL_RING);
    futex_wake(&record_->doorbell, std::numeric_limits<int>::max());
  }
  return {};
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "a wait");
} catch (const std::system_error& error) {
  return fail_errno(error.code().value(), "doorbell thread");
}

void Doorbell::unwatch(const lock::Wait& wait, const DoorbellListener& listener) noexcept {
  const std::uint32_t index = t_.link_of(wait.waiter.node) - 1;
  const std::lock_guard lock(mutex_);
  // The node may be watched for somebody else by now.
  if (index >= watches_.size() || watches_[index].listener != &listener) return;
  watches_[index] = {};
  watched_[index / 64] &= ~bit_of(index);
  --count_;
}

void Doorbell::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  if (!thread_.joinable()) return;
  atomic(record_->doorbell).fetch_add(RM_DOORBELL_RING);
  futex_wake(&record_->doorbell, std::numeric_limits<int>::max());
  thread_.join();
  (void)tell(Look::All);
}

void Doorbell::run() noexcept {
  std::uint32_t& bell = record_->doorbell;
  for (Look look = Look::Bits;;) {
    // Awake, and it says so: who decides meanwhile wakes nobody.
    while (tell(look)) look = Look::Bits;
    // Asleep first, then a look: who decides sets the bit first, then looks whether to wake. Both
    // seq_cst, so one of the two sees the other.
    const std::uint32_t word = atomic(bell).fetch_or(RM_DOORBELL_ASLEEP) | RM_DOORBELL_ASLEEP;
    FutexResult woken = FutexResult::Woken;
    if (!tell(Look::Bits)) {
      const auto until = sleeps_until();
      if (!until) break;
      woken = futex_wait(&bell, word, *until);
    }
    // By the one who slept, not by the one who wakes him: he may be killed in between, and whoever
    // calls in his place has to find that it is asleep.
    atomic(bell).fetch_and(~RM_DOORBELL_ASLEEP);
    look = woken == FutexResult::TimedOut ? Look::Nodes : Look::Bits;
  }
  atomic(bell).fetch_and(~RM_DOORBELL_ASLEEP);
}

// Nothing: it is to end.
std::optional<std::uint64_t> Doorbell::sleeps_until() noexcept {
  const std::lock_guard lock(mutex_);
  if (stopping_) return std::nullopt;
  sleeps_for_ever_ = count_ == 0;
  return sleeps_for_ever_ ? kNoDeadline : Clock::now() + lock::kBoundedSleepNs;
}

// Returns whether anybody was told.
bool Doorbell::tell(Look look) noexcept {
  bool told = false;
  const std::lock_guard lock(mutex_);
  for (std::size_t at = 0; at < watched_.size(); ++at) {
    std::uint64_t bits = watched_[at];
    if (look == Look::Bits) bits &= load(t_.nodes_ready[at]);
    if (bits == 0) continue;
    // Before they are looked at: what is decided afterwards sets them again.
    if (look != Look::All) atomic(t_.nodes_ready[at]).fetch_and(~bits);
    for (; bits != 0; bits &= bits - 1) {
      const std::size_t index = at * 64 + static_cast<unsigned>(std::countr_zero(bits));
      if (look == Look::Nodes && lock::NodeWord{load(t_.nodes[index].word)}.waiting()) continue;
      watches_[index].listener->ready(watches_[index].cookie);
      told = true;
    }
  }
  return told;
}

}  // namespace resmgr::client
