// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/frame.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>

#include "resmgr/abi/events.hpp"
#include "resmgr/abi/requests.hpp"
#include "tests/abi/wire_support.hpp"

namespace resmgr::wire::test {
namespace {

Bytes ping() { return frame_of(SignalRequest{Signal::Ping}); }
Bytes intern() { return frame_of(InternDriverRequest{.driver = "dma-edu"}); }

template <typename Change>
ErrorCode code_with(Bytes frame, Change change) {
  return code_of(read_frame(changed_header(std::move(frame), change)));
}

TEST(Frame, IsTakenApart) {
  const Bytes bytes = intern();
  const Frame frame = read_frame(bytes).value();
  EXPECT_EQ(frame.type, FrameType::InternDriver);
  EXPECT_EQ(frame.minor, RM_WIRE_MINOR);
  EXPECT_FALSE(frame.is_newer());
  EXPECT_EQ(frame.fds, 0u);
  EXPECT_EQ(frame.request_id, kRequestId);
  EXPECT_EQ(frame.fixed.data(), bytes.data() + sizeof(rm_frame_header));
  EXPECT_EQ(frame.fixed.size(), sizeof(rm_wire_intern_driver));
  EXPECT_EQ(std::memcmp(frame.variable.data(), "dma-edu", frame.variable.size()), 0);
  EXPECT_EQ(frame.variable.size(), 7u);
}

TEST(Frame, TheUpperByteOfATypeIsItsKind) {
  EXPECT_EQ(kind_of(FrameType::Goodbye), FrameKind::Request);
  EXPECT_EQ(kind_of(FrameType::Welcome), FrameKind::Reply);
  EXPECT_EQ(kind_of(FrameType::Closing), FrameKind::Event);
}

TEST(Frame, EveryFieldOfTheHeaderIsJudged) {
  using H = rm_frame_header;
  ASSERT_EQ(code_with(intern(), [](H&) {}), ErrorCode{});
  const auto refused = [&](const char* what, auto change) {
    EXPECT_EQ(code_with(intern(), change), ErrorCode::InvalidArgument) << what;
  };
  refused("magic", [](H& h) { h.magic ^= 1; });
  refused("type of nobody", [](H& h) { h.type = 0; });
  refused("type behind the last", [](H& h) { h.type = RM_WIRE_EMERGENCY + 1; });
  refused("type behind the last of budgets", [](H& h) { h.type = RM_WIRE_NEED + 1; });
  refused("type of another kind", [](H& h) { h.type += 0x300; });
  refused("flags", [](H& h) { h.flags = 1; });
  refused("upper flags", [](H& h) { h.flags = 0x8000; });
  refused("fixed part not aligned", [](H& h) { h.fixed_bytes = 4; });
  refused("fixed part behind the end", [](H& h) { h.fixed_bytes = 16; });
  refused("largest fixed part", [](H& h) { h.fixed_bytes = 0xfff8; });
  refused("descriptors", [](H& h) { h.fds = RM_WIRE_MAX_FDS + 1; });
  refused("one byte less", [](H& h) { --h.frame_bytes; });
  refused("one byte more", [](H& h) { ++h.frame_bytes; });
  refused("no bytes", [](H& h) { h.frame_bytes = 0; });
  refused("all the bytes", [](H& h) { h.frame_bytes = ~0u; });
  refused("reserved", [](H& h) { h.reserved = 1; });
  refused("request id", [](H& h) { h.request_id = 0; });
}

TEST(Frame, EventsHaveNoRequestId) {
  const Bytes closing = frame_of(ClosingEvent{});
  EXPECT_EQ(code_of(read_frame(closing)), ErrorCode{});
  EXPECT_EQ(code_with(closing, [](rm_frame_header& h) { h.request_id = 1; }),
            ErrorCode::InvalidArgument);
}

TEST(Frame, AnotherMajorIsNamedTogetherWithOurs) {
  const Bytes other = changed_header(ping(), [](rm_frame_header& h) {
    h.major = 7;
    h.minor = 5;
    h.frame_bytes = 1;  // in version 7 it may be elsewhere
  });
  // The version is all that can be said of it, and the first 8 bytes say it.
  for (const std::size_t bytes : {other.size(), std::size_t{8}}) {
    const auto refused = read_frame(std::span(other).first(bytes));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::VersionMismatch);
    const std::string message = refused.error().message();
    EXPECT_NE(message.find("7.5"), std::string::npos) << message;
    const std::string ours = std::to_string(RM_WIRE_MAJOR) + "." + std::to_string(RM_WIRE_MINOR);
    EXPECT_NE(message.find(ours), std::string::npos) << message;
  }
  EXPECT_EQ(code_of(read_frame(std::span(other).first(7))), ErrorCode::InvalidArgument);
}

// A receiver skips what is unknown, and answers a request that it is.
TEST(Frame, AnUnknownTypeOfANewerMinorIsUnsupported) {
  const auto with = [](unsigned type, std::uint64_t request_id) {
    return changed_header(from_newer_minor(ping()), [&](rm_frame_header& h) {
      h.type = static_cast<std::uint16_t>(type);
      h.request_id = request_id;
    });
  };
  for (const unsigned type : {0x015fu, 0x0250u, 0x035fu, 0x0001u, 0xffffu}) {
    EXPECT_EQ(code_of(read_frame(with(type, 42))), ErrorCode::Unsupported) << type;
    EXPECT_EQ(code_of(read_frame(with(type, 0))), ErrorCode::Unsupported) << type;
    EXPECT_EQ(request_id_of(with(type, 42)), 42u);
  }
  // One that is no frame at all is not skipped.
  Bytes odd = with(0x0140, 42);
  odd.pop_back();
  EXPECT_EQ(code_of(read_frame(odd)), ErrorCode::InvalidArgument);
}

TEST(Frame, SixtyFourKibibytesAreTheMost) {
  const auto of_size = [](std::size_t bytes) {
    Bytes frame = from_newer_minor(ping());
    frame.resize(bytes);
    return read_frame(resized(std::move(frame)));
  };
  EXPECT_EQ(code_of(of_size(RM_WIRE_MAX_FRAME)), ErrorCode{});
  EXPECT_EQ(code_of(of_size(RM_WIRE_MAX_FRAME + 1)), ErrorCode::InvalidArgument);
}

TEST(Frame, ARefusalFindsItsRequest) {
  const Bytes spoilt = changed_header(intern(), [](rm_frame_header& h) { h.type = 0; });
  EXPECT_EQ(request_id_of(spoilt), kRequestId);
  EXPECT_EQ(request_id_of(std::span(spoilt).first(31)), 0u);
  EXPECT_EQ(request_id_of({}), 0u);
  EXPECT_EQ(request_id_of(changed_header(spoilt, [](rm_frame_header& h) { ++h.major; })), 0u);
  EXPECT_EQ(request_id_of(changed_header(spoilt, [](rm_frame_header& h) { ++h.magic; })), 0u);
}

}  // namespace
}  // namespace resmgr::wire::test
