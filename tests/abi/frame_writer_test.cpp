// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/frame_writer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

constexpr std::byte kUntouched{0x5a};

// Also the buffer's own bytes: not one behind its end is written.
TEST(FrameWriter, ABufferOfTheRightSizeIsEnoughAndOneByteLessIsNot) {
  for (std::size_t room = 0; room < 60; ++room) {
    Bytes out(64, kUntouched);
    const auto buffer = std::span(out).first(room);
    FrameWriter writer(buffer, FrameType::InternDriver, kRequestId);
    writer.fixed(rm_wire_intern_driver{.driver_bytes = 7, .reserved = {}});
    writer.text("dma-edu");
    EXPECT_EQ(writer.size(), 47u);
    EXPECT_EQ(writer.room(), room > 47 ? room - 47 : 0);
    const auto bytes = writer.finish();
    if (room >= 47) {
      EXPECT_EQ(bytes.value(), 47u);
    } else {
      ASSERT_EQ(code_of(bytes), ErrorCode::CapacityExceeded);
      EXPECT_EQ(bytes.error().requested(), 47u);
      EXPECT_EQ(bytes.error().available(), room);
    }
    EXPECT_TRUE(std::ranges::all_of(std::span(out).subspan(std::min<std::size_t>(room, 47)),
                                    [](std::byte byte) { return byte == kUntouched; }));
  }
}

TEST(FrameWriter, AFrameEndsAt64KibibytesInAnyBuffer) {
  Bytes out(RM_WIRE_MAX_FRAME + 64);
  const std::string text(RM_WIRE_MAX_FRAME - sizeof(rm_frame_header), 't');
  FrameWriter full(out, FrameType::Ping, kRequestId);
  full.text(text);
  EXPECT_EQ(full.finish().value(), RM_WIRE_MAX_FRAME);
  FrameWriter over(out, FrameType::Ping, kRequestId);
  over.text(text);
  over.text("t");
  EXPECT_EQ(code_of(over.finish()), ErrorCode::CapacityExceeded);
}

TEST(FrameWriter, RequestIdsBelongToRequestsAndReplies) {
  Bytes out(64);
  const auto code = [&](FrameType type, std::uint64_t request_id) {
    return code_of(FrameWriter(out, type, request_id).finish());
  };
  EXPECT_EQ(code(FrameType::Ping, 1), ErrorCode{});
  EXPECT_EQ(code(FrameType::Ping, 0), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(FrameType::Result, 0), ErrorCode::InvalidArgument);
  EXPECT_EQ(code(FrameType::Closing, 0), ErrorCode{});
  EXPECT_EQ(code(FrameType::Closing, 1), ErrorCode::InvalidArgument);
}

TEST(FrameWriter, PaddingReachesTheNextMultipleOfEight) {
  for (std::size_t bytes = 0; bytes <= 16; ++bytes) {
    Bytes out(128, kUntouched);
    FrameWriter writer(out, FrameType::Ping, kRequestId);
    writer.text(std::string(bytes, 'a'));
    writer.pad();
    EXPECT_EQ(writer.size(), sizeof(rm_frame_header) + (bytes + 7) / 8 * 8);
    EXPECT_TRUE(
        std::ranges::all_of(std::span(out).subspan(sizeof(rm_frame_header) + bytes,
                                                   writer.size() - sizeof(rm_frame_header) - bytes),
                            [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

TEST(FrameWriter, TheFirstMistakeIsTold) {
  Bytes out(64);
  FrameWriter writer(out, FrameType::Ping, kRequestId);
  writer.require({});
  writer.require(fail(ErrorCode::InvalidName, "first"));
  writer.require(fail(ErrorCode::InvalidArgument, "second"));
  const auto refused = writer.finish();
  ASSERT_EQ(code_of(refused), ErrorCode::InvalidName);
  EXPECT_STREQ(refused.error().context(), "first");
}

}  // namespace
}  // namespace resmgr::wire::test
