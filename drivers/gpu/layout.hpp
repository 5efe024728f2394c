// SPDX-License-Identifier: Apache-2.0
//
// Layout: the sizes of a buffer, computed and checked in one place.
//
// What it is: what is asked for (BufferSpec) and what comes of it (BufferLayout). What it is not:
// memory. Lifetime and thread-safety: plain values.
//
//   BufferLayout layout = compute_layout({.width = 1920, .height = 1080}).value();   // 7680 a line
#pragma once

#include <cstdint>

#include <hal/resource.hpp>

#include "drivers/gpu/format.hpp"

namespace drivers::gpu {

/// What a buffer may be used for. Bit set; each has one effect.
enum class BufferUsage : std::uint32_t {
  None = 0,
  CpuRead = 1u << 0,   ///< begin_cpu_access for reading and map_read are allowed
  CpuWrite = 1u << 1,  ///< begin_cpu_access for writing and map are allowed
  Export = 1u << 2,    ///< export_fd is allowed
  Prefault = 1u << 3,  ///< mapping brings in all pages, so that the first access doesn't fault
};
inline constexpr std::uint32_t kKnownBufferUsage = 0xf;

[[nodiscard]] constexpr BufferUsage operator|(BufferUsage a, BufferUsage b) noexcept {
  return static_cast<BufferUsage>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr bool has_any(BufferUsage set, BufferUsage flags) noexcept {
  return (static_cast<std::uint32_t>(set) & static_cast<std::uint32_t>(flags)) != 0;
}

struct BufferSpec {
  std::uint32_t width = 0;   ///< pixels, 1 to kMaxSide
  std::uint32_t height = 0;  ///< lines, 1 to kMaxSide
  std::uint32_t format = fourcc('X', 'R', '2', '4');
  BufferUsage usage = BufferUsage::CpuRead | BufferUsage::CpuWrite;
  /// Bytes from one line to the next. 0: the least multiple of kStrideAlignment that fits.
  std::uint32_t stride = 0;
};

inline constexpr std::uint32_t kMaxSide = 1u << 14;
inline constexpr std::uint32_t kStrideAlignment = 64;  // a cache line; no GPU asks for less
inline constexpr std::uint64_t kMaxBufferBytes = std::uint64_t{1} << 30;

struct BufferLayout {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  Format format{};
  BufferUsage usage = BufferUsage::None;
  std::uint32_t stride = 0;
  std::uint64_t size_bytes = 0;  ///< stride times height
};

/// Errors: InvalidArgument (a side of 0 or above kMaxSide, a format that is not in the table,
/// unknown usage flags, neither reading nor writing nor exporting, a stride in which a line does
/// not fit, more than kMaxBufferBytes).
[[nodiscard]] hal::Result<BufferLayout> compute_layout(const BufferSpec& spec) noexcept;

}  // namespace drivers::gpu
