// SPDX-License-Identifier: Apache-2.0
//
// FrameWriter: puts a frame together.
//
// What it is: the order of the parts, the lengths, and the header. What it is not: a check of what
// is written; the messages know what they may say. The first mistake is kept, and finish() tells
// it; the buffer then holds no frame. Lifetime: borrows the buffer. Thread-safety: as a plain
// value.
//
//   FrameWriter writer(out, FrameType::InternDriver, request_id);
//   writer.require(request.check());
//   writer.fixed(rm_wire_intern_driver{...});
//   writer.text("dma-edu");
//   return writer.finish();   // bytes of the frame
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "resmgr/abi/frame.hpp"
#include "resmgr/base/error.hpp"

namespace resmgr::wire {

/// The request id of an event.
inline constexpr std::uint64_t kNoRequest = 0;

class FrameWriter {
 public:
  FrameWriter(std::span<std::byte> out, FrameType type, std::uint64_t request_id,
              std::uint16_t fds = 0) noexcept;

  /// Notes a mistake, if `sound` is one.
  void require(Result<void> sound) noexcept {
    if (!sound && !mistake_) mistake_ = std::move(sound.error());
  }
  /// The fixed part, once and first. Types without one leave it out.
  template <typename T>
  void fixed(const T& part) noexcept {
    static_assert(sizeof(T) % 8 == 0);
    header_.fixed_bytes = sizeof part;
    append(part);
  }
  /// The next part of what varies.
  template <typename T>
  void append(const T& part) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    append_bytes(&part, sizeof part);
  }
  void text(std::string_view text) noexcept { append_bytes(text.data(), text.size()); }
  /// Zeros up to the next multiple of 8 bytes.
  void pad() noexcept;

  /// Writes another fixed part of the same size over the first.
  template <typename T>
  void replace_fixed(const T& part) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    write(sizeof header_, &part, sizeof part);
  }
  void set_fds(std::uint16_t fds) noexcept { header_.fds = fds; }

  /// Bytes so far, header included; more than there is room for, if it did not fit.
  [[nodiscard]] std::size_t size() const noexcept { return used_; }
  /// Bytes that still fit.
  [[nodiscard]] std::size_t room() const noexcept {
    return used_ < out_.size() ? out_.size() - used_ : 0;
  }
  /// Writes the header. Returns the bytes of the frame. Errors: a mistake, CapacityExceeded (the
  /// buffer, or what a frame may have, is smaller; see requested() and available()),
  /// InvalidArgument (the request id of an event is 0, that of anything else is not).
  [[nodiscard]] Result<std::size_t> finish() noexcept;

 private:
  void append_bytes(const void* bytes, std::size_t count) noexcept;
  void write(std::size_t place, const void* bytes, std::size_t count) noexcept;

  std::span<std::byte> out_;
  std::size_t used_ = sizeof(rm_frame_header);
  rm_frame_header header_;
  std::optional<Error> mistake_;
};

}  // namespace resmgr::wire
