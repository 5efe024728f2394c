// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/doorbell.hpp"

#include <bit>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/futex.hpp"
#include "resmgr/lock/wait.hpp"

namespace resmgr::client {
namespace {

constexpr std::uint64_t bit_of(std::uint32_t index) noexcept {
  return std::uint64_t{1} << (index % 64);
}

}  // namespace

Doorbell::Doorbell(const lock::LockTables& tables, std::uint32_t client,
                   std::shared_ptr<DoorbellThreads> threads) noexcept
    : t_(tables), client_(client), record_(tables.client(client)), threads_(std::move(threads)) {}

Result<void> Doorbell::watch(const lock::Wait& wait, DoorbellListener& listener,
                             std::uint64_t cookie) try {
  const std::uint32_t index = t_.link_of(wait.waiter.node) - 1;
  std::unique_lock lock(mutex_);
  if (stopping_ || !record_) return fail(ErrorCode::Disconnected);
  if (!thread_) {
    // Their lock comes before this one.
    const auto threads = threads_;
    lock.unlock();
    if (auto added = threads->add(*this); !added) return added;
    lock.lock();
    if (stopping_) return fail(ErrorCode::Disconnected);
  }
  if (index >= watches_.size()) {
    watches_.resize(index + std::size_t{1});
    watched_.resize(watches_.size() / 64 + 1);
  }
  watches_[index] = {&listener, cookie};
  if ((watched_[index / 64] & bit_of(index)) == 0) {
    watched_[index / 64] |= bit_of(index);
    if (++count_ == 1) DoorbellThreads::look_around(*thread_);
  }
  return {};
} catch (const std::bad_alloc&) {
  return fail_errno(ENOMEM, "a wait");
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
  std::shared_ptr<DoorbellThreads> threads;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    threads = std::move(threads_);
  }
  if (!threads->remove(*this)) return;
  wake_up();
  (void)tell(Look::All);
}

std::uint32_t Doorbell::fall_asleep() noexcept {
  return atomic(record_->doorbell).fetch_or(RM_DOORBELL_ASLEEP) | RM_DOORBELL_ASLEEP;
}

void Doorbell::wake_up() noexcept { atomic(record_->doorbell).fetch_and(~RM_DOORBELL_ASLEEP); }

void Doorbell::ring() noexcept {
  atomic(record_->doorbell).fetch_add(RM_DOORBELL_RING);
  futex_wake(&record_->doorbell, std::numeric_limits<int>::max());
}

bool Doorbell::is_watching() noexcept {
  const std::lock_guard lock(mutex_);
  return count_ != 0;
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
