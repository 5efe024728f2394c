// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the wire share: frames of every type, ways to spoil them, and an echo.
//
// Lifetime and thread-safety: plain values.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "resmgr/abi/frame.hpp"
#include "resmgr/abi/wire.h"
#include "resmgr/base/error.hpp"

namespace resmgr::wire::test {

using Bytes = std::vector<std::byte>;

inline constexpr std::uint64_t kRequestId = 0x1122334455667788;

/// The error's code, ErrorCode{} for a success.
template <typename T>
[[nodiscard]] ErrorCode code_of(const Result<T>& result) {
  return result ? ErrorCode{} : result.error().code();
}

/// A message as a frame; events have no request id.
template <typename Message>
[[nodiscard]] Result<Bytes> try_frame_of(const Message& message,
                                         std::uint64_t request_id = kRequestId) {
  Bytes out(RM_WIRE_MAX_FRAME);
  const Result<std::size_t> bytes = [&] {
    if constexpr (requires { encode(message, request_id, std::span(out)); }) {
      return encode(message, request_id, std::span(out));
    } else {
      return encode(message, std::span(out));
    }
  }();
  if (!bytes) return std::unexpected(bytes.error());
  out.resize(*bytes);
  return out;
}
template <typename Message>
[[nodiscard]] Bytes frame_of(const Message& message) {
  return try_frame_of(message).value();
}

/// Both steps of decoding. The message views `bytes`.
template <typename Message>
[[nodiscard]] Result<Message> decode(std::span<const std::byte> bytes) {
  const auto frame = read_frame(bytes);
  if (!frame) return std::unexpected(frame.error());
  return Message::decode(*frame);
}

/// The frame with a structure changed that stands `offset` bytes from its start.
template <typename Part, typename Change>
[[nodiscard]] Bytes changed_at(std::size_t offset, Bytes frame, Change change) {
  Part part{};
  std::memcpy(&part, frame.data() + offset, sizeof part);
  change(part);
  std::memcpy(frame.data() + offset, &part, sizeof part);
  return frame;
}
template <typename Change>
[[nodiscard]] Bytes changed_header(Bytes frame, Change change) {
  return changed_at<rm_frame_header>(0, std::move(frame), change);
}
template <typename Part, typename Change>
[[nodiscard]] Bytes changed(Bytes frame, Change change) {
  return changed_at<Part>(sizeof(rm_frame_header), std::move(frame), change);
}

/// What decoding says when the fixed part of a message's frame was changed.
template <typename Part, typename Message, typename Change>
[[nodiscard]] ErrorCode code_with(const Message& message, Change change) {
  return code_of(decode<Message>(changed<Part>(frame_of(message), change)));
}

/// Says how many bytes the frame has, as it is now.
[[nodiscard]] Bytes resized(Bytes frame);
/// Only the first bytes, which are then a whole message.
[[nodiscard]] Bytes cut(std::span<const std::byte> frame, std::size_t bytes);
/// As a sender of a newer minor may send it: a longer fixed part, more behind the end, and
/// something in what is reserved in the header. What follows the fixed part stays as it is.
[[nodiscard]] Bytes from_newer_minor(const Bytes& frame);

struct Sample {
  std::string name;
  Bytes frame;
};
/// At least one of each type.
[[nodiscard]] const std::vector<Sample>& samples();

/// Whether bytes that may be a frame are refused with a documented error, or mean what they say: as
/// a frame of our minor they come back as they were, and as one of a newer minor as one of ours.
[[nodiscard]] testing::AssertionResult is_refused_or_exact(std::span<const std::byte> bytes);

/// Decodes a frame of any type, down to the last record, and encodes what was found. So a frame of
/// our minor comes back as it was, and one of a newer minor as we would say it. Errors: the first
/// of its decoders.
[[nodiscard]] Result<Bytes> echo(std::span<const std::byte> bytes);

}  // namespace resmgr::wire::test
