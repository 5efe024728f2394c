// SPDX-License-Identifier: Apache-2.0
//
// Events: what resmgrd tells a client unasked.
//
// What it is: a struct for each event, its encoder, and its decoder, which returns nothing that is
// out of its documented range. What it is not: delivery; who reads too slowly misses events, is
// told how many, and learns the rest from the regions. Events have the request id 0.
//
// All encoders return the bytes of the frame. Errors of all of them: InvalidArgument (a value out
// of range), CapacityExceeded (`out` is too small). Errors of all decoders: InvalidArgument (a
// frame of another type, with other fds; a part that is too short, or too long for its minor; a
// value out of range).
//
// Lifetime: plain values. Thread-safety: pure functions.
//
//   auto bytes = encode(OwnerEvent{OwnerLoss::Orphaned, handle}, out);
//   ...
//   auto event = OwnerEvent::decode(frame);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/abi/frame.hpp"
#include "resmgr/abi/replies.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::wire {

enum class QuiesceReason : std::uint32_t {
  HolderDied = RM_WIRE_QUIESCE_HOLDER_DIED,
  Revoked = RM_WIRE_QUIESCE_REVOKED,  ///< an Emergency request fences the holder
  Removed = RM_WIRE_QUIESCE_REMOVED,  ///< the resource goes away
};
/// For the owner: stop the hardware, and answer with SetStateRequest.
struct QuiesceEvent {
  Handle handle = {};
  QuiesceReason reason = QuiesceReason::HolderDied;
  std::uint64_t deadline_ns = 0;  ///< CLOCK_MONOTONIC; no answer by then counts as failure
  std::uint32_t attempt = 1;      ///< not 0; the answer names it

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<QuiesceEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const QuiesceEvent& event,
                                         std::span<std::byte> out) noexcept;

/// For who holds it: somebody in an emergency asks him to let go.
struct YieldEvent {
  Handle handle = {};
  std::uint64_t deadline_ns = 0;  ///< CLOCK_MONOTONIC
  std::uint32_t holder = 0;       ///< the context, not 0
  HoldKind kind = HoldKind::Exclusive;
  std::uint32_t by = 0;  ///< the context that asks
  std::uint32_t by_pid = 0;
  std::uint32_t by_driver = 0;
  HoldKind by_kind = HoldKind::Exclusive;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<YieldEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const YieldEvent& event,
                                         std::span<std::byte> out) noexcept;

enum class OwnerLoss : std::uint16_t {
  Orphaned = RM_WIRE_ORPHANED,     ///< its owner died; it is kept for the restarted one
  OwnerDied = RM_WIRE_OWNER_DIED,  ///< and nobody came: it is destroyed
};
/// For those who hold a resource, wait for it, or had it shared with them.
struct OwnerEvent {
  OwnerLoss loss = OwnerLoss::Orphaned;
  Handle handle = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<OwnerEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const OwnerEvent& event,
                                         std::span<std::byte> out) noexcept;

/// The domain moved: these regions, whose fds travel beside, take the place of those mapped.
struct EpochEvent {
  Regions regions = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<EpochEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const EpochEvent& event,
                                         std::span<std::byte> out) noexcept;

enum class ClosingReason : std::uint32_t {
  Shutdown = RM_WIRE_CLOSING_SHUTDOWN,  ///< the domain ends
  Restart = RM_WIRE_CLOSING_RESTART,    ///< connect again
  Protocol = RM_WIRE_CLOSING_PROTOCOL,  ///< this client sent what nobody should
};
/// The last frame of a connection.
struct ClosingEvent {
  ClosingReason reason = ClosingReason::Shutdown;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<ClosingEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const ClosingEvent& event,
                                         std::span<std::byte> out) noexcept;

/// The client did not take so many events in time: they are not sent again.
struct MissedEvent {
  std::uint64_t events = 1;  ///< not 0

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<MissedEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const MissedEvent& event,
                                         std::span<std::byte> out) noexcept;

}  // namespace resmgr::wire
