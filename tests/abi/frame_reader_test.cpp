// SPDX-License-Identifier: Apache-2.0
//
// The rule of versions, seen from both sides: these tests have messages of a version to come.
#include "resmgr/abi/frame_reader.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "resmgr/abi/requests.hpp"
#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

/// The fixed part of InternDriver as a minor to come may have it.
struct LaterInternDriver {
  rm_wire_intern_driver first;
  std::uint64_t quota;
};

Bytes intern() { return frame_of(InternDriverRequest{.driver = "dma-edu"}); }
Bytes later_intern() { return from_newer_minor(intern()); }

TEST(FrameReader, ALaterVersionReadsWhatAnOlderOneSent) {
  const Bytes bytes = intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader reader(frame, {FrameType::InternDriver});
  const auto part = reader.fixed<LaterInternDriver>(sizeof(rm_wire_intern_driver));
  EXPECT_EQ(part.first.driver_bytes, 7u);
  EXPECT_EQ(part.quota, 0u) << "what was not said is zero";
  EXPECT_EQ(reader.text(part.first.driver_bytes), "dma-edu");
  EXPECT_TRUE(reader.finish());
}

TEST(FrameReader, ALaterVersionReadsWhatItAdded) {
  const Bytes bytes = later_intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader reader(frame, {FrameType::InternDriver});
  const auto part = reader.fixed<LaterInternDriver>(sizeof(rm_wire_intern_driver));
  EXPECT_EQ(part.quota, 0xeeeeeeeeeeeeeeee);
  EXPECT_EQ(reader.text(part.first.driver_bytes), "dma-edu");
  EXPECT_EQ(reader.text(3), "\xdd\xdd\xdd");
  EXPECT_TRUE(reader.finish());
}

TEST(FrameReader, AnOlderVersionLeavesOutWhatALaterOneAdded) {
  const Bytes bytes = later_intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader reader(frame, {FrameType::InternDriver});
  const auto part = reader.fixed<rm_wire_intern_driver>();
  EXPECT_EQ(reader.text(part.driver_bytes), "dma-edu");
  reader.require_zero(bytes);  // reserved once, used now
  EXPECT_TRUE(reader.finish());
}

TEST(FrameReader, TheFirstMinorsPartIsTheLeast) {
  const Bytes bytes = intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader reader(frame, {FrameType::InternDriver});
  const auto part = reader.fixed<LaterInternDriver>(sizeof(LaterInternDriver));
  EXPECT_EQ(part.first.driver_bytes, 0u) << "nothing of it";
  EXPECT_EQ(reader.text(0), "");
  EXPECT_EQ(code_of(reader.finish()), ErrorCode::InvalidArgument);
}

TEST(FrameReader, TheFirstMistakeIsTold) {
  const Bytes bytes = intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader reader(frame, {FrameType::InternDriver});
  EXPECT_EQ(reader.text(8), "") << "one byte too many";
  EXPECT_EQ(reader.text(7), "") << "nothing after a mistake";
  reader.require(false, "the second");
  const auto refused = reader.finish();
  ASSERT_FALSE(refused);
  EXPECT_STREQ(refused.error().context(), "frame too short");
}

TEST(FrameReader, WhatIsLeftOverIsAMistake) {
  const Bytes bytes = intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader some(frame, {FrameType::InternDriver});
  EXPECT_EQ(some.text(6), "dma-ed");
  EXPECT_EQ(code_of(some.finish()), ErrorCode::InvalidArgument);
  FrameReader all(frame, {FrameType::InternDriver});
  EXPECT_EQ(all.take_rest().size(), 7u);
  EXPECT_TRUE(all.finish());
}

TEST(FrameReader, OtherTypesAreMistakes) {
  const Bytes bytes = intern();
  const Frame frame = read_frame(bytes).value();
  FrameReader other(frame, {FrameType::Ping, FrameType::Goodbye});
  (void)other.take_rest();
  EXPECT_EQ(code_of(other.finish()), ErrorCode::InvalidArgument);
  FrameReader either(frame, {FrameType::Ping, FrameType::InternDriver});
  (void)either.take_rest();
  EXPECT_TRUE(either.finish());
}

TEST(FrameReader, DescriptorsAreCounted) {
  const auto code_with = [](const Bytes& bytes, std::uint16_t fds, std::uint16_t needed) {
    const Bytes sent = changed_header(bytes, [&](rm_frame_header& h) { h.fds = fds; });
    const Frame frame = read_frame(sent).value();
    FrameReader reader(frame, {FrameType::InternDriver});
    (void)reader.take_rest();
    reader.needs_fds(needed);
    return code_of(reader.finish());
  };
  EXPECT_EQ(code_with(intern(), 2, 2), ErrorCode{});
  EXPECT_EQ(code_with(intern(), 1, 2), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with(intern(), 3, 2), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_with(later_intern(), 3, 2), ErrorCode{});
  EXPECT_EQ(code_with(later_intern(), 1, 2), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace resmgr::wire::test
