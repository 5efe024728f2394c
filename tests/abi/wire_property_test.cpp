// SPDX-License-Identifier: Apache-2.0
//
// What holds for the frames of every type. tests/fuzz/wire_fuzz.cpp looks for worse bytes than
// chance makes.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>

#include "tests/abi/wire_support.hpp"
#include "tests/base/seed.hpp"

namespace resmgr::wire::test {
namespace {

constexpr std::size_t kTypes = 35;

TEST(Wire, EveryTypeHasASample) {
  std::set<FrameType> types;
  for (const Sample& sample : samples()) types.insert(read_frame(sample.frame).value().type);
  EXPECT_EQ(types.size(), kTypes);
}

TEST(Wire, EveryFrameComesBackAsItWas) {
  for (const auto& [name, frame] : samples()) {
    const auto back = echo(frame);
    ASSERT_TRUE(back) << name << ": " << back.error().message();
    EXPECT_EQ(*back, frame) << name;
  }
}

// Both a message that was cut on its way, and one that says itself that it is that short.
TEST(Wire, AFrameThatEndsAtAnyEarlierByteIsRefused) {
  for (const auto& [name, frame] : samples()) {
    for (std::size_t bytes = 0; bytes < frame.size(); ++bytes) {
      EXPECT_EQ(code_of(echo(std::span(frame).first(bytes))), ErrorCode::InvalidArgument)
          << name << " of " << bytes;
      EXPECT_EQ(code_of(echo(cut(frame, bytes))), ErrorCode::InvalidArgument)
          << name << " of " << bytes;
    }
  }
}

TEST(Wire, BytesBehindTheEndAreRefused) {
  for (const auto& [name, frame] : samples()) {
    for (const std::size_t more : {1u, 7u, 8u, 64u}) {
      Bytes longer = frame;
      longer.resize(frame.size() + more);
      EXPECT_EQ(code_of(echo(longer)), ErrorCode::InvalidArgument) << name;
      EXPECT_EQ(code_of(echo(resized(longer))), ErrorCode::InvalidArgument) << name;
    }
  }
}

TEST(Wire, AFixedPartOfAnotherSizeIsRefused) {
  for (const auto& [name, frame] : samples()) {
    const auto fixed_bytes = static_cast<int>(read_frame(frame).value().fixed.size());
    for (const int more : {-8, 8}) {
      if (fixed_bytes + more < 0) continue;
      const Bytes odd = changed_header(frame, [&](rm_frame_header& h) {
        h.fixed_bytes = static_cast<std::uint16_t>(fixed_bytes + more);
      });
      EXPECT_EQ(code_of(echo(odd)), ErrorCode::InvalidArgument) << name << more;
    }
  }
}

TEST(Wire, AnyOtherNumberOfDescriptorsIsRefused) {
  for (const auto& [name, frame] : samples()) {
    const std::uint16_t fds = read_frame(frame).value().fds;
    const auto with = [&, &sent = frame](int count) {
      return echo(changed_header(
          sent, [&](rm_frame_header& h) { h.fds = static_cast<std::uint16_t>(count); }));
    };
    EXPECT_EQ(code_of(with(fds + 1)), ErrorCode::InvalidArgument) << name;
    EXPECT_EQ(code_of(with(254)), ErrorCode::InvalidArgument) << name;
    EXPECT_EQ(code_of(with(65535)), ErrorCode::InvalidArgument) << name;
  }
}

// What a newer minor adds is left out, and all else arrives.
TEST(Wire, FramesOfANewerMinorAreUnderstood) {
  for (const auto& [name, frame] : samples()) {
    const auto back = echo(from_newer_minor(frame));
    ASSERT_TRUE(back) << name << ": " << back.error().message();
    EXPECT_EQ(*back, frame) << name;
    const Bytes more_fds =
        changed_header(from_newer_minor(frame), [](rm_frame_header& h) { ++h.fds; });
    EXPECT_TRUE(echo(more_fds)) << name;
  }
}

TEST(Wire, ANewerMinorMayNotLeaveOutWhatWeKnow) {
  for (const auto& [name, frame] : samples()) {
    for (std::size_t bytes = 0; bytes < frame.size(); ++bytes) {
      const Bytes shorter = changed_header(frame, [](rm_frame_header& h) { ++h.minor; });
      EXPECT_EQ(code_of(echo(cut(shorter, bytes))), ErrorCode::InvalidArgument)
          << name << " of " << bytes;
    }
  }
}

// Chance changes a good frame here and there: whatever is accepted comes back as it was, and what
// is refused is refused with one of the documented errors.
TEST(Wire, SpoiltFramesAreRefusedOrMeanWhatTheySay) {
  std::mt19937_64 random(resmgr::test::seed());
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (int round = 0; round < 100'000; ++round) {
    Bytes frame = samples()[random() % samples().size()].frame;
    if (random() % 8 == 0) frame = from_newer_minor(frame);
    if (random() % 4 == 0) frame.resize(random() % (frame.size() + 16));
    for (std::uint64_t changes = random() % 4; changes > 0 && !frame.empty(); --changes) {
      const std::array<std::uint64_t, 5> values{random() % 16, random(), 0, ~0ull,
                                                1ull << (random() % 64)};
      const std::uint64_t value = values[random() % values.size()];
      const std::size_t place = random() % frame.size();
      const std::size_t width = std::min<std::size_t>(1u << (random() % 4), frame.size() - place);
      std::memcpy(frame.data() + place, &value, width);
    }
    if (frame.size() >= sizeof(rm_frame_header) && random() % 8 != 0) frame = resized(frame);

    const auto verdict = is_refused_or_exact(frame);
    ASSERT_TRUE(verdict) << "round " << round;
    ++(echo(frame) ? accepted : refused);
  }
  EXPECT_GT(accepted, 1000u);
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace resmgr::wire::test
