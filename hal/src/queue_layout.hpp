// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a queue's memory, and the checked sizes by which it is read.
//
// What it is: a header that never changes after creation, four lines that do, and the slots. No
// pointers; all integers little-endian. What it is not: trusted. read_geometry() judges a private
// copy of the header, and only the Geometry it returns is used from then on.
// Lifetime and thread-safety: plain values; the changing fields are accessed as resmgr/base/atomic.
//
//   0    Header     64 bytes
//   64   tail       messages claimed so far (written by the producers)
//   128  head       messages consumed so far (written by the consumer)
//   192  messages   the bell on which the consumer sleeps
//   256  room       the bell on which producers sleep
//   320  slots
//
// A slot of a SingleProducer ring is the message, padded to 8 bytes. One of a MultiProducer ring
// starts with a word, lap:40 | claimant:22 | state:2, and fills whole cache lines. A position
// counts messages since creation; its slot is position mod capacity and its lap position div
// capacity, so that zeroed memory is an empty ring.
#pragma once

#include <cstddef>
#include <cstdint>

#include <hal/queue.hpp>

namespace hal::ring {

inline constexpr std::uint64_t kMagic = 0x45554555514c4148;  // "HALQUEUE" in a hex dump
inline constexpr std::uint16_t kMajor = 1;                   // others are refused
inline constexpr std::uint16_t kMinor = 0;                   // others work together
inline constexpr std::uint32_t kFlagEventDoorbell = 1u << 0;
inline constexpr std::uint32_t kKnownFlags = kFlagEventDoorbell;
inline constexpr std::size_t kCacheLine = 64;

struct Header {
  std::uint64_t magic;
  std::uint16_t major;
  std::uint16_t minor;
  std::uint32_t slots_offset;
  std::uint32_t kind;  ///< QueueKind
  std::uint32_t message_bytes;
  std::uint32_t capacity;
  std::uint32_t slot_bytes;
  std::uint32_t flags;
  std::uint32_t reserved;  ///< 0
  std::uint64_t memory_bytes;
  std::uint64_t protocol;
  std::uint64_t checksum;  ///< of all bytes before it
};
static_assert(sizeof(Header) == 64);

/// Sleepers announce themselves in `announced`; whoever takes the announcement changes `sequence`
/// and rings. See queue_bell.hpp.
struct BellWords {
  std::uint32_t sequence;   ///< the futex
  std::uint32_t announced;  ///< kFutexSleeper, kEventSleeper
  std::uint32_t locked;     ///< not 0: someone sleeps here whom only locked instructions reach
};

struct Control {
  Header header;
  alignas(kCacheLine) std::uint64_t tail;
  alignas(kCacheLine) std::uint64_t head;
  alignas(kCacheLine) BellWords messages;
  alignas(kCacheLine) BellWords room;
};
static_assert(sizeof(Control) == 320 && offsetof(Control, tail) == 64 &&
              offsetof(Control, room) == 256);

/// Sizes that were checked against each other and against the file.
struct Geometry {
  QueueKind kind = QueueKind::SingleProducer;
  std::uint32_t message_bytes = 0;
  std::uint32_t capacity = 0;
  std::uint32_t slot_bytes = 0;
  std::uint32_t lap_shift = 0;  ///< log2(capacity)
  std::uint64_t memory_bytes = 0;
  std::uint64_t protocol = 0;
  bool event_doorbell = false;

  [[nodiscard]] std::uint64_t slot_offset(std::uint64_t position) const noexcept {
    return sizeof(Control) + (position & (capacity - 1)) * slot_bytes;
  }
};

/// Errors: InvalidArgument.
[[nodiscard]] Result<Geometry> make_geometry(const QueueOptions& options) noexcept;
/// The header of a ring of that geometry.
[[nodiscard]] Header make_header(const Geometry& geometry) noexcept;
/// Judges a header, a private copy, of a file of `file_bytes`. Errors: InvalidArgument,
/// VersionMismatch.
[[nodiscard]] Result<Geometry> read_geometry(const Header& header, std::uint64_t file_bytes);

// ---- slot words of MultiProducer rings ------------------------------------------------------

enum class SlotState : std::uint8_t {
  Free = 0,     ///< for the producer that claims the word's lap
  Claimed = 1,  ///< by the claimant, who writes the message
  Ready = 2,    ///< for the consumer
  Retired = 3,  ///< given up; both sides pass over it, whatever the lap
};

inline constexpr unsigned kStateBits = 2;
inline constexpr unsigned kClaimantBits = 22;  // PIDs of Linux end below 2^22
inline constexpr std::uint64_t kLapMask =
    (std::uint64_t{1} << (64 - kStateBits - kClaimantBits)) - 1;

[[nodiscard]] constexpr std::uint64_t slot_word(std::uint64_t lap, SlotState state,
                                                std::uint32_t claimant = 0) noexcept {
  return lap << (kStateBits + kClaimantBits) |
         std::uint64_t{claimant & ((1u << kClaimantBits) - 1)} << kStateBits |
         static_cast<std::uint64_t>(state);
}
[[nodiscard]] constexpr SlotState slot_state(std::uint64_t word) noexcept {
  return static_cast<SlotState>(word & ((1u << kStateBits) - 1));
}
[[nodiscard]] constexpr std::uint32_t slot_claimant(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> kStateBits) & ((1u << kClaimantBits) - 1);
}
[[nodiscard]] constexpr std::uint64_t slot_lap(std::uint64_t word) noexcept {
  return word >> (kStateBits + kClaimantBits);
}

}  // namespace hal::ring
