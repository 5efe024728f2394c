// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/format.hpp"

#include <algorithm>
#include <array>

namespace drivers::gpu {
namespace {

constexpr std::array kFormats = {
    Format{fourcc('R', '8', ' ', ' '), 1, "8 red"},
    Format{fourcc('R', 'G', '1', '6'), 2, "5 red, 6 green, 5 blue"},
    Format{fourcc('R', 'G', '2', '4'), 3, "8 red, 8 green, 8 blue"},
    Format{fourcc('X', 'R', '2', '4'), 4, "8 unused, 8 red, 8 green, 8 blue"},
    Format{fourcc('A', 'R', '2', '4'), 4, "8 alpha, 8 red, 8 green, 8 blue"},
    Format{fourcc('X', 'B', '2', '4'), 4, "8 unused, 8 blue, 8 green, 8 red"},
    Format{fourcc('A', 'B', '2', '4'), 4, "8 alpha, 8 blue, 8 green, 8 red"},
    Format{fourcc('X', 'R', '3', '0'), 4, "2 unused, 10 red, 10 green, 10 blue"},
    Format{fourcc('A', 'B', '4', 'H'), 8, "16 alpha, 16 blue, 16 green, 16 red, half floats"},
};

}  // namespace

std::span<const Format> formats() noexcept { return kFormats; }

const Format* find_format(std::uint32_t code) noexcept {
  const auto* const found = std::ranges::find(kFormats, code, &Format::code);
  return found == kFormats.end() ? nullptr : found;
}

std::string format_name(std::uint32_t code) {
  std::string name;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    const auto letter = static_cast<unsigned char>(code >> shift);
    name += letter >= ' ' && letter <= '~' ? static_cast<char>(letter) : '?';
  }
  return name;
}

}  // namespace drivers::gpu
