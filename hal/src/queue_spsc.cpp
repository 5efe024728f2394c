// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "hal/src/queue_ring.hpp"

#include "resmgr/base/atomic.hpp"

namespace hal::ring {

Outcome SpscRing::push(std::span<const std::byte> message) noexcept {
  Control& control = view_.control();
  const std::uint64_t capacity = view_.geometry.capacity;
  const std::uint64_t tail = resmgr::load_relaxed(control.tail);
  if (tail - seen_head_ >= capacity) {
    // Acquire: the consumer has finished reading what we write over.
    seen_head_ = resmgr::load_acquire(control.head);
    const std::uint64_t used = tail - seen_head_;
    if (used > capacity) return Outcome::Damaged;
    if (used == capacity) return Outcome::Blocked;
  }
  std::memcpy(view_.slot(tail), message.data(), message.size());
  // Release: who sees the new tail sees the message. This one store is the publication.
  resmgr::store_release(control.tail, tail + 1);
  return Outcome::Done;
}

Outcome SpscRing::pop(std::span<std::byte> message) noexcept {
  Control& control = view_.control();
  const std::uint64_t capacity = view_.geometry.capacity;
  const std::uint64_t head = resmgr::load_relaxed(control.head);
  // In one comparison: nothing left of what was seen, or a head that another Queue moved past it.
  if (seen_tail_ - head - 1 >= capacity) {
    seen_tail_ = resmgr::load_acquire(control.tail);
    const std::uint64_t used = seen_tail_ - head;
    if (used > capacity) return Outcome::Damaged;
    if (used == 0) return Outcome::Blocked;
  }
  std::memcpy(message.data(), view_.slot(head), message.size());
  // Release: our reads are over before the producer writes there again.
  resmgr::store_release(control.head, head + 1);
  return Outcome::Done;
}

bool SpscRing::has_message() const noexcept {
  const Control& control = view_.control();
  return resmgr::load_acquire(control.tail) != resmgr::load_relaxed(control.head);
}

}  // namespace hal::ring
