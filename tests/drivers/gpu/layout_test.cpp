// SPDX-License-Identifier: Apache-2.0
#include "drivers/gpu/layout.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <set>
#include <string>

#include "drivers/gpu/format.hpp"

namespace drivers::gpu::test {
namespace {

using hal::ErrorCode;

constexpr std::uint32_t kXr24 = fourcc('X', 'R', '2', '4');

TEST(Formats, AreListedOnceWithTheirSizes) {
  EXPECT_EQ(kXr24, 0x34325258u) << "as in drm_fourcc.h";
  std::set<std::uint32_t> codes;
  for (const Format& format : formats()) {
    EXPECT_TRUE(codes.insert(format.code).second) << format_name(format.code);
    EXPECT_GT(format.bytes_per_pixel, 0u);
    EXPECT_FALSE(format.description.empty());
    EXPECT_EQ(find_format(format.code), &format);
  }
  EXPECT_EQ(find_format(kXr24)->bytes_per_pixel, 4u);
  EXPECT_EQ(find_format(fourcc('R', 'G', '2', '4'))->bytes_per_pixel, 3u);
  for (const std::uint32_t code : {0u, 1u, kXr24 + 1, ~0u, fourcc('x', 'r', '2', '4')}) {
    EXPECT_EQ(find_format(code), nullptr);
  }
}

TEST(Formats, HavePrintableNames) {
  EXPECT_EQ(format_name(kXr24), "XR24");
  EXPECT_EQ(format_name(fourcc('R', '8', ' ', ' ')), "R8  ");
  EXPECT_EQ(format_name(0x0aff0758u), "X???");
}

TEST(Layout, StridesAreMultiplesOf64ThatFit) {
  for (const Format& format : formats()) {
    for (const std::uint32_t width : {1u, 15u, 16u, 17u, 63u, 64u, 65u, 640u, 1921u, kMaxSide}) {
      const auto layout = compute_layout({.width = width, .height = 3, .format = format.code});
      ASSERT_TRUE(layout);
      const std::uint32_t line = width * format.bytes_per_pixel;
      EXPECT_EQ(layout->stride % kStrideAlignment, 0u);
      EXPECT_GE(layout->stride, line);
      EXPECT_LT(layout->stride, line + kStrideAlignment) << "no wider than needed";
      EXPECT_EQ(layout->size_bytes, std::uint64_t{layout->stride} * 3);
      EXPECT_EQ(layout->width, width);
      EXPECT_EQ(layout->height, 3u);
      EXPECT_EQ(layout->format.code, format.code);
    }
  }
}

TEST(Layout, GivenStridesAreKept) {
  EXPECT_EQ(compute_layout({.width = 10, .height = 2, .stride = 40})->stride, 40u);
  EXPECT_EQ(compute_layout({.width = 10, .height = 2, .stride = 40})->size_bytes, 80u);
  EXPECT_EQ(compute_layout({.width = 10, .height = 2, .stride = 4096})->size_bytes, 8192u);
  EXPECT_EQ(compute_layout({.width = 10, .height = 2, .stride = 39}).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(compute_layout({.width = 10, .height = 2, .stride = 1}).error(),
            ErrorCode::InvalidArgument);
}

TEST(Layout, RefusesSidesOutOfRange) {
  // Those whose products overflow 32 bits among them.
  for (const std::uint32_t side : {0u, kMaxSide + 1, 1u << 16, 1u << 30, 1u << 31, ~0u}) {
    EXPECT_EQ(compute_layout({.width = side, .height = 1}).error(), ErrorCode::InvalidArgument);
    EXPECT_EQ(compute_layout({.width = 1, .height = side}).error(), ErrorCode::InvalidArgument);
    EXPECT_EQ(compute_layout({.width = side, .height = side}).error(), ErrorCode::InvalidArgument);
  }
}

TEST(Layout, RefusesTooManyBytes) {
  EXPECT_EQ(compute_layout({.width = kMaxSide, .height = kMaxSide})->size_bytes, kMaxBufferBytes);
  const std::uint32_t wide = fourcc('A', 'B', '4', 'H');
  EXPECT_EQ(compute_layout({.width = kMaxSide, .height = kMaxSide, .format = wide}).error(),
            ErrorCode::InvalidArgument);
  const std::uint32_t huge = std::numeric_limits<std::uint32_t>::max();
  EXPECT_EQ(compute_layout({.width = 1, .height = 1, .stride = huge}).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(compute_layout({.width = 1, .height = kMaxSide, .stride = huge}).error(),
            ErrorCode::InvalidArgument);
}

TEST(Layout, RefusesUnknownFormatsAndUsage) {
  EXPECT_EQ(compute_layout({.width = 1, .height = 1, .format = 0}).error(),
            ErrorCode::InvalidArgument);
  for (const std::uint32_t usage :
       {0u, 1u << 4, 1u << 31, ~0u, static_cast<std::uint32_t>(BufferUsage::Prefault)}) {
    const BufferSpec spec{.width = 1, .height = 1, .usage = static_cast<BufferUsage>(usage)};
    EXPECT_EQ(compute_layout(spec).error(), ErrorCode::InvalidArgument) << usage;
  }
  for (const BufferUsage usage :
       {BufferUsage::CpuRead, BufferUsage::CpuWrite, BufferUsage::Export}) {
    EXPECT_TRUE(compute_layout({.width = 1, .height = 1, .usage = usage}));
  }
}

}  // namespace
}  // namespace drivers::gpu::test
