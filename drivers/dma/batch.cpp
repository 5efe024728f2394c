// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/batch.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace drivers::dma {
namespace {

using std::chrono::nanoseconds;

/// How long a waiter polls for the end of so much work. Sleeping and waking costs some 20 us and
/// more, so work that takes not much longer is polled for to its end; longer work not at all.
nanoseconds polling_time(std::uint64_t bytes, nanoseconds spin) noexcept {
  constexpr std::uint64_t kBytesPerNanosecond = 32;  // in the caches; `spin` makes up for memory
  constexpr auto kLongest = std::chrono::microseconds(80);
  constexpr std::uint64_t kMost = nanoseconds(kLongest).count() * kBytesPerNanosecond;
  if (spin <= nanoseconds::zero() || bytes > kMost) return nanoseconds::zero();
  return spin + nanoseconds(bytes / kBytesPerNanosecond);
}

}  // namespace

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): distance_ is never read
Batch::Batch(const Channel* owner, std::size_t descriptors, std::size_t pieces, Callback on_done)
    : owner_(owner),
      slots_(descriptors),
      pieces_(pieces),
      on_done_(std::move(on_done)),
      left_(static_cast<std::uint32_t>(descriptors)) {}

void Batch::prefetch(std::size_t index) const noexcept {
  if (index >= size()) return;
  __builtin_prefetch(&slots_[index], 1);
  // Where its pieces are can't be known before that has arrived; most descriptors have two.
  if (2 * index < pieces_.size()) __builtin_prefetch(&pieces_[2 * index]);
}

bool Batch::claim(std::size_t index) noexcept {
  Status expected = Status::Queued;
  return slots_[index].status.compare_exchange_strong(expected, Status::Running,
                                                      std::memory_order_acq_rel);
}

void Batch::settle(std::size_t index, const Outcome& outcome) noexcept {
  Slot& settled = slots_[index];
  settled.error = outcome.error.value_or(hal::ErrorCode{});
  settled.crc32c = outcome.crc32c.value_or(0);
  settled.bytes = outcome.bytes;
  settled.status.store(outcome.status, std::memory_order_release);
  leave(1);
}

std::size_t Batch::cancel() noexcept {
  stop_.store(true, std::memory_order_relaxed);
  std::uint32_t kept = 0;
  for (std::size_t index = 0; index < size(); ++index) {
    Status expected = Status::Queued;
    // The other fields keep their initial values, which are those of a descriptor that never began.
    if (slots_[index].status.compare_exchange_strong(expected, Status::Cancelled,
                                                     std::memory_order_acq_rel)) {
      ++kept;
    }
  }
  if (kept > 0) leave(kept);
  return kept;
}

void Batch::leave(std::uint32_t count) noexcept {
  // Who brings it to 0 has seen what all the others settled, and passes it on below. If only ours
  // are left, nobody else will write it, and a locked instruction can be saved.
  if (left_.load(std::memory_order_acquire) == count) {
    left_.store(0, std::memory_order_relaxed);
  } else if (left_.fetch_sub(count, std::memory_order_acq_rel) != count) {
    return;
  }
  if (done_.exchange(kDone, std::memory_order_acq_rel) == kPendingWithSleepers) {
    futex_wake_all(done_);
  }
}

void Batch::wake_early() noexcept {
  std::uint32_t seen = done_.load(std::memory_order_relaxed);
  // They find the word changed, poll, and ask for another wake if the end is not there yet.
  if (seen == kPendingWithSleepers &&
      done_.compare_exchange_strong(seen, kPending, std::memory_order_relaxed)) {
    futex_wake_all(done_);
  }
}

bool Batch::wait(Channel::Clock::time_point deadline, nanoseconds spin) noexcept {
  nanoseconds polling = polling_time(length_, spin);
  for (;;) {
    if (deadline != Channel::kForever) {
      const auto now = Channel::Clock::now();
      // Compared before subtracted: a deadline may be as far back as a time point can be.
      polling = deadline <= now ? nanoseconds::zero() : std::min(polling, deadline - now);
    }
    if (spin_for(polling, [this] { return finished(); })) return true;
    std::uint32_t seen = kPending;
    if (!done_.compare_exchange_strong(seen, kPendingWithSleepers, std::memory_order_acquire) &&
        seen == kDone) {
      return true;
    }
    if (deadline != Channel::kForever && Channel::Clock::now() >= deadline) return finished();
    futex_wait(done_, kPendingWithSleepers, deadline);
    polling = polling_time(std::min(length_, kNearEnd), spin);
  }
}

Outcome Batch::outcome(std::size_t index) const noexcept {
  const Slot& seen = slots_[index];
  Outcome outcome;
  outcome.status = seen.status.load(std::memory_order_acquire);
  if (!is_final(outcome.status)) return outcome;
  outcome.bytes = seen.bytes;
  if (outcome.status == Status::Cancelled) outcome.error = hal::ErrorCode::Cancelled;
  if (outcome.status == Status::Failed) outcome.error = seen.error;
  if (outcome.status == Status::Done && seen.work.operation == Operation::Crc32c) {
    outcome.crc32c = seen.crc32c;
  }
  return outcome;
}

hal::Result<void> Batch::result() const {
  if (!finished()) return fail(hal::ErrorCode::WouldBlock, "the batch is not finished");
  for (std::size_t index = 0; index < size(); ++index) {
    const Outcome end = outcome(index);
    if (!end.error) continue;
    hal::Error error(*end.error, "DMA descriptor");
    error.with_detail({.cycle = {},
                       .text = "descriptor " + std::to_string(index) + " of " +
                               std::to_string(size()) + " ended after " +
                               std::to_string(end.bytes) + " of " +
                               std::to_string(work(index).length) + " bytes"});
    return std::unexpected(std::move(error));
  }
  return {};
}

bool Batch::uses(BufferId buffer) const noexcept {
  for (std::size_t index = 0; index < size(); ++index) {
    if (is_final(slots_[index].status.load(std::memory_order_acquire))) continue;
    const auto refers = [buffer](const Piece& piece) { return piece.buffer == buffer; };
    if (std::ranges::any_of(sources(index), refers) ||
        std::ranges::any_of(destinations(index), refers)) {
      return true;
    }
  }
  return false;
}

}  // namespace drivers::dma
