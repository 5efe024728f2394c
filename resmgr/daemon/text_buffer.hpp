// SPDX-License-Identifier: Apache-2.0
//
// TextBuffer: a short text for an operator's eyes, put together without allocating.
//
// What it is: at most 4,096 bytes, its end included, which a pipe takes whole or not at all. What a
// peer had a hand in goes through `add_escaped`, so that it can't begin a line of its own, move the
// cursor, or pass for other letters. What is too long is cut, and ends in "...". What it is not: a
// way back: escapes are for reading, `\x0a` in a text looks as an escaped line break does.
// Thread-safety: a plain value.
//
//   TextBuffer text;
//   text.add("refused ").add_escaped(name_from_peer);
//   write(fd, text.line());
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace resmgr::daemon {

class TextBuffer {
 public:
  /// PIPE_BUF on Linux.
  static constexpr std::size_t kMaxBytes = 4096;

  /// Bytes that are known to be harmless; used as they are.
  TextBuffer& add(std::string_view known) noexcept;
  TextBuffer& add(std::uint64_t number) noexcept;
  /// Any bytes: all that is not printable ASCII becomes \xNN.
  TextBuffer& add_escaped(std::string_view any) noexcept;

  /// What was added; valid until the next call.
  [[nodiscard]] std::string_view text() const noexcept { return {bytes_.data(), size_}; }
  /// The same, ended by a line break.
  [[nodiscard]] std::string_view line() noexcept;

 private:
  [[nodiscard]] bool has_room(std::size_t bytes) const noexcept;
  void put(std::string_view bytes) noexcept;
  void cut() noexcept;

  std::array<char, kMaxBytes> bytes_{};
  std::size_t size_ = 0;
  bool is_cut_ = false;
};

}  // namespace resmgr::daemon
