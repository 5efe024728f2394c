// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/frame_writer.hpp"

#include <algorithm>
#include <cstring>

namespace resmgr::wire {

FrameWriter::FrameWriter(std::span<std::byte> out, FrameType type, std::uint64_t request_id,
                         std::uint16_t fds) noexcept
    : out_(out.first(std::min<std::size_t>(out.size(), RM_WIRE_MAX_FRAME))),
      header_{.magic = RM_WIRE_MAGIC,
              .major = RM_WIRE_MAJOR,
              .minor = RM_WIRE_MINOR,
              .type = static_cast<std::uint16_t>(type),
              .flags = 0,
              .fixed_bytes = 0,
              .fds = fds,
              .frame_bytes = 0,
              .reserved = 0,
              .request_id = request_id} {}

void FrameWriter::pad() noexcept {
  constexpr std::uint64_t kZeros = 0;
  append_bytes(&kZeros, (0 - used_) % sizeof kZeros);
}

Result<std::size_t> FrameWriter::finish() noexcept {
  if (mistake_) return std::unexpected(std::move(*mistake_));
  const bool is_event = kind_of(static_cast<FrameType>(header_.type)) == FrameKind::Event;
  if (is_event != (header_.request_id == 0)) {
    return fail(ErrorCode::InvalidArgument, "request id of a frame");
  }
  if (used_ > out_.size()) {
    Error error(ErrorCode::CapacityExceeded, "buffer of a frame");
    error.with_amounts(used_, out_.size());
    return std::unexpected(std::move(error));
  }
  header_.frame_bytes = static_cast<std::uint32_t>(used_);
  write(0, &header_, sizeof header_);
  return used_;
}

void FrameWriter::append_bytes(const void* bytes, std::size_t count) noexcept {
  write(used_, bytes, count);
  used_ += count;
}

void FrameWriter::write(std::size_t place, const void* bytes, std::size_t count) noexcept {
  if (count == 0 || place > out_.size() || count > out_.size() - place) return;
  std::memcpy(out_.data() + place, bytes, count);
}

}  // namespace resmgr::wire
