// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/resolve.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace drivers::dma {
namespace {

constexpr std::uint64_t kResultBytes = sizeof(std::uint32_t);
constexpr std::uint64_t kEverything = std::numeric_limits<std::uint64_t>::max();

/// Goes through the descriptors of one batch; remembers where it is, for the error.
class Resolver {
 public:
  Resolver(const Limits& limits, const BufferTable& buffers) : limits_(limits), buffers_(buffers) {}

  /// How many pieces the descriptors have, once none has more than it may.
  hal::Result<std::size_t> count(std::span<const Descriptor> descriptors);
  hal::Result<void> fill(Batch& batch, std::span<const Descriptor> descriptors);

 private:
  enum class Side { Whole, Source, Destination };

  hal::Result<void> fill_one(Batch& batch, const Descriptor& descriptor);
  /// Returns the sum of the lengths.
  hal::Result<std::uint64_t> fill_list(Batch& batch, std::span<const Segment> segments, Side side,
                                       std::uint64_t alignment);
  [[nodiscard]] hal::Result<Piece> locate(const Segment& segment, std::uint64_t alignment) const;
  [[nodiscard]] hal::Result<void> check_shape(const Descriptor& descriptor) const;
  [[nodiscard]] hal::Result<void> check_overlap(const Batch& batch) const;
  [[nodiscard]] std::unexpected<hal::Error> refuse(hal::Error error) const;
  [[nodiscard]] std::unexpected<hal::Error> refuse(const char* what) const {
    return refuse(hal::Error(hal::ErrorCode::InvalidArgument, what));
  }
  [[nodiscard]] std::unexpected<hal::Error> beyond(const char* what, std::uint64_t requested,
                                                   std::uint64_t available) const {
    hal::Error error(hal::ErrorCode::CapacityExceeded, what);
    error.with_amounts(requested, available);
    return refuse(std::move(error));
  }

  const Limits& limits_;
  const BufferTable& buffers_;
  std::size_t descriptor_ = 0;
  Side side_ = Side::Whole;
  std::size_t segment_ = 0;
  std::size_t pieces_ = 0;  ///< filled in so far
};

std::unexpected<hal::Error> Resolver::refuse(hal::Error error) const {
  std::string where = "descriptor " + std::to_string(descriptor_);
  if (side_ != Side::Whole) {
    where += side_ == Side::Source ? ", source segment " : ", destination segment ";
    where += std::to_string(segment_);
  }
  error.with_detail({.cycle = {}, .text = std::move(where)});
  return std::unexpected(std::move(error));
}

hal::Result<void> Resolver::check_shape(const Descriptor& descriptor) const {
  const bool reads = !descriptor.sources().empty();
  const std::size_t writes = descriptor.destinations().size();
  switch (descriptor.operation()) {
    case Operation::Copy:
      if (!reads || writes == 0) return refuse("a copy needs sources and destinations");
      return {};
    case Operation::Fill:
      if (reads || writes == 0) return refuse("a fill needs destinations alone");
      return {};
    case Operation::Crc32c:
      if (!reads) return refuse("a CRC32C needs sources");
      if (writes > 1 || (writes == 1 && descriptor.destinations()[0].length != kResultBytes)) {
        return refuse("a CRC32C is stored in one segment of 4 bytes");
      }
      return {};
  }
  return refuse("operation");
}

hal::Result<std::size_t> Resolver::count(std::span<const Descriptor> descriptors) {
  std::size_t pieces = 0;
  for (descriptor_ = 0; descriptor_ < descriptors.size(); ++descriptor_) {
    const Descriptor& descriptor = descriptors[descriptor_];
    for (const std::size_t segments :
         {descriptor.sources().size(), descriptor.destinations().size()}) {
      if (segments > limits_.max_segments) {
        return beyond("segments in one list", segments, limits_.max_segments);
      }
      pieces += segments;
    }
  }
  return pieces;
}

hal::Result<void> Resolver::fill(Batch& batch, std::span<const Descriptor> descriptors) {
  std::uint64_t length = 0;
  for (descriptor_ = 0; descriptor_ < descriptors.size(); ++descriptor_) {
    if (auto fine = fill_one(batch, descriptors[descriptor_]); !fine) return fine;
    length += batch.work(descriptor_).length;
  }
  batch.set_length(length);
  return {};
}

hal::Result<void> Resolver::fill_one(Batch& batch, const Descriptor& descriptor) {
  side_ = Side::Whole;
  if (auto fine = check_shape(descriptor); !fine) return fine;

  const bool is_crc = descriptor.operation() == Operation::Crc32c;
  Work& work = batch.work(descriptor_);
  work = {.operation = descriptor.operation(),
          .sources = static_cast<std::uint32_t>(descriptor.sources().size()),
          .destinations = static_cast<std::uint32_t>(descriptor.destinations().size()),
          .first = pieces_,
          .parameter = descriptor.parameter()};
  const auto read = fill_list(batch, descriptor.sources(), Side::Source, limits_.alignment);
  if (!read) return std::unexpected(read.error());
  const auto written = fill_list(batch, descriptor.destinations(), Side::Destination,
                                 is_crc ? kResultBytes : limits_.alignment);
  if (!written) return std::unexpected(written.error());

  side_ = Side::Whole;
  work.length = is_crc ? *read : *written;
  if (work.operation != Operation::Copy) return {};
  if (*read != *written) return refuse("sources and destinations differ in total length");
  return check_overlap(batch);
}

hal::Result<std::uint64_t> Resolver::fill_list(Batch& batch, std::span<const Segment> segments,
                                               Side side, std::uint64_t alignment) {
  side_ = side;
  std::uint64_t total = 0;
  for (segment_ = 0; segment_ < segments.size(); ++segment_) {
    const auto piece = locate(segments[segment_], alignment);
    if (!piece) return std::unexpected(piece.error());
    if (piece->length > limits_.max_length - total) {
      const std::uint64_t requested = total + piece->length;
      return beyond("bytes of one descriptor", requested < total ? kEverything : requested,
                    limits_.max_length);
    }
    total += piece->length;
    batch.piece(pieces_++) = *piece;
  }
  return total;
}

hal::Result<Piece> Resolver::locate(const Segment& segment, std::uint64_t alignment) const {
  const AttachedBuffer* buffer = buffers_.find(segment.buffer);
  if (buffer == nullptr) {
    return refuse(hal::Error(hal::ErrorCode::StaleHandle, "buffer of a segment"));
  }
  if (side_ == Side::Destination && buffer->access != Access::ReadWrite) {
    return refuse(hal::Error(hal::ErrorCode::NotPermitted, "the buffer is attached for reading"));
  }
  const std::uint64_t size = buffer->memory.size();
  if (segment.length == 0) return refuse("a segment of no length");
  // Not `offset + length > size`: that sum may wrap.
  if (segment.offset > size || segment.length > size - segment.offset) {
    return refuse("a segment reaches out of its buffer");
  }
  std::byte* const address = buffer->memory.data() + segment.offset;
  if (((reinterpret_cast<std::uintptr_t>(address) | segment.length) & (alignment - 1)) != 0) {
    return refuse("alignment of a segment");
  }
  return Piece{address, segment.length, segment.buffer};
}

hal::Result<void> Resolver::check_overlap(const Batch& batch) const {
  // By address, because the same memory may be attached under several ids.
  for (const Piece& source : batch.sources(descriptor_)) {
    const auto from = reinterpret_cast<std::uintptr_t>(source.address);
    for (const Piece& destination : batch.destinations(descriptor_)) {
      const auto to = reinterpret_cast<std::uintptr_t>(destination.address);
      if (from < to + destination.length && to < from + source.length) {
        return refuse("source and destination overlap");
      }
    }
  }
  return {};
}

}  // namespace

hal::Result<std::shared_ptr<Batch>> resolve(const Channel* owner,
                                            std::span<const Descriptor> descriptors,
                                            const Limits& limits, const BufferTable& buffers,
                                            Callback on_done) {
  if (descriptors.empty()) return fail(hal::ErrorCode::InvalidArgument, "an empty batch");
  if (descriptors.size() > limits.ring_entries) {
    hal::Error error(hal::ErrorCode::CapacityExceeded, "descriptors of one batch");
    error.with_amounts(descriptors.size(), limits.ring_entries);
    return std::unexpected(std::move(error));
  }
  Resolver resolver(limits, buffers);
  const auto pieces = resolver.count(descriptors);
  if (!pieces) return std::unexpected(pieces.error());
  auto batch = std::make_shared<Batch>(owner, descriptors.size(), *pieces, std::move(on_done));
  if (auto fine = resolver.fill(*batch, descriptors); !fine) return std::unexpected(fine.error());
  return batch;
}

}  // namespace drivers::dma
