// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/layout.hpp"

#include <limits>

namespace drivers::gpu {
namespace {

using hal::ErrorCode;
using resmgr::fail;

}  // namespace

hal::Result<BufferLayout> compute_layout(const BufferSpec& spec) noexcept {
  if (spec.width == 0 || spec.width > kMaxSide || spec.height == 0 || spec.height > kMaxSide) {
    return fail(ErrorCode::InvalidArgument, "buffer: width or height");
  }
  const Format* format = find_format(spec.format);
  if (!format) return fail(ErrorCode::InvalidArgument, "buffer: unknown format");
  const auto usage = static_cast<std::uint32_t>(spec.usage);
  if ((usage & ~kKnownBufferUsage) != 0) {
    return fail(ErrorCode::InvalidArgument, "buffer: unknown usage");
  }
  if (!has_any(spec.usage, BufferUsage::CpuRead | BufferUsage::CpuWrite | BufferUsage::Export)) {
    return fail(ErrorCode::InvalidArgument, "buffer: nobody could use it");
  }

  const std::uint64_t line = std::uint64_t{spec.width} * format->bytes_per_pixel;
  std::uint64_t stride = spec.stride;
  if (stride == 0) stride = (line + kStrideAlignment - 1) / kStrideAlignment * kStrideAlignment;
  if (stride < line || stride > std::numeric_limits<std::uint32_t>::max()) {
    return fail(ErrorCode::InvalidArgument, "buffer: a line does not fit into the stride");
  }
  std::uint64_t size = 0;
  if (__builtin_mul_overflow(stride, std::uint64_t{spec.height}, &size) || size > kMaxBufferBytes) {
    return fail(ErrorCode::InvalidArgument, "buffer: too large");
  }
  return BufferLayout{.width = spec.width,
                      .height = spec.height,
                      .format = *format,
                      .usage = spec.usage,
                      .stride = static_cast<std::uint32_t>(stride),
                      .size_bytes = size};
}

}  // namespace drivers::gpu
