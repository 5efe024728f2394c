// SPDX-License-Identifier: Apache-2.0
//
// FrameReader: takes a frame's parts out, one after the other.
//
// What it is: the sizes of the parts, and the rule of versions: of a newer minor what is too much
// is left alone, of any other it is a mistake. What it is not: a judge of values; the messages
// check themselves afterwards. The first mistake is kept, and finish() tells it; what is read after
// it is empty or zero. Lifetime: borrows the frame; texts view its bytes. Thread-safety: as a plain
// value.
//
//   FrameReader reader(frame, {FrameType::InternDriver});
//   const auto part = reader.fixed<rm_wire_intern_driver>();
//   const std::string_view driver = reader.text(part.driver_bytes);
//   if (auto ok = reader.finish(); !ok) return std::unexpected(std::move(ok.error()));
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "resmgr/abi/frame.hpp"
#include "resmgr/base/error.hpp"

namespace resmgr::wire {

/// Copies the beginning of `bytes` into a T; what is missing stays zero.
template <typename T>
[[nodiscard]] T load_prefix(std::span<const std::byte> bytes) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  T part{};
  if (!bytes.empty()) std::memcpy(&part, bytes.data(), std::min(bytes.size(), sizeof part));
  return part;
}

class FrameReader {
 public:
  /// Mistakes: a type that is none of `types`.
  FrameReader(const Frame& frame, std::initializer_list<FrameType> types) noexcept;

  /// The fixed part; `least` is what the first minor had of it, and what it lacks beyond is zero.
  template <typename T>
  [[nodiscard]] T fixed(std::size_t least = sizeof(T)) noexcept {
    const std::size_t bytes = frame_->fixed.size();
    require(bytes >= least, "fixed part too short");
    require(bytes <= sizeof(T) || frame_->is_newer(), "fixed part too long");
    return mistake_ == nullptr ? load_prefix<T>(frame_->fixed) : T{};
  }
  /// For types without a fixed part.
  void no_fixed() noexcept {
    require(frame_->fixed.empty() || frame_->is_newer(), "fixed part too long");
  }
  /// The next bytes of what varies.
  [[nodiscard]] std::span<const std::byte> take(std::size_t bytes) noexcept;
  [[nodiscard]] std::string_view text(std::size_t bytes) noexcept;
  /// All that follows.
  [[nodiscard]] std::span<const std::byte> take_rest() noexcept { return take(rest_.size()); }

  /// Notes a mistake unless `sound`. `complaint` must have static storage.
  void require(bool sound, const char* complaint) noexcept {
    if (!sound && mistake_ == nullptr) mistake_ = complaint;
  }
  /// Reserved bytes are zero, unless a newer minor knows better.
  template <typename T>
  void require_zero(const T& reserved) noexcept {
    require(frame_->is_newer() || is_zero(std::as_bytes(std::span(&reserved, 1))),
            "reserved bytes of a frame");
  }
  /// How many descriptors travel beside the frame; not said: none.
  void needs_fds(std::uint16_t fds) noexcept { fds_ = fds; }
  /// Whether all was well, and nothing is left over or beside. Errors: InvalidArgument.
  [[nodiscard]] Result<void> finish() noexcept;

  /// finish(), then the message's check(): what a decoder returns. Errors: InvalidArgument, those
  /// of check().
  template <typename Message>
  [[nodiscard]] Result<Message> finish_with(const Message& message) noexcept {
    if (auto ok = finish(); !ok) return std::unexpected(std::move(ok.error()));
    if (auto ok = message.check(); !ok) return std::unexpected(std::move(ok.error()));
    return message;
  }

  [[nodiscard]] static bool is_zero(std::span<const std::byte> bytes) noexcept;

 private:
  const Frame* frame_;
  std::span<const std::byte> rest_;
  std::uint16_t fds_ = 0;
  const char* mistake_ = nullptr;
};

}  // namespace resmgr::wire
