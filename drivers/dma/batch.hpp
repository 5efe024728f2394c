// SPDX-License-Identifier: Apache-2.0
//
// Batch: submitted work with its addresses resolved, and the state that a Ticket reads.
//
// What it is: the part of a submission that is the same for every backend. A backend fills it in,
// claims each descriptor before its engine sees it, and settles it afterwards. What it is not: a
// queue; the backend has one.
//
// Each descriptor goes Queued -> Running -> Done, Cancelled or Failed, or Queued -> Cancelled. One
// compare-and-swap on its status decides between claim() and cancel_queued(): a descriptor that was
// cancelled never begins, one that began is settled by the engine alone.
//
// Lifetime: shared by the ring and all tickets. Thread-safety: the work does not change after it
// was queued; the outcomes may be read, claimed, cancelled and waited for from any thread;
// settle() is for who claimed.
//
//   if (batch.claim(i)) batch.settle(i, run(batch, i));
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <hal/resource.hpp>

#include "drivers/dma/channel.hpp"
#include "drivers/dma/descriptor.hpp"
#include "drivers/dma/futex.hpp"
#include "drivers/dma/inline_array.hpp"
#include "drivers/dma/ticket.hpp"

namespace drivers::dma {

/// A segment that was checked: an engine may use it as it is.
struct Piece {
  std::byte* address = nullptr;
  std::uint64_t length = 0;  ///< bytes, above 0
  BufferId buffer;
};

/// A descriptor that was checked.
struct Work {
  Operation operation = Operation::Copy;
  std::uint32_t sources = 0;       ///< pieces
  std::uint32_t destinations = 0;  ///< pieces, behind the sources
  std::size_t first = 0;           ///< of the sources, among the batch's pieces
  std::uint64_t parameter = 0;     ///< pattern or seed
  std::uint64_t length = 0;        ///< bytes to copy, fill or read
};

class Batch {
 public:
  /// Room for so many descriptors and pieces, to be filled in by work() and piece() before the
  /// batch is queued.
  Batch(const Channel* owner, std::size_t descriptors, std::size_t pieces, Callback on_done);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  ~Batch() = default;

  // ---- the work ---------------------------------------------------------------------------------

  /// For comparison only; the channel may be gone.
  [[nodiscard]] const Channel* owner() const noexcept { return owner_; }
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }
  /// Bytes of all descriptors together, as it was told before the batch was queued.
  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }
  void set_length(std::uint64_t bytes) noexcept { length_ = ahead_ = bytes; }
  [[nodiscard]] Work& work(std::size_t index) noexcept { return slots_[index].work; }
  [[nodiscard]] const Work& work(std::size_t index) const noexcept { return slots_[index].work; }
  [[nodiscard]] Piece& piece(std::size_t index) noexcept { return pieces_[index]; }
  [[nodiscard]] std::span<const Piece> sources(std::size_t index) const noexcept {
    return {pieces_.data() + work(index).first, work(index).sources};
  }
  [[nodiscard]] std::span<const Piece> destinations(std::size_t index) const noexcept {
    return {pieces_.data() + work(index).first + work(index).sources, work(index).destinations};
  }

  // ---- for the engine ---------------------------------------------------------------------------

  /// Starts to bring what is known of a descriptor to this CPU: another one wrote it. Any index.
  void prefetch(std::size_t index) const noexcept;
  /// Queued to Running. False if it was cancelled: leave it alone.
  [[nodiscard]] bool claim(std::size_t index) noexcept;
  /// So many bytes less are ahead of the engine, done or dropped. Wakes who sleeps shortly before
  /// the end, so that they are up by then.
  void pass(std::uint64_t bytes) noexcept {
    const bool was_far = ahead_ > kNearEnd;
    ahead_ -= bytes;
    if (was_far && ahead_ <= kNearEnd && ahead_ != 0) wake_early();
  }
  /// Running to `outcome`, whose status is final. The last one finishes the batch.
  void settle(std::size_t index, const Outcome& outcome) noexcept;
  /// Whether the descriptor that runs should stop.
  [[nodiscard]] bool stop_requested() const noexcept {
    return stop_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool has_callback() const noexcept { return static_cast<bool>(on_done_); }
  /// Takes the callback out, to call it once finished. For the engine alone.
  [[nodiscard]] Callback take_callback() noexcept { return std::move(on_done_); }

  // ---- for everybody ----------------------------------------------------------------------------

  /// Cancels all that is queued, asks what runs to stop. Returns how many were kept from beginning.
  std::size_t cancel() noexcept;
  [[nodiscard]] bool finished() const noexcept {
    return done_.load(std::memory_order_acquire) == kDone;
  }
  /// Spins for `spin` beyond the time that the work should take, then sleeps; sleeps at once if
  /// that is long. A `spin` of 0 never spins. False if `deadline` came first.
  [[nodiscard]] bool wait(Channel::Clock::time_point deadline,
                          std::chrono::nanoseconds spin) noexcept;
  [[nodiscard]] Outcome outcome(std::size_t index) const noexcept;
  /// See Ticket::result().
  [[nodiscard]] hal::Result<void> result() const;
  /// Whether a descriptor refers to `buffer` and may still touch it.
  [[nodiscard]] bool uses(BufferId buffer) const noexcept;

 private:
  /// A descriptor and its outcome. What follows the status is written by who settles it, before the
  /// status, and read after a final status was seen.
  struct Slot {
    Work work;
    std::atomic<Status> status{Status::Queued};
    hal::ErrorCode error{};
    std::uint32_t crc32c = 0;
    std::uint64_t bytes = 0;
  };
  void leave(std::uint32_t count) noexcept;
  void wake_early() noexcept;

  /// Bytes that take longer to copy than a sleeper takes to wake, some 20 us, and not very much
  /// longer; an engine's usual chunk.
  static constexpr std::uint64_t kNearEnd = 1 << 20;

  static constexpr std::uint32_t kPending = 0;
  static constexpr std::uint32_t kPendingWithSleepers = 1;
  static constexpr std::uint32_t kDone = 2;

  const Channel* owner_;
  // Most batches are one descriptor with one source and one destination: one allocation in all.
  InlineArray<Slot, 1> slots_;
  InlineArray<Piece, 2> pieces_;
  Callback on_done_;
  std::uint64_t length_ = 0;
  std::uint64_t ahead_ = 0;          ///< the engine's own: bytes it has not passed
  std::atomic<std::uint32_t> left_;  ///< descriptors that are not final
  std::atomic<bool> stop_{false};
  // A waiter spins on the next word while the engine writes those above. Not alignas: memory that
  // is aligned to more than 16 bytes comes from the slow part of the allocator.
  [[maybe_unused]] std::array<std::byte, kCacheLine> distance_;
  std::atomic<std::uint32_t> done_{kPending};
};

}  // namespace drivers::dma
