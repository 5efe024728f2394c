// SPDX-License-Identifier: Apache-2.0
//
// Ring: batches on their way from those who submit to the one worker.
//
// What it is: a bounded first-in, first-out queue, bounded by the descriptors in it, with a
// doorbell for a worker that sleeps. What it is not: lock-free among producers, who take turns
// under the channel's lock; they and the worker meet without one.
//
// Positions count up for ever; a slot is named by its position modulo their number.
//  R1. The slot of position p is full when its sequence is p + 1. The producer writes the batch,
//  then
//      the sequence. So the worker polls the line that brings it the batch, too.
//  R2. The worker has done with a batch, then writes `retired`; the producer reads `retired`, then
//      writes a slot again. Until then the slot keeps the batch alive; batches are so freed by
//      producers, who made them.
//  R3. The worker sets `sleeping`, then looks at the slot; the producer fills the slot, then looks
//  at
//      `sleeping` (all seq_cst): one of them sees the other, so no work is slept through.
//  R4. Beside the batches that still have descriptors in the ring, at most as many as there are
//      entries, only the one that the worker is at can be unretired: twice the entries are slots
//      enough.
//
// Thread-safety: as the parts of the class say.
//
//   if (ring.has_room(batch->size())) ring.push(std::move(batch));            // producer
//   while (const auto* batch = ring.front(spin)) { ...; ring.retire(); }      // worker
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "drivers/dma/batch.hpp"
#include "drivers/dma/futex.hpp"

namespace drivers::dma {

class Ring {
 public:
  /// REQUIRES: `entries`, the descriptors that fit, is a power of two.
  explicit Ring(std::uint32_t entries);

  // ---- producers, under the channel's lock ------------------------------------------------------

  /// Whether `descriptors` more fit now.
  [[nodiscard]] bool has_room(std::size_t descriptors) noexcept;
  /// REQUIRES: has_room(batch->size()), and not closed.
  void push(std::shared_ptr<Batch> batch);
  /// Lets front() return null once all is retired.
  void close() noexcept;
  /// Whether everything that was pushed is retired.
  [[nodiscard]] bool empty() const noexcept {
    return retired_.load(std::memory_order_acquire) == pushed_;
  }
  /// Calls `visit` with each batch that is not retired, oldest first.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::uint64_t at = retired_.load(std::memory_order_acquire); at != pushed_; ++at) {
      visit(slot(at).batch);
    }
  }

  // ---- the worker -------------------------------------------------------------------------------

  /// The oldest batch that is not retired; waits for one, spinning for `spin` before it sleeps.
  /// Null when closed and empty.
  [[nodiscard]] const std::shared_ptr<Batch>* front(std::chrono::nanoseconds spin) noexcept;
  /// Starts to bring the batch after the front here, if there is one.
  void prefetch_next() const noexcept;
  /// A descriptor of the front has left: there is room for another.
  void leave() noexcept { left_.store(++left_here_, std::memory_order_release); }
  /// Done with the front, all of whose descriptors have left.
  void retire() noexcept { retired_.store(++retired_here_, std::memory_order_release); }

 private:
  struct Slot {
    std::atomic<std::uint64_t> sequence{0};  ///< R1
    std::shared_ptr<Batch> batch;
  };
  [[nodiscard]] const Slot& slot(std::uint64_t position) const noexcept {
    return slots_[position & (slots_.size() - 1)];
  }
  [[nodiscard]] bool is_full(std::uint64_t position) const noexcept {
    return slot(position).sequence.load(std::memory_order_seq_cst) == position + 1;
  }
  void wake() noexcept;

  const std::uint64_t entries_;
  std::vector<Slot> slots_;
  // The producers' line. `seen_left_` is a `left_` of some time ago: the worker's line is
  // read when needed.
  alignas(kCacheLine) std::uint64_t pushed_ = 0;  ///< batches
  std::uint64_t entered_ = 0;                     ///< descriptors
  std::uint64_t seen_left_ = 0;
  // The worker's lines: what only it reads, and what it tells.
  alignas(kCacheLine) std::uint64_t retired_here_ = 0;
  std::uint64_t left_here_ = 0;
  alignas(kCacheLine) std::atomic<std::uint64_t> retired_{0};  ///< batches
  std::atomic<std::uint64_t> left_{0};                         ///< descriptors
  alignas(kCacheLine) std::atomic<std::uint32_t> sleeping_{0};
  std::atomic<bool> closed_{false};
};

}  // namespace drivers::dma
