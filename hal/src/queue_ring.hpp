// SPDX-License-Identifier: Apache-2.0
//
// SpscRing and MpscRing: the two protocols by which messages pass through a queue's memory.
//
// What they are: one attempt at a time, without waiting; the bells and deadlines are the Queue's.
// What they are not: in agreement about trust with anyone: each word that another side can write is
// masked or checked at the line that reads it, and each loop has a bound that no memory content can
// lift.
//
// Invariants of both: a position once consumed is never read again; head moves only after the slot
// is free for its next lap (a consumer killed between the two leaves a slot that its successor
// recognises as consumed).
//
// SingleProducer: messages at positions head to tail - 1 are published. Only the producer writes
// tail, only the consumer head; each keeps the other's last seen value, which can only be too
// pessimistic.
//
// MultiProducer: a slot's word says who may touch the slot. A producer claims the slot at tail by
// compare-and-swap on its word, naming itself, and then moves tail, or whoever comes next does it:
// a producer killed at any instruction leaves either nothing or a claim with its name on it.
//
// Lifetime: borrows the memory. Thread-safety: push from the producers, everything else from the
// one consumer.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <hal/queue.hpp>

#include "hal/src/queue_layout.hpp"

namespace hal::ring {

enum class Outcome : std::uint8_t {
  Done,
  Blocked,  ///< full, or empty, or at a stalled slot
  Skipped,  ///< the consumer gave the message up while it was being written
  Damaged,  ///< a word of the ring has a value that no run of the protocol gives it
};

/// A mapped ring: at least geometry.memory_bytes, writable, aligned to cache lines.
struct RingView {
  std::byte* memory = nullptr;
  Geometry geometry;

  [[nodiscard]] Control& control() const noexcept { return *reinterpret_cast<Control*>(memory); }
  [[nodiscard]] std::byte* slot(std::uint64_t position) const noexcept {
    return memory + geometry.slot_offset(position);
  }
};

class SpscRing {
 public:
  explicit SpscRing(const RingView& view) noexcept : view_(view) {}

  /// REQUIRES, as all below: the span has geometry.message_bytes.
  [[nodiscard]] Outcome push(std::span<const std::byte> message) noexcept;
  [[nodiscard]] Outcome pop(std::span<std::byte> message) noexcept;
  /// For the consumer: whether pop() would return something else than Blocked.
  [[nodiscard]] bool has_message() const noexcept;

 private:
  RingView view_;
  // Of the producer and of the consumer, on lines of their own.
  alignas(kCacheLine) std::uint64_t seen_head_ = 0;
  alignas(kCacheLine) std::uint64_t seen_tail_ = 0;
};

class MpscRing {
 public:
  /// `self`: the producer's name in its claims.
  MpscRing(const RingView& view, pid_t self) noexcept
      : view_(view), self_(static_cast<std::uint32_t>(self)) {}

  [[nodiscard]] Outcome push(std::span<const std::byte> message) noexcept;
  [[nodiscard]] Outcome pop(std::span<std::byte> message) noexcept;
  [[nodiscard]] bool has_message() noexcept;
  [[nodiscard]] std::optional<StalledSlot> stalled() noexcept;
  /// False: the slot is not stalled.
  [[nodiscard]] bool skip(const StalledSlot& stalled, StalledProducer producer) noexcept;

 private:
  struct Claim {
    std::uint64_t position;
    std::uint64_t word;  ///< as the claimant left it
  };
  [[nodiscard]] Outcome claim(Claim& claim) noexcept;
  struct Next {
    std::uint64_t position;
    std::uint64_t word;
    Outcome outcome;  ///< Done: the slot is of this lap, in whatever state
  };
  [[nodiscard]] Next next() noexcept;

  [[nodiscard]] std::uint64_t& word(std::uint64_t position) const noexcept {
    return *reinterpret_cast<std::uint64_t*>(view_.slot(position));
  }
  [[nodiscard]] std::byte* payload(std::uint64_t position) const noexcept {
    return view_.slot(position) + sizeof(std::uint64_t);
  }
  [[nodiscard]] std::uint64_t lap(std::uint64_t position) const noexcept {
    return position >> view_.geometry.lap_shift & kLapMask;
  }
  void move_tail(std::uint64_t from) noexcept;

  RingView view_;
  std::uint32_t self_;
};

}  // namespace hal::ring
