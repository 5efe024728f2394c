// SPDX-License-Identifier: Apache-2.0
#include "hal/src/queue_layout.hpp"

#include <bit>
#include <span>
#include <string>
#include <utility>

#include "resmgr/base/hash.hpp"

namespace hal::ring {
namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) noexcept {
  return (value + multiple - 1) / multiple * multiple;
}

std::uint64_t checksum(const Header& header) noexcept {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  return resmgr::fnv1a(std::span(bytes, offsetof(Header, checksum)));
}

}  // namespace

Result<Geometry> make_geometry(const QueueOptions& options) noexcept {
  if (options.kind != QueueKind::SingleProducer && options.kind != QueueKind::MultiProducer) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue kind");
  }
  if (options.message_bytes == 0 || options.message_bytes > Queue::kMaxMessageBytes) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue message size");
  }
  if (!std::has_single_bit(options.capacity) || options.capacity < 2 ||
      options.capacity > Queue::kMaxCapacity) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue capacity");
  }
  // Slots of many producers fill whole lines: two producers never write to the same one.
  const std::uint64_t slot_bytes =
      options.kind == QueueKind::SingleProducer
          ? round_up(options.message_bytes, sizeof(std::uint64_t))
          : round_up(sizeof(std::uint64_t) + options.message_bytes, kCacheLine);
  const std::uint64_t memory_bytes = sizeof(Control) + slot_bytes * options.capacity;
  if (memory_bytes > Queue::kMaxMemoryBytes) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory");
  }
  return Geometry{.kind = options.kind,
                  .message_bytes = options.message_bytes,
                  .capacity = options.capacity,
                  .slot_bytes = static_cast<std::uint32_t>(slot_bytes),
                  .lap_shift = static_cast<std::uint32_t>(std::countr_zero(options.capacity)),
                  .memory_bytes = memory_bytes,
                  .protocol = options.protocol,
                  .event_doorbell = options.event_doorbell};
}

Header make_header(const Geometry& geometry) noexcept {
  Header header{.magic = kMagic,
                .major = kMajor,
                .minor = kMinor,
                .slots_offset = sizeof(Control),
                .kind = static_cast<std::uint32_t>(geometry.kind),
                .message_bytes = geometry.message_bytes,
                .capacity = geometry.capacity,
                .slot_bytes = geometry.slot_bytes,
                .flags = geometry.event_doorbell ? kFlagEventDoorbell : 0,
                .reserved = 0,
                .memory_bytes = geometry.memory_bytes,
                .protocol = geometry.protocol,
                .checksum = 0};
  header.checksum = checksum(header);
  return header;
}

Result<Geometry> read_geometry(const Header& header, std::uint64_t file_bytes) {
  if (header.magic != kMagic) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: no queue is in there");
  }
  if (header.major != kMajor) {
    Error error(ErrorCode::VersionMismatch, "queue memory");
    error.with_detail({.cycle = {},
                       .text = "its layout is " + std::to_string(header.major) + "." +
                               std::to_string(header.minor) + ", this library's is " +
                               std::to_string(kMajor) + "." + std::to_string(kMinor)});
    return std::unexpected(std::move(error));
  }
  if (header.checksum != checksum(header)) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: the header is damaged");
  }
  // The checksum is no seal against malice: every size is computed anew and has to agree.
  auto geometry = make_geometry({.message_bytes = header.message_bytes,
                                 .capacity = header.capacity,
                                 .kind = static_cast<QueueKind>(header.kind),
                                 .event_doorbell = (header.flags & kFlagEventDoorbell) != 0,
                                 .protocol = header.protocol});
  if (!geometry) return geometry;
  if (header.slot_bytes != geometry->slot_bytes || header.slots_offset != sizeof(Control) ||
      header.memory_bytes != geometry->memory_bytes || (header.flags & ~kKnownFlags) != 0) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: its sizes contradict");
  }
  if (file_bytes != geometry->memory_bytes) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: the file has another size");
  }
  return geometry;
}

}  // namespace hal::ring
