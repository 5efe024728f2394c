// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/ring.hpp"

#include <utility>

namespace drivers::dma {
namespace {

constexpr std::uint64_t kSlotsAhead = 8;

}  // namespace

Ring::Ring(std::uint32_t entries) : entries_(entries), slots_(std::size_t{2} * entries) {}

bool Ring::has_room(std::size_t descriptors) noexcept {
  const auto room = [this] { return entries_ - (entered_ - seen_left_); };
  if (room() < descriptors) seen_left_ = left_.load(std::memory_order_acquire);
  return room() >= descriptors;
}

void Ring::push(std::shared_ptr<Batch> batch) {
  entered_ += batch->size();
  Slot& next = slots_[pushed_ & (slots_.size() - 1)];
  next.batch = std::move(batch);
  next.sequence.store(++pushed_, std::memory_order_seq_cst);  // R1, R3
  wake();
}

void Ring::close() noexcept {
  closed_.store(true, std::memory_order_seq_cst);
  wake();
}

void Ring::wake() noexcept {
  if (sleeping_.load(std::memory_order_seq_cst) == 0) return;  // R3
  sleeping_.store(0, std::memory_order_relaxed);
  futex_wake_all(sleeping_);
}

const std::shared_ptr<Batch>* Ring::front(std::chrono::nanoseconds spin) noexcept {
  const auto called = [this] {
    return is_full(retired_here_) || closed_.load(std::memory_order_seq_cst);
  };
  while (!spin_for(spin, called)) {
    sleeping_.store(1, std::memory_order_seq_cst);
    if (!called()) futex_wait(sleeping_, 1, std::chrono::steady_clock::time_point::max());  // R3
    sleeping_.store(0, std::memory_order_relaxed);
  }
  // What was pushed before the close is still to be done.
  return is_full(retired_here_) ? &slot(retired_here_).batch : nullptr;
}

void Ring::prefetch_next() const noexcept {
  // Slots first and blindly: the answer whether the next one is full would be waited for.
  __builtin_prefetch(&slot(retired_here_ + kSlotsAhead));
  if (!is_full(retired_here_ + 1)) return;
  const Batch* const next = slot(retired_here_ + 1).batch.get();
  for (std::size_t offset = 0; offset < sizeof(Batch); offset += kCacheLine / 2) {
    __builtin_prefetch(reinterpret_cast<const std::byte*>(next) + offset, 1);
  }
}

}  // namespace drivers::dma
