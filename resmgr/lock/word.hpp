// SPDX-License-Identifier: Apache-2.0
//
// StateWord: what the 64 bits of a resource's lock say, as a value.
//
// What it is: pure functions on a copy of the word; each `with_*` gives the word that one
// compare-and-swap installs. What it is not: access to shared memory. Thread-safety: values.
//
//   StateWord w{load(slot.word)};
//   if (w.is_free()) cas(slot.word, w.bits, w.with_owner(me).bits);
#pragma once

#include <cstdint>

#include "resmgr/abi/layout.h"

namespace resmgr::lock {

struct StateWord {
  std::uint64_t bits = 0;

  [[nodiscard]] constexpr std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(bits >> RM_WORD_GENERATION_SHIFT);
  }
  [[nodiscard]] constexpr std::uint16_t owner() const noexcept {
    return static_cast<std::uint16_t>(bits >> RM_WORD_OWNER_SHIFT);
  }
  [[nodiscard]] constexpr std::uint16_t latch() const noexcept {
    return static_cast<std::uint16_t>(bits >> RM_WORD_LATCH_SHIFT);
  }
  [[nodiscard]] constexpr bool has(std::uint32_t flags) const noexcept {
    return (bits & flags) == flags;
  }
  [[nodiscard]] constexpr bool has_any(std::uint32_t flags) const noexcept {
    return (bits & flags) != 0;
  }

  [[nodiscard]] constexpr StateWord with_owner(std::uint16_t context) const noexcept {
    return {(bits & ~(std::uint64_t{0xffff} << RM_WORD_OWNER_SHIFT)) | std::uint64_t{context}
                                                                           << RM_WORD_OWNER_SHIFT};
  }
  [[nodiscard]] constexpr StateWord with_latch(std::uint16_t context) const noexcept {
    return {(bits & ~(std::uint64_t{0xffff} << RM_WORD_LATCH_SHIFT)) | std::uint64_t{context}
                                                                           << RM_WORD_LATCH_SHIFT};
  }
  [[nodiscard]] constexpr StateWord with(std::uint32_t flags) const noexcept {
    return {bits | flags};
  }
  [[nodiscard]] constexpr StateWord without(std::uint32_t flags) const noexcept {
    return {bits & ~std::uint64_t{flags}};
  }

  /// The word of a free, unlatched resource: what the fast path expects.
  [[nodiscard]] static constexpr StateWord free(std::uint32_t generation) noexcept {
    return {std::uint64_t{generation} << RM_WORD_GENERATION_SHIFT};
  }
  /// A registered resource of this generation.
  [[nodiscard]] constexpr bool is_tenant(std::uint32_t generation) const noexcept {
    return this->generation() == generation && !has(RM_WORD_ABSENT);
  }
  /// Nobody waits, or works on it: who changed something else has nobody to tell.
  [[nodiscard]] constexpr bool is_quiet() const noexcept {
    return latch() == 0 && !has_any(RM_WORD_WAITERS | RM_WORD_WORK);
  }
  friend constexpr bool operator==(StateWord, StateWord) noexcept = default;
};

/// While one of these is set, nobody takes the resource past the queue.
inline constexpr std::uint32_t kBarring =
    RM_WORD_WAITERS | RM_WORD_WORK | RM_WORD_GRANTING | RM_WORD_QUARANTINED | RM_WORD_ABSENT;

/// A node word: sequence:56 | state:8.
struct NodeWord {
  std::uint64_t bits = 0;

  [[nodiscard]] constexpr std::uint64_t sequence() const noexcept {
    return bits >> RM_NODE_SEQ_SHIFT;
  }
  [[nodiscard]] constexpr unsigned state() const noexcept {
    return static_cast<unsigned>(bits & RM_NODE_STATE_MASK);
  }
  [[nodiscard]] constexpr bool waiting() const noexcept { return state() == RM_NODE_WAITING; }
  [[nodiscard]] constexpr bool asleep() const noexcept { return (bits & RM_NODE_ASLEEP) != 0; }
  [[nodiscard]] constexpr NodeWord to(unsigned state) const noexcept {
    return {sequence() << RM_NODE_SEQ_SHIFT | state};
  }
  // Of a group's node:

  /// Whether the group was granted the waiter of this link.
  [[nodiscard]] constexpr bool grants(std::uint32_t link) const noexcept {
    return state() == RM_NODE_GRANTED && (sequence() & kGroupLinkMask) == link;
  }
  /// It is granted that one.
  [[nodiscard]] constexpr NodeWord to_grant_of(std::uint32_t link) const noexcept {
    return {(sequence() | link) << RM_NODE_SEQ_SHIFT | RM_NODE_GRANTED};
  }
  /// WAITING, as its next group.
  [[nodiscard]] constexpr NodeWord next_group() const noexcept {
    return {((sequence() | kGroupLinkMask) + 1) << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING};
  }
  static constexpr std::uint64_t kGroupLinkMask = (std::uint64_t{1} << RM_GROUP_LINK_BITS) - 1;
  static_assert(RM_MAX_WAITS <= kGroupLinkMask);

  friend constexpr bool operator==(NodeWord, NodeWord) noexcept = default;
};

/// A cell word: generation:24 | context:16 | parking:16 | state:8.
struct CellWord {
  std::uint64_t bits = 0;

  [[nodiscard]] static constexpr CellWord make(std::uint32_t generation, std::uint16_t context,
                                               std::uint16_t parking, unsigned state) noexcept {
    return {std::uint64_t{generation} << RM_CELL_GENERATION_SHIFT |
            std::uint64_t{context} << RM_CELL_CONTEXT_SHIFT |
            std::uint64_t{parking} << RM_CELL_PARKING_SHIFT | state};
  }
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(bits >> RM_CELL_GENERATION_SHIFT);
  }
  [[nodiscard]] constexpr std::uint16_t context() const noexcept {
    return static_cast<std::uint16_t>(bits >> RM_CELL_CONTEXT_SHIFT);
  }
  /// Raised each time that a context parks the cell; it comes round after 2^16 of them.
  [[nodiscard]] constexpr std::uint16_t parking() const noexcept {
    return static_cast<std::uint16_t>(bits >> RM_CELL_PARKING_SHIFT);
  }
  [[nodiscard]] constexpr unsigned state() const noexcept {
    return static_cast<unsigned>(bits & RM_CELL_STATE_MASK);
  }
  /// The same parking in another state.
  [[nodiscard]] constexpr CellWord to(unsigned state) const noexcept {
    return {(bits & ~std::uint64_t{RM_CELL_STATE_MASK}) | state};
  }
  /// Whether this context parked it, for this tenant.
  [[nodiscard]] constexpr bool is_of(std::uint32_t generation,
                                     std::uint16_t context) const noexcept {
    return bits >> RM_CELL_CONTEXT_SHIFT ==
           make(generation, context, 0, 0).bits >> RM_CELL_CONTEXT_SHIFT;
  }
  /// HELD, or OFFERED: a holder for everyone who looks.
  [[nodiscard]] constexpr bool in_use() const noexcept { return state() != RM_CELL_FREE; }
  friend constexpr bool operator==(CellWord, CellWord) noexcept = default;
};

}  // namespace resmgr::lock
