// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/text_buffer.hpp"

#include <charconv>
#include <cstring>

namespace resmgr::daemon {
namespace {

constexpr std::string_view kCutMark = "...";
constexpr std::size_t kEndRoom = kCutMark.size() + 1;  // and the line break

constexpr bool is_printable(char byte) noexcept { return byte >= ' ' && byte <= '~'; }

}  // namespace

TextBuffer& TextBuffer::add(std::string_view known) noexcept {
  if (is_cut_) return *this;
  if (has_room(known.size())) {
    put(known);
  } else {
    put(known.substr(0, kMaxBytes - kEndRoom - size_));
    cut();
  }
  return *this;
}

TextBuffer& TextBuffer::add(std::uint64_t number) noexcept {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  return add(std::string_view(digits.data(), end));
}

TextBuffer& TextBuffer::add_escaped(std::string_view any) noexcept {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char byte : any) {
    if (is_cut_) return *this;
    const auto value = static_cast<unsigned char>(byte);
    const std::array<char, 4> escaped{'\\', 'x', kDigits[value >> 4], kDigits[value & 15]};
    const std::string_view shown = is_printable(byte)
                                       ? std::string_view(&byte, 1)
                                       : std::string_view(escaped.data(), escaped.size());
    // An escape is never cut in its middle.
    if (has_room(shown.size())) {
      put(shown);
    } else {
      cut();
    }
  }
  return *this;
}

std::string_view TextBuffer::line() noexcept {
  bytes_[size_] = '\n';
  return {bytes_.data(), size_ + 1};
}

bool TextBuffer::has_room(std::size_t bytes) const noexcept {
  return bytes <= kMaxBytes - kEndRoom - size_;
}

void TextBuffer::put(std::string_view bytes) noexcept {
  std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void TextBuffer::cut() noexcept {
  put(kCutMark);
  is_cut_ = true;
}

}  // namespace resmgr::daemon
