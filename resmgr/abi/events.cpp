// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/events.hpp"

#include "resmgr/abi/frame_reader.hpp"
#include "resmgr/abi/frame_writer.hpp"

namespace resmgr::wire {
namespace {

/// An enumeration whose values are numbered from 1 up to `last`.
template <typename E>
Result<void> check_up_to(E value, E last, const char* what) noexcept {
  const auto number = static_cast<std::uint32_t>(value);
  const bool known = number >= 1 && number <= static_cast<std::uint32_t>(last);
  return known ? Result<void>() : fail(ErrorCode::InvalidArgument, what);
}

}  // namespace

Result<void> QuiesceEvent::check() const noexcept {
  if (attempt == 0) return fail(ErrorCode::InvalidArgument, "an attempt without a number");
  return check_up_to(reason, QuiesceReason::Removed, "unknown reason to quiesce");
}

Result<std::size_t> encode(const QuiesceEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Quiesce, kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_quiesce{.handle = event.handle.bits(),
                               .deadline = event.deadline_ns,
                               .reason = static_cast<std::uint32_t>(event.reason),
                               .attempt = event.attempt});
  return writer.finish();
}

Result<QuiesceEvent> QuiesceEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Quiesce});
  const auto part = reader.fixed<rm_wire_quiesce>();
  return reader.finish_with(QuiesceEvent{.handle = Handle::from_bits(part.handle),
                                         .reason = static_cast<QuiesceReason>(part.reason),
                                         .deadline_ns = part.deadline,
                                         .attempt = part.attempt});
}

Result<void> YieldEvent::check() const noexcept {
  if (holder == 0) return fail(ErrorCode::InvalidArgument, "a hold of nobody's");
  const bool known = kind <= HoldKind::Shared && by_kind <= HoldKind::Shared;
  return known ? Result<void>() : fail(ErrorCode::InvalidArgument, "unknown kind of hold");
}

Result<std::size_t> encode(const YieldEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Yield, kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_yield{.handle = event.handle.bits(),
                             .deadline = event.deadline_ns,
                             .holder = event.holder,
                             .by = event.by,
                             .by_pid = event.by_pid,
                             .by_driver = event.by_driver,
                             .kind = static_cast<std::uint8_t>(event.kind),
                             .by_kind = static_cast<std::uint8_t>(event.by_kind),
                             .reserved = {}});
  return writer.finish();
}

Result<YieldEvent> YieldEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Yield});
  const auto part = reader.fixed<rm_wire_yield>();
  reader.require_zero(part.reserved);
  return reader.finish_with(YieldEvent{.handle = Handle::from_bits(part.handle),
                                       .deadline_ns = part.deadline,
                                       .holder = part.holder,
                                       .kind = static_cast<HoldKind>(part.kind),
                                       .by = part.by,
                                       .by_pid = part.by_pid,
                                       .by_driver = part.by_driver,
                                       .by_kind = static_cast<HoldKind>(part.by_kind)});
}

Result<void> OwnerEvent::check() const noexcept {
  const bool known = loss == OwnerLoss::Orphaned || loss == OwnerLoss::OwnerDied;
  return known ? Result<void>() : fail(ErrorCode::InvalidArgument, "unknown loss of an owner");
}

Result<std::size_t> encode(const OwnerEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, static_cast<FrameType>(event.loss), kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_handle{.handle = event.handle.bits()});
  return writer.finish();
}

Result<OwnerEvent> OwnerEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Orphaned, FrameType::OwnerDied});
  const auto part = reader.fixed<rm_wire_handle>();
  return reader.finish_with(OwnerEvent{.loss = static_cast<OwnerLoss>(frame.type),
                                       .handle = Handle::from_bits(part.handle)});
}

Result<void> EpochEvent::check() const noexcept { return regions.check(); }

Result<std::size_t> encode(const EpochEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Epoch, kNoRequest, RM_WIRE_REGION_FDS);
  writer.require(event.check());
  writer.fixed(to_wire(event.regions));
  return writer.finish();
}

Result<EpochEvent> EpochEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Epoch});
  reader.needs_fds(RM_WIRE_REGION_FDS);
  const auto part = reader.fixed<rm_wire_regions>();
  reader.require_zero(part.client.reserved);
  return reader.finish_with(EpochEvent{.regions = from_wire(part)});
}

Result<void> ClosingEvent::check() const noexcept {
  return check_up_to(reason, ClosingReason::Protocol, "unknown reason to close");
}

Result<std::size_t> encode(const ClosingEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Closing, kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_closing{.reason = static_cast<std::uint32_t>(event.reason), .reserved = 0});
  return writer.finish();
}

Result<ClosingEvent> ClosingEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Closing});
  const auto part = reader.fixed<rm_wire_closing>();
  reader.require_zero(part.reserved);
  return reader.finish_with(ClosingEvent{.reason = static_cast<ClosingReason>(part.reason)});
}

Result<void> MissedEvent::check() const noexcept {
  if (events == 0) return fail(ErrorCode::InvalidArgument, "no event was missed");
  return {};
}

Result<std::size_t> encode(const MissedEvent& event, std::span<std::byte> out) noexcept {
  FrameWriter writer(out, FrameType::Missed, kNoRequest);
  writer.require(event.check());
  writer.fixed(rm_wire_missed{.events = event.events});
  return writer.finish();
}

Result<MissedEvent> MissedEvent::decode(const Frame& frame) noexcept {
  FrameReader reader(frame, {FrameType::Missed});
  const auto part = reader.fixed<rm_wire_missed>();
  return reader.finish_with(MissedEvent{.events = part.events});
}

}  // namespace resmgr::wire
