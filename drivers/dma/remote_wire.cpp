// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/remote_wire.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>

namespace drivers::dma::wire {
namespace {

using hal::ErrorCode;

/// The last of them; they are numbered from 1 without a gap.
constexpr ErrorCode kLastError = ErrorCode::System;

[[nodiscard]] std::unexpected<hal::Error> malformed(const char* what) noexcept {
  return fail(ErrorCode::InvalidArgument, what);
}

/// Appends `list`, for which there is room, and counts it.
void append(std::span<const Segment> list, Request& request, std::size_t& used) noexcept {
  for (const Segment& segment : list) {
    request.segment[used++] = {segment.buffer.bits, segment.offset, segment.length};
  }
}

[[nodiscard]] std::unexpected<hal::Error> beyond(const char* what, std::uint64_t requested,
                                                 std::uint64_t available) noexcept {
  hal::Error error(ErrorCode::CapacityExceeded, what);
  error.with_amounts(requested, available);
  return std::unexpected(std::move(error));
}

}  // namespace

std::uint16_t encode_error(ErrorCode code) noexcept { return static_cast<std::uint16_t>(code); }

ErrorCode decode_error(std::uint16_t number) noexcept {
  const bool known = number > 0 && number <= encode_error(kLastError);
  return known ? static_cast<ErrorCode>(number) : ErrorCode::System;
}

hal::Result<Request> encode_batch(std::uint64_t tag, std::span<const Descriptor> batch) {
  if (batch.empty()) return malformed("an empty batch");
  if (batch.size() > kMaxRemoteDescriptors) {
    return beyond("descriptors of one batch", batch.size(), kMaxRemoteDescriptors);
  }
  std::size_t segments = 0;
  for (const Descriptor& descriptor : batch) {
    segments += descriptor.sources().size() + descriptor.destinations().size();
  }
  if (segments > kMaxRemoteSegments) {
    return beyond("segments of one batch", segments, kMaxRemoteSegments);
  }
  Request request;
  request.tag = tag;
  request.kind = static_cast<std::uint32_t>(RequestKind::Submit);
  std::size_t used = 0;
  for (const Descriptor& descriptor : batch) {
    request.descriptor[request.descriptors++] = {
        .parameter = descriptor.parameter(),
        .operation = static_cast<std::uint8_t>(descriptor.operation()),
        .sources = static_cast<std::uint8_t>(descriptor.sources().size()),
        .destinations = static_cast<std::uint8_t>(descriptor.destinations().size()),
        .zero = {}};
    append(descriptor.sources(), request, used);
    append(descriptor.destinations(), request, used);
  }
  return request;
}

BatchDecoder::BatchDecoder() { descriptors_.reserve(kMaxRemoteDescriptors); }

hal::Result<std::span<const Descriptor>> BatchDecoder::decode(const Request& request) {
  descriptors_.clear();
  used_ = 0;
  if (request.descriptors > kMaxRemoteDescriptors) return malformed("number of descriptors");
  for (std::size_t index = 0; index < request.descriptors; ++index) {
    const WireDescriptor& from = request.descriptor[index];
    const std::size_t first = used_;
    const std::size_t count = std::size_t{from.sources} + from.destinations;
    if (count > kMaxRemoteSegments - used_) return malformed("number of segments");
    for (; used_ < first + count; ++used_) {
      const WireSegment& segment = request.segment[used_];
      segments_[used_] = {BufferId{segment.buffer}, segment.offset, segment.length};
    }
    if (auto fine = decode_one(from); !fine) return std::unexpected(std::move(fine.error()));
  }
  return descriptors_;
}

hal::Result<void> BatchDecoder::decode_one(const WireDescriptor& from) {
  if (std::ranges::any_of(from.zero, [](std::uint8_t byte) { return byte != 0; })) {
    return malformed("reserved bytes of a descriptor");
  }
  const std::span<const Segment> destinations = segments().last(from.destinations);
  const std::span<const Segment> sources =
      segments().first(used_ - from.destinations).last(from.sources);
  switch (static_cast<Operation>(from.operation)) {
    case Operation::Copy:
      if (from.parameter != 0) return malformed("parameter of a copy");
      descriptors_.push_back(Descriptor::copy(sources, destinations));
      return {};
    case Operation::Fill:
      if (!sources.empty()) return malformed("sources of a fill");
      descriptors_.push_back(Descriptor::fill(destinations, from.parameter));
      return {};
    case Operation::Crc32c: {
      if (from.parameter > std::numeric_limits<std::uint32_t>::max()) {
        return malformed("seed of a CRC32C");
      }
      if (destinations.size() > 1) return malformed("destinations of a CRC32C");
      const auto sum = Descriptor::crc32c(sources, static_cast<std::uint32_t>(from.parameter));
      descriptors_.push_back(destinations.empty() ? sum : sum.store_result(destinations[0]));
      return {};
    }
  }
  return malformed("operation");
}

WireOutcome encode_outcome(const Outcome& outcome) noexcept {
  return {.bytes = outcome.bytes,
          .crc32c = outcome.crc32c.value_or(0),
          .status = static_cast<std::uint8_t>(outcome.status),
          .has_crc32c = outcome.crc32c.has_value(),
          .error = outcome.error ? encode_error(*outcome.error) : std::uint16_t{0}};
}

hal::Result<Outcome> decode_outcome(const WireOutcome& from) noexcept {
  if (from.status > static_cast<std::uint8_t>(Status::Failed)) return malformed("status");
  Outcome outcome{.status = static_cast<Status>(from.status), .bytes = from.bytes};
  const bool failed = outcome.status == Status::Cancelled || outcome.status == Status::Failed;
  if (failed != (from.error != 0)) return malformed("error of an outcome");
  if (failed) outcome.error = decode_error(from.error);
  if (from.has_crc32c != 0) outcome.crc32c = from.crc32c;
  return outcome;
}

WireLimits encode_limits(const Limits& limits) noexcept {
  return {.alignment = limits.alignment,
          .max_length = limits.max_length,
          .max_segments = limits.max_segments,
          .ring_entries = limits.ring_entries,
          .max_buffers = limits.max_buffers,
          .in_order = limits.in_order};
}

hal::Result<Limits> decode_limits(const WireLimits& from) noexcept {
  if (!std::has_single_bit(from.alignment) || from.max_length == 0 || from.max_segments == 0 ||
      from.ring_entries == 0) {
    return malformed("limits");
  }
  return Limits{.alignment = from.alignment,
                .max_length = from.max_length,
                .max_segments = from.max_segments,
                .ring_entries = from.ring_entries,
                .max_buffers = from.max_buffers,
                .in_order = from.in_order != 0};
}

}  // namespace drivers::dma::wire
