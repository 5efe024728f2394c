// SPDX-License-Identifier: Apache-2.0
//
// Replies: what resmgrd answers, each with the request id of what it answers.
//
// What it is: a struct for each reply, its encoder, and its decoder, which returns nothing that is
// out of its documented range. What it is not: the fds that some bring along; they travel beside
// the frame, and the frame says how many.
//
// All encoders return the bytes of the frame. Errors of all of them: InvalidArgument (a value out
// of range, the request id is 0), CapacityExceeded (`out` is too small). Errors of all decoders:
// InvalidArgument (a frame of another type, with other fds; a part that is too short, or too long
// for its minor; a value out of range).
//
// Lifetime: texts view the caller's bytes, or those of the frame. Thread-safety: pure functions.
//
//   auto bytes = encode(refusal(error), request_id, out);
//   ...
//   auto reply = ResultReply::decode(frame);
//   if (reply && reply->error) return std::unexpected(error_of(*reply));
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "resmgr/abi/client_place.hpp"
#include "resmgr/abi/frame.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"

namespace resmgr::wire {

/// What a client maps, and where it stands there. Beside the frame travel the fds of the registry
/// region, which is read-only, and of the lock region.
struct Regions {
  ClientPlace client = {};           ///< epoch 1 and up
  std::uint64_t registry_bytes = 0;  ///< at least a region's header
  std::uint64_t lock_bytes = 0;

  [[nodiscard]] Result<void> check() const noexcept;
};
[[nodiscard]] rm_wire_regions to_wire(const Regions& regions) noexcept;
[[nodiscard]] Regions from_wire(const rm_wire_regions& regions) noexcept;

/// Answers Hello.
struct Welcome {
  Regions regions = {};
  std::uint32_t driver = 0;       ///< number of the driver that Hello named, 0 if none
  std::string_view version = {};  ///< of the daemon; printable, up to RM_WIRE_MAX_TEXT bytes

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<Welcome> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const Welcome& welcome, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

/// Answers everything that has no reply of its own, and whatever was refused.
struct ResultReply {
  std::optional<ErrorCode> error = {};   ///< none: done. A newer minor's we don't know: System
  std::uint32_t system_errno = 0;        ///< behind an error; up to 4095
  std::array<std::uint64_t, 2> value{};  ///< by request; of an error: requested, available
  std::string_view text =
      {};               ///< what was tried, and why not; printable, up to RM_WIRE_MAX_TEXT bytes
  bool has_fd = false;  ///< of OpenFd; never with an error

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<ResultReply> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const ResultReply& reply, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;
/// An error as a reply: code, errno, amounts, and as much of its explanation as has room. The text
/// views the error.
[[nodiscard]] ResultReply refusal(const Error& error) noexcept;
/// The error of a reply, whose text becomes the detail. REQUIRES: there is one.
[[nodiscard]] Error error_of(const ResultReply& reply);

/// What became of one record of a batch.
struct RegistrationOutcome {
  std::optional<ErrorCode> error = {};  ///< as in ResultReply
  Handle handle = {};                   ///< null with an error, and with that alone

  friend bool operator==(const RegistrationOutcome&, const RegistrationOutcome&) = default;
};

/// Answers a batch of registrations; made by encode() below.
class RegisteredReply {
 public:
  [[nodiscard]] static Result<RegisteredReply> decode(const Frame& frame) noexcept;

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  /// What became of a record, in the order of the request. REQUIRES: index < count().
  [[nodiscard]] RegistrationOutcome at(std::uint32_t index) const noexcept;

 private:
  [[nodiscard]] rm_wire_registered_item item(std::size_t index) const noexcept;

  std::span<const std::byte> items_;
  std::size_t item_bytes_ = 0;
  std::uint32_t count_ = 0;
  bool newer_ = false;
};
[[nodiscard]] Result<std::size_t> encode(std::span<const RegistrationOutcome> outcomes,
                                         std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

}  // namespace resmgr::wire
