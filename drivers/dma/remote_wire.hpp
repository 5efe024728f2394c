// SPDX-License-Identifier: Apache-2.0
//
// The messages between a ChannelServer and a RemoteChannel, and the queues that carry them.
//
// What it is: two fixed layouts, version 1, and their translation to and from what a Channel takes
// and gives. Any bytes are a value of either; the translation is where they are judged. What it is
// not: for authors, but for RemoteRequests and RemoteReplies, which they make and hand over.
//
// One batch is one message, so that it is submitted whole or not at all: at most kMaxDescriptors
// descriptors with kMaxSegments segments in all. Each Hello is answered by Limits, each Submit by
// Done, each Cancel by Progress (in their order), anything else by Refused.
//
// Lifetime: plain values; BatchDecoder keeps what it returns until its next call. Thread-safety: as
// plain values.
//
//   requests.try_push(encode_batch(tag, batch).value());             // client
//   channel.submit(decoder.decode(requests.try_pop().value()).value());   // server
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <hal/resource.hpp>
#include <hal/typed_queue.hpp>

#include "drivers/dma/channel.hpp"
#include "drivers/dma/descriptor.hpp"

namespace drivers::dma {

inline constexpr std::uint32_t kMaxRemoteDescriptors = 8;  ///< of one batch
inline constexpr std::uint32_t kMaxRemoteSegments = 16;    ///< of one batch, all lists together

namespace wire {

enum class RequestKind : std::uint32_t { Hello = 1, Submit = 2, Cancel = 3 };
enum class ReplyKind : std::uint32_t { Limits = 1, Done = 2, Progress = 3, Refused = 4 };

struct WireSegment {
  std::uint64_t buffer = 0;  ///< BufferId::bits
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t length = 0;  ///< bytes
};

struct WireDescriptor {
  std::uint64_t parameter = 0;    ///< pattern or seed
  std::uint8_t operation = 0;     ///< Operation
  std::uint8_t sources = 0;       ///< segments
  std::uint8_t destinations = 0;  ///< segments, behind the sources
  std::array<std::uint8_t, 5> zero{};
};

struct Request {
  std::uint64_t tag = 0;          ///< Submit: names the batch. Cancel: the batch. Hello: 0
  std::uint32_t kind = 0;         ///< RequestKind
  std::uint32_t descriptors = 0;  ///< Submit: those that follow. 0 for others
  std::array<WireDescriptor, kMaxRemoteDescriptors> descriptor{};
  std::array<WireSegment, kMaxRemoteSegments> segment{};  ///< of one descriptor after another
};

struct WireOutcome {
  std::uint64_t bytes = 0;
  std::uint32_t crc32c = 0;
  std::uint8_t status = 0;  ///< Status
  std::uint8_t has_crc32c = 0;
  std::uint16_t error = 0;  ///< hal::ErrorCode, 0: none
};

struct WireLimits {
  std::uint64_t alignment = 0;
  std::uint64_t max_length = 0;
  std::uint32_t max_segments = 0;
  std::uint32_t ring_entries = 0;
  std::uint32_t max_buffers = 0;
  std::uint32_t in_order = 0;
};

struct Reply {
  std::uint64_t tag = 0;       ///< the request's
  std::uint32_t kind = 0;      ///< ReplyKind
  std::uint16_t error = 0;     ///< Done, Refused: why nothing was submitted; 0: it was
  std::uint16_t outcomes = 0;  ///< Done, Progress: those that follow
  WireLimits limits{};         ///< Limits
  std::array<WireOutcome, kMaxRemoteDescriptors> outcome{};
};

// The layouts are the version: the queues' protocol numbers change with them.
static_assert(sizeof(Request) == 16 + kMaxRemoteDescriptors * 16 + kMaxRemoteSegments * 24);
static_assert(sizeof(Reply) == 16 + 32 + kMaxRemoteDescriptors * 16);

[[nodiscard]] std::uint16_t encode_error(hal::ErrorCode code) noexcept;
/// System for a number that names no error.
[[nodiscard]] hal::ErrorCode decode_error(std::uint16_t number) noexcept;

/// Errors: CapacityExceeded (see above), InvalidArgument (an empty batch). What else may be wrong
/// with a batch is for the server to see.
[[nodiscard]] hal::Result<Request> encode_batch(std::uint64_t tag,
                                                std::span<const Descriptor> batch);

class BatchDecoder {
 public:
  BatchDecoder();
  /// The batch of a Submit, as far as one can be made of it: what its descriptors say is for
  /// Channel::submit() to judge. Valid until the next call. Errors: InvalidArgument.
  [[nodiscard]] hal::Result<std::span<const Descriptor>> decode(const Request& request);
  /// All segments of the last batch.
  [[nodiscard]] std::span<const Segment> segments() const noexcept {
    return {segments_.data(), used_};
  }

 private:
  [[nodiscard]] hal::Result<void> decode_one(const WireDescriptor& from);

  std::vector<Descriptor> descriptors_;
  std::array<Segment, kMaxRemoteSegments> segments_{};
  std::size_t used_ = 0;  ///< of them
};

[[nodiscard]] WireOutcome encode_outcome(const Outcome& outcome) noexcept;
/// Errors: InvalidArgument (an unknown status, or an error that does not fit it).
[[nodiscard]] hal::Result<Outcome> decode_outcome(const WireOutcome& from) noexcept;

[[nodiscard]] WireLimits encode_limits(const Limits& limits) noexcept;
/// Errors: InvalidArgument (limits that no channel can have).
[[nodiscard]] hal::Result<Limits> decode_limits(const WireLimits& from) noexcept;

}  // namespace wire

/// From one client to the server. SingleProducer, no event doorbell needed; capacity above
/// ServerOptions::max_in_flight. The number is "dmaq", version 1.
using RemoteRequests = hal::TypedQueue<wire::Request, 0x646d'6171'0000'0001>;
/// From the server to that client. SingleProducer, without an event doorbell; capacity as above.
/// The number is "dmar", version 1.
using RemoteReplies = hal::TypedQueue<wire::Reply, 0x646d'6172'0000'0001>;

}  // namespace drivers::dma
