// SPDX-License-Identifier: Apache-2.0
//
// Frames: one message of the wire, taken apart and checked as far as all messages are alike.
//
// What it is: the first step of decoding. The structs of requests.hpp, registration.hpp,
// replies.hpp and events.hpp do the second one. What it is not: a socket; nor a judge of what the
// sender may ask for.
//
// Lifetime: a frame views the bytes it was read from, which must stay as they are meanwhile (bytes
// in memory that others write are copied first). Thread-safety: pure functions and plain values.
//
//   auto frame = read_frame(bytes);
//   if (!frame) return refuse(request_id_of(bytes), frame.error());
//   switch (frame->type) {
//     case FrameType::Share:
//       return serve(ShareRequest::decode(*frame));
//     ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/abi/wire.h"
#include "resmgr/base/error.hpp"

namespace resmgr::wire {

enum class FrameType : std::uint16_t {
  Hello = RM_WIRE_HELLO,
  Register = RM_WIRE_REGISTER,
  BeginUnregister = RM_WIRE_BEGIN_UNREGISTER,
  FinishUnregister = RM_WIRE_FINISH_UNREGISTER,
  CancelUnregister = RM_WIRE_CANCEL_UNREGISTER,
  Share = RM_WIRE_SHARE,
  Unshare = RM_WIRE_UNSHARE,
  AddDependency = RM_WIRE_ADD_DEPENDENCY,
  RemoveDependency = RM_WIRE_REMOVE_DEPENDENCY,
  SetState = RM_WIRE_SET_STATE,
  OpenFd = RM_WIRE_OPEN_FD,
  InternDriver = RM_WIRE_INTERN_DRIVER,
  Ping = RM_WIRE_PING,
  Goodbye = RM_WIRE_GOODBYE,
  Emergency = RM_WIRE_EMERGENCY,
  Repair = RM_WIRE_REPAIR,
  Unpoison = RM_WIRE_UNPOISON,
  Drain = RM_WIRE_DRAIN,
  CancelDrain = RM_WIRE_CANCEL_DRAIN,
  SetBudget = RM_WIRE_SET_BUDGET,
  Draw = RM_WIRE_DRAW,
  ReturnCredits = RM_WIRE_RETURN_CREDITS,
  Need = RM_WIRE_NEED,
  Welcome = RM_WIRE_WELCOME,
  Result = RM_WIRE_RESULT,
  Registered = RM_WIRE_REGISTERED,
  Quiesce = RM_WIRE_QUIESCE,
  Orphaned = RM_WIRE_ORPHANED,
  OwnerDied = RM_WIRE_OWNER_DIED,
  Epoch = RM_WIRE_EPOCH,
  Closing = RM_WIRE_CLOSING,
  Missed = RM_WIRE_MISSED,
  Yield = RM_WIRE_YIELD,
  Reclaim = RM_WIRE_RECLAIM,
  Pressure = RM_WIRE_PRESSURE,
};

/// What a message is refused with that says what it can't: InvalidArgument.
[[nodiscard]] inline std::unexpected<Error> out_of_range(const char* what) noexcept {
  return fail(ErrorCode::InvalidArgument, what);
}

/// Who sends a frame of that type, and when.
enum class FrameKind : std::uint16_t {
  Request = RM_WIRE_REQUEST,  ///< a client
  Reply = RM_WIRE_REPLY,      ///< resmgrd, once for each request
  Event = RM_WIRE_EVENT,      ///< resmgrd, unasked
};
[[nodiscard]] constexpr FrameKind kind_of(FrameType type) noexcept {
  return static_cast<FrameKind>(static_cast<std::uint16_t>(type) >> RM_WIRE_KIND_SHIFT);
}

struct Frame {
  FrameType type{};
  std::uint16_t minor = 0;              ///< the sender's
  std::uint16_t fds = 0;                ///< how many must have come beside
  std::uint64_t request_id = 0;         ///< of a request and its reply; of an event 0
  std::span<const std::byte> fixed;     ///< the fixed part
  std::span<const std::byte> variable;  ///< what follows it

  /// Whether the sender may have said more than we understand.
  [[nodiscard]] bool is_newer() const noexcept { return minor > RM_WIRE_MINOR; }
};

/// Checks one whole message. Errors: InvalidArgument (not a frame, of another size than it says,
/// over RM_WIRE_MAX_FRAME, an unknown type or flag of our minor or an older one, a request id where
/// none belongs, or none), VersionMismatch (another major; names both versions), Unsupported (an
/// unknown type of a newer minor: to be skipped, and answered if it is a request).
[[nodiscard]] Result<Frame> read_frame(std::span<const std::byte> bytes);

/// Whom a refusal is for: the request id of bytes that read_frame() refused, 0 if there is none.
[[nodiscard]] std::uint64_t request_id_of(std::span<const std::byte> bytes) noexcept;

}  // namespace resmgr::wire
