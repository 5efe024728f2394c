// SPDX-License-Identifier: Apache-2.0
//
// Pixel formats that buffers can have, in one visible table.
//
// What it is: fourcc codes as in drm_fourcc.h with the bytes that a pixel takes. Formats of one
// plane whose pixels are whole bytes. What it is not: a converter. Thread-safety: constants.
//
//   const Format* format = find_format(fourcc('X', 'R', '2', '4'));
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace drivers::gpu {

[[nodiscard]] constexpr std::uint32_t fourcc(char a, char b, char c, char d) noexcept {
  const auto byte = [](char letter) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(letter));
  };
  return byte(a) | byte(b) << 8 | byte(c) << 16 | byte(d) << 24;
}

struct Format {
  std::uint32_t code;  ///< fourcc
  std::uint32_t bytes_per_pixel;
  std::string_view description;  ///< components, from the highest bit of a pixel to the lowest
};

[[nodiscard]] std::span<const Format> formats() noexcept;
/// Null for a code that is not in the table.
[[nodiscard]] const Format* find_format(std::uint32_t code) noexcept;
/// The four letters; others than printable ASCII become '?'.
[[nodiscard]] std::string format_name(std::uint32_t code);

}  // namespace drivers::gpu
