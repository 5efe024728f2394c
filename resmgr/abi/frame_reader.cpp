// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/frame_reader.hpp"

#include <algorithm>

namespace resmgr::wire {

FrameReader::FrameReader(const Frame& frame, std::initializer_list<FrameType> types) noexcept
    : frame_(&frame), rest_(frame.variable) {
  require(std::ranges::find(types, frame.type) != types.end(), "frame of another type");
}

std::span<const std::byte> FrameReader::take(std::size_t bytes) noexcept {
  require(bytes <= rest_.size(), "frame too short");
  if (mistake_ != nullptr) return {};
  const auto taken = rest_.first(bytes);
  rest_ = rest_.subspan(bytes);
  return taken;
}

std::string_view FrameReader::text(std::size_t bytes) noexcept {
  const auto taken = take(bytes);
  return {reinterpret_cast<const char*>(taken.data()), taken.size()};
}

Result<void> FrameReader::finish() noexcept {
  require(frame_->fds == fds_ || (frame_->fds > fds_ && frame_->is_newer()),
          "descriptors beside a frame");
  require(rest_.empty() || frame_->is_newer(), "bytes behind the end of a message");
  if (mistake_ != nullptr) return fail(ErrorCode::InvalidArgument, mistake_);
  return {};
}

bool FrameReader::is_zero(std::span<const std::byte> bytes) noexcept {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace resmgr::wire
