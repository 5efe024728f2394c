// SPDX-License-Identifier: Apache-2.0
//
// What travels arrives as it was, and bytes that mean nothing are refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <random>
#include <span>
#include <vector>

#include "drivers/dma/remote_wire.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma::wire {
namespace {

using hal::ErrorCode;

bool same(std::span<const Segment> left, std::span<const Segment> right) {
  return std::ranges::equal(left, right, [](const Segment& a, const Segment& b) {
    return a.buffer == b.buffer && a.offset == b.offset && a.length == b.length;
  });
}

bool same(const Descriptor& left, const Descriptor& right) {
  return left.operation() == right.operation() && left.parameter() == right.parameter() &&
         same(left.sources(), right.sources()) && same(left.destinations(), right.destinations());
}

std::vector<Segment> segments(std::size_t count) {
  std::vector<Segment> list;
  for (std::uint64_t i = 1; i <= count; ++i) list.push_back({BufferId{i << 32 | 7}, i, i * i});
  return list;
}

Request submit_of(const Descriptor& descriptor) {
  return encode_batch(1, {&descriptor, 1}).value();
}

ErrorCode refusal(const Request& request) {
  BatchDecoder decoder;
  const auto batch = decoder.decode(request);
  return batch ? ErrorCode{} : batch.error().code();
}

TEST(RemoteWireTest, BatchesArriveAsTheyWere) {
  const auto eight = segments(8);
  const auto two = segments(2);
  const Segment one{BufferId{~0ull}, ~0ull - 1, ~0ull};
  const std::span<const Segment> alone(&one, 1);
  const std::span<const Segment> none;
  const std::vector<std::vector<Descriptor>> batches = {
      {Descriptor::copy(eight, eight)},
      {Descriptor::fill(two, 0x0123456789abcdef), Descriptor::fill(one, 0)},
      {Descriptor::crc32c(two, 0xffffffff).store_result(one), Descriptor::crc32c(one)},
      {Descriptor::copy(one, one), Descriptor::copy(two, alone), Descriptor::copy(alone, two)},
      {Descriptor::copy(none, none), Descriptor::fill(none, 9)},
      std::vector<Descriptor>(kMaxRemoteDescriptors, Descriptor::copy(one, one)),
  };
  BatchDecoder decoder;
  for (const auto& batch : batches) {
    const auto request = encode_batch(99, batch);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->tag, 99u);
    const auto decoded = decoder.decode(*request);
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(std::ranges::equal(*decoded, batch,
                                   [](const auto& a, const auto& b) { return same(a, b); }));
  }
}

TEST(RemoteWireTest, MoreThanAMessageHoldsIsRefused) {
  const Segment one{BufferId{1}, 0, 1};
  const std::vector<Descriptor> nine(kMaxRemoteDescriptors + 1, Descriptor::fill(one, 0));
  const auto descriptors = encode_batch(1, nine);
  ASSERT_FALSE(descriptors);
  EXPECT_EQ(descriptors.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(descriptors.error().requested(), nine.size());

  const auto many = segments(kMaxRemoteSegments);
  const std::array both = {Descriptor::copy(many, {&one, 1})};
  EXPECT_EQ(encode_batch(1, both).error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(encode_batch(1, {}).error(), ErrorCode::InvalidArgument);
}

TEST(RemoteWireTest, EveryFieldOfABatchIsJudged) {
  const Segment one{BufferId{1}, 0, 4};
  const Request good = submit_of(Descriptor::copy(one, one));
  EXPECT_EQ(refusal(good), ErrorCode{});

  const auto spoilt = [&](auto spoil) {
    Request request = good;
    spoil(request);
    return refusal(request);
  };
  for (const std::uint32_t count : {kMaxRemoteDescriptors + 1, ~0u}) {
    EXPECT_EQ(spoilt([&](Request& r) { r.descriptors = count; }), ErrorCode::InvalidArgument);
  }
  for (std::size_t byte = 0; byte < good.descriptor[0].zero.size(); ++byte) {
    EXPECT_EQ(spoilt([&](Request& r) { r.descriptor[0].zero[byte] = 1; }),
              ErrorCode::InvalidArgument);
  }
  for (const std::uint8_t operation : {std::uint8_t{3}, std::uint8_t{255}}) {
    EXPECT_EQ(spoilt([&](Request& r) { r.descriptor[0].operation = operation; }),
              ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(spoilt([](Request& r) { r.descriptor[0].sources = 16; }), ErrorCode::InvalidArgument);
  EXPECT_EQ(spoilt([](Request& r) { r.descriptor[0].destinations = 255; }),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(spoilt([](Request& r) { r.descriptor[0].parameter = 1; }), ErrorCode::InvalidArgument);
  EXPECT_EQ(spoilt([](Request& r) { r.descriptor[0].operation = 1; }), ErrorCode::InvalidArgument)
      << "a fill with sources";
  EXPECT_EQ(spoilt([](Request& r) {
              r.descriptor[0].operation = 2;
              r.descriptor[0].destinations = 2;
            }),
            ErrorCode::InvalidArgument)
      << "a CRC32C to two places";
  EXPECT_EQ(spoilt([](Request& r) {
              r.descriptor[0].operation = 2;
              r.descriptor[0].parameter = std::uint64_t{1} << 32;
            }),
            ErrorCode::InvalidArgument)
      << "a seed of more than 32 bits";
}

// Any bytes are a value: whatever comes, the decoder stays within the message.
TEST(RemoteWireTest, RandomBatchesStayInBounds) {
  std::mt19937_64 random(test_seed());
  BatchDecoder decoder;
  std::size_t accepted = 0;
  for (int round = 0; round < 50'000; ++round) {
    Request request;
    const Bytes bytes = random_bytes(sizeof(request), random);
    std::memcpy(&request, bytes.data(), sizeof(request));
    // Else nearly everything would fail at the first count.
    request.descriptors %= kMaxRemoteDescriptors + 2;
    for (WireDescriptor& descriptor : request.descriptor) {
      descriptor.zero.fill(0);
      descriptor.operation %= 4;
      descriptor.sources %= 6;
      descriptor.destinations %= 4;
      if (random() % 2 == 0) descriptor.parameter = 0;
    }
    const auto batch = decoder.decode(request);
    if (!batch) {
      EXPECT_EQ(batch.error(), ErrorCode::InvalidArgument);
      continue;
    }
    ++accepted;
    std::size_t used = 0;
    for (const Descriptor& descriptor : *batch) {
      used += descriptor.sources().size() + descriptor.destinations().size();
    }
    EXPECT_EQ(decoder.segments().size(), used);
    EXPECT_LE(used, kMaxRemoteSegments);
  }
  EXPECT_GT(accepted, 0u);
}

TEST(RemoteWireTest, OutcomesArriveAsTheyWere) {
  const std::array outcomes = {
      Outcome{},
      Outcome{.status = Status::Running},
      Outcome{.status = Status::Done, .bytes = ~0ull},
      Outcome{.status = Status::Done, .bytes = 5, .crc32c = 0},
      Outcome{.status = Status::Cancelled, .error = ErrorCode::Cancelled, .bytes = 3},
      Outcome{.status = Status::Failed, .error = ErrorCode::System},
  };
  for (const Outcome& outcome : outcomes) {
    const auto decoded = decode_outcome(encode_outcome(outcome));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->status, outcome.status);
    EXPECT_EQ(decoded->error, outcome.error);
    EXPECT_EQ(decoded->bytes, outcome.bytes);
    EXPECT_EQ(decoded->crc32c, outcome.crc32c);
  }
}

TEST(RemoteWireTest, NonsenseInRepliesIsRefused) {
  for (const WireOutcome& outcome :
       {WireOutcome{.status = 5}, WireOutcome{.status = 255}, WireOutcome{.status = 2, .error = 1},
        WireOutcome{.status = 3}, WireOutcome{.status = 4}}) {
    EXPECT_EQ(decode_outcome(outcome).error(), ErrorCode::InvalidArgument);
  }
  for (int code = 1; code <= static_cast<int>(ErrorCode::System); ++code) {
    EXPECT_EQ(decode_error(encode_error(static_cast<ErrorCode>(code))),
              static_cast<ErrorCode>(code));
  }
  for (const std::uint16_t number : std::initializer_list<std::uint16_t>{0, 26, 65535}) {
    EXPECT_EQ(decode_error(number), ErrorCode::System);
  }
  const Limits limits{.alignment = 64,
                      .max_length = 1,
                      .max_segments = 2,
                      .ring_entries = 3,
                      .max_buffers = 4,
                      .in_order = false};
  const auto decoded = decode_limits(encode_limits(limits));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->alignment, 64u);
  EXPECT_EQ(decoded->max_length, 1u);
  EXPECT_EQ(decoded->max_segments, 2u);
  EXPECT_EQ(decoded->ring_entries, 3u);
  EXPECT_EQ(decoded->max_buffers, 4u);
  EXPECT_FALSE(decoded->in_order);
  for (const std::uint64_t alignment : {0u, 3u}) {
    WireLimits odd = encode_limits(limits);
    odd.alignment = alignment;
    EXPECT_EQ(decode_limits(odd).error(), ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(decode_limits({}).error(), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace drivers::dma::wire
