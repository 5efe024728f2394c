// SPDX-License-Identifier: Apache-2.0
//
// Requests: what a client asks of resmgrd, except for registrations (registration.hpp).
//
// What it is: a struct for each request, its encoder, and its decoder, which returns nothing that
// is out of its documented range. What it is not: permission, nor a judge of handles: any bits are
// a handle here, and StaleHandle is the registry's answer.
//
// check() says what an encoder would refuse and a decoder does. All encoders return the bytes of
// the frame. Errors of all of them: InvalidArgument (a value out of range, the request id is 0),
// InvalidName (of a driver), CapacityExceeded (`out` is too small). Errors of all decoders:
// InvalidArgument (a frame of another type; a part that is too short, or too long for its minor; a
// value out of range), InvalidName (of a driver).
//
// Lifetime: texts view the caller's bytes, or those of the frame. Thread-safety: pure functions.
//
//   std::array<std::byte, 256> out;
//   auto bytes = encode(ShareRequest{.handle = handle, .driver = "dma-edu", .rights = rights}, 7,
//   out);
//   ...
//   auto request = ShareRequest::decode(frame);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "resmgr/abi/client_place.hpp"
#include "resmgr/abi/frame.hpp"
#include "resmgr/abi/layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::wire {

/// The first frame of a connection. Whether the layout is one that the regions have is for the
/// receiver to see.
struct Hello {
  ClientPlace before = {};     ///< in the connection before
  std::uint32_t features = 0;  ///< RM_WIRE_FEATURE_*; those we don't know are left out
  std::uint16_t layout_major = RM_LAYOUT_MAJOR;
  std::uint16_t layout_minor = RM_LAYOUT_MINOR;
  std::string_view driver = {};  ///< empty: none named

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<Hello> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const Hello& hello, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

enum class UnregisterStep : std::uint16_t {
  Begin = RM_WIRE_BEGIN_UNREGISTER,
  Finish = RM_WIRE_FINISH_UNREGISTER,
  Cancel = RM_WIRE_CANCEL_UNREGISTER,
};
struct UnregisterRequest {
  UnregisterStep step = UnregisterStep::Begin;
  Handle handle = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<UnregisterRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const UnregisterRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

enum class ShareChange : std::uint16_t { Share = RM_WIRE_SHARE, Unshare = RM_WIRE_UNSHARE };
struct ShareRequest {
  ShareChange change = ShareChange::Share;
  Handle handle = {};
  std::uint32_t driver_id = 0;   ///< below RM_MAX_DRIVERS; or
  std::string_view driver = {};  ///< its name: one of the two is given
  /// Share: given besides those that are there, at least one. Unshare: at least one, and all are
  /// taken.
  Rights rights = Rights::None;
  /// By an operator, in the owner's name. Unshare then needs no driver, and is with all.
  bool as_operator = false;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<ShareRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const ShareRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

enum class DependencyChange : std::uint16_t {
  Add = RM_WIRE_ADD_DEPENDENCY,
  Remove = RM_WIRE_REMOVE_DEPENDENCY,
};
/// `from` needs `to`.
struct DependencyRequest {
  DependencyChange change = DependencyChange::Add;
  Handle from = {};
  Handle to = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<DependencyRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const DependencyRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

struct SetStateRequest {
  Handle handle = {};
  /// Ready: a lazy resource has its memory, or one that was to be quiesced is quiet. Quarantined:
  /// it could not be quiesced.
  Lifecycle state = Lifecycle::Ready;
  bool has_fd = false;                  ///< the memory's travels beside the frame; with Ready alone
  std::uint32_t attempt = 0;            ///< the QuiesceEvent that this answers; 0: none
  std::optional<ErrorCode> error = {};  ///< why it could not be quiesced; with Quarantined alone

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<SetStateRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const SetStateRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

/// A wait that goes on in an emergency.
struct EmergencyRequest {
  Handle handle = {};
  std::uint64_t sequence = 0;   ///< of its node
  std::uint64_t yield_ns = 0;   ///< how long holders are given
  std::uint32_t node_link = 0;  ///< not 0
  std::uint16_t context = 0;    ///< not 0

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<EmergencyRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const EmergencyRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

struct OpenFdRequest {
  Handle handle = {};            ///< null: the lock region, read-only, opened for this client alone
  Rights rights = Rights::Read;  ///< Read, Write or both

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<OpenFdRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const OpenFdRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

struct InternDriverRequest {
  std::string_view driver = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<InternDriverRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const InternDriverRequest& request,
                                         std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

/// Requests that are their type and nothing else.
enum class Signal : std::uint16_t { Ping = RM_WIRE_PING, Goodbye = RM_WIRE_GOODBYE };
struct SignalRequest {
  Signal signal = Signal::Ping;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<SignalRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const SignalRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

// ---- of operators alone -------------------------------------------------------------------------

enum class Remedy : std::uint16_t { Repair = RM_WIRE_REPAIR, Unpoison = RM_WIRE_UNPOISON };
/// Something is to be done for one resource.
struct RemedyRequest {
  Remedy remedy = Remedy::Repair;
  Handle handle = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<RemedyRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const RemedyRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

enum class DrainStep : std::uint16_t { Begin = RM_WIRE_DRAIN, Cancel = RM_WIRE_CANCEL_DRAIN };
struct DrainRequest {
  DrainStep step = DrainStep::Begin;
  std::string_view driver = {};

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<DrainRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const DrainRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

}  // namespace resmgr::wire
