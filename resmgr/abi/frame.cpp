// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/frame.hpp"

#include <cstring>

#include "resmgr/abi/version.hpp"

namespace resmgr::wire {
namespace {

/// Magic and version, which all majors have in the same places.
constexpr std::size_t kLastingBytes = offsetof(rm_frame_header, type);

bool is_known(FrameType type) noexcept {
  switch (type) {
    case FrameType::Hello:
    case FrameType::Register:
    case FrameType::BeginUnregister:
    case FrameType::FinishUnregister:
    case FrameType::CancelUnregister:
    case FrameType::Share:
    case FrameType::Unshare:
    case FrameType::AddDependency:
    case FrameType::RemoveDependency:
    case FrameType::SetState:
    case FrameType::OpenFd:
    case FrameType::InternDriver:
    case FrameType::Ping:
    case FrameType::Goodbye:
    case FrameType::Emergency:
    case FrameType::Repair:
    case FrameType::Unpoison:
    case FrameType::Drain:
    case FrameType::CancelDrain:
    case FrameType::SetBudget:
    case FrameType::Draw:
    case FrameType::ReturnCredits:
    case FrameType::Need:
    case FrameType::Welcome:
    case FrameType::Result:
    case FrameType::Registered:
    case FrameType::Quiesce:
    case FrameType::Orphaned:
    case FrameType::OwnerDied:
    case FrameType::Epoch:
    case FrameType::Closing:
    case FrameType::Missed:
    case FrameType::Yield:
    case FrameType::Reclaim:
    case FrameType::Pressure:
      return true;
  }
  return false;
}

std::unexpected<Error> malformed(const char* what) noexcept {
  return fail(ErrorCode::InvalidArgument, what);
}

}  // namespace

Result<Frame> read_frame(std::span<const std::byte> bytes) {
  rm_frame_header header{};
  if (bytes.size() < kLastingBytes) return malformed("message too short for a frame");
  std::memcpy(&header, bytes.data(), kLastingBytes);
  if (header.magic != RM_WIRE_MAGIC) return malformed("not a frame");
  if (header.major != RM_WIRE_MAJOR) {
    return std::unexpected(version_mismatch("frame", "the other side speaks wire version",
                                            {header.major, header.minor},
                                            {RM_WIRE_MAJOR, RM_WIRE_MINOR}));
  }
  if (bytes.size() < sizeof header) return malformed("message too short for a frame");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.frame_bytes != bytes.size()) return malformed("frame of another size than it says");
  if (bytes.size() > RM_WIRE_MAX_FRAME) return malformed("frame over 64 KiB");
  const auto body = bytes.subspan(sizeof header);
  if (header.fixed_bytes % 8 != 0 || header.fixed_bytes > body.size()) {
    return malformed("fixed part of an impossible size");
  }
  if (header.fds > RM_WIRE_MAX_FDS) return malformed("more descriptors than travel with a frame");

  const Frame frame{.type = static_cast<FrameType>(header.type),
                    .minor = header.minor,
                    .fds = header.fds,
                    .request_id = header.request_id,
                    .fixed = body.first(header.fixed_bytes),
                    .variable = body.subspan(header.fixed_bytes)};
  if (!is_known(frame.type)) {
    return fail(frame.is_newer() ? ErrorCode::Unsupported : ErrorCode::InvalidArgument,
                "unknown type of frame");
  }
  if (!frame.is_newer() && (header.flags != 0 || header.reserved != 0)) {
    return malformed("unknown flags of a frame");
  }
  if ((kind_of(frame.type) == FrameKind::Event) != (frame.request_id == 0)) {
    return malformed("request id of a frame");
  }
  return frame;
}

std::uint64_t request_id_of(std::span<const std::byte> bytes) noexcept {
  rm_frame_header header{};
  if (bytes.size() < sizeof header) return 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const bool ours = header.magic == RM_WIRE_MAGIC && header.major == RM_WIRE_MAJOR;
  return ours ? header.request_id : 0;
}

}  // namespace resmgr::wire
