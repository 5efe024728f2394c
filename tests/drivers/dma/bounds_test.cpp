// SPDX-License-Identifier: Apache-2.0
//
// What a channel refuses, with which error, and that nothing was touched.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;

constexpr std::uint64_t kSize = 4096;
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
constexpr std::byte kUntouched{0xa5};

/// Makes a descriptor's operation what no factory makes it.
Descriptor forge(Descriptor descriptor, std::uint8_t operation) {
  // The operation is the first member; a message from another process could hold any byte there.
  *reinterpret_cast<std::uint8_t*>(&descriptor) = operation;
  return descriptor;
}

class BoundsTest : public testing::Test {
 protected:
  /// Submits behind a good descriptor, which must not run either.
  void expect_refused(const Descriptor& bad, ErrorCode code, const std::string& where = "") {
    const std::array batch = {Descriptor::fill({buffer_, 0, 8}, 1), bad};
    const auto ticket = channel_->submit(batch);
    ASSERT_FALSE(ticket.has_value());
    EXPECT_EQ(ticket.error(), code) << ticket.error().message();
    EXPECT_EQ(ticket.error().detail(), "descriptor 1" + where) << ticket.error().message();
  }
  void TearDown() override {
    // Whatever was submitted by mistake has run by then.
    ASSERT_TRUE(channel_->drain(soon()).has_value());
    EXPECT_TRUE(memory_ == Bytes(kSize, kUntouched));
    EXPECT_TRUE(other_ == Bytes(kSize, kUntouched));
  }

  alignas(64) std::array<std::byte, 64> unaligned_{};
  Bytes memory_ = Bytes(kSize, kUntouched);
  Bytes other_ = Bytes(kSize, kUntouched);
  std::unique_ptr<Channel> channel_ = open_channel({.ring_entries = 8, .max_buffers = 4});
  BufferId buffer_ = channel_->attach_buffer(memory_).value();
  BufferId source_ = channel_->attach_source(other_).value();
};

TEST_F(BoundsTest, SegmentsReachOutOfTheirBuffer) {
  const std::vector<Segment> outside = {
      {buffer_, 0, kSize + 1},     {buffer_, 1, kSize},        {buffer_, kSize, 1},
      {buffer_, kSize + 1, 1},     {buffer_, kMost, 1},        {buffer_, 1, kMost},
      {buffer_, kMost, kMost},     {buffer_, kMost - 7, 8},    {buffer_, 0, kMost},
      {buffer_, kSize - 1, kMost}, {buffer_, kMost - 3, kSize}};
  for (const Segment& segment : outside) {
    expect_refused(Descriptor::fill(segment, 0), ErrorCode::InvalidArgument,
                   ", destination segment 0");
    expect_refused(Descriptor::crc32c(segment), ErrorCode::InvalidArgument, ", source segment 0");
    expect_refused(Descriptor::copy(segment, {buffer_, 0, segment.length}),
                   ErrorCode::InvalidArgument, ", source segment 0");
  }
}

TEST_F(BoundsTest, TheLastByteIsInside) {
  const Descriptor crc = Descriptor::crc32c({buffer_, kSize - 1, 1});
  const Ticket ticket = channel_->submit({&crc, 1}).value();
  EXPECT_TRUE(channel_->wait(ticket, soon()).has_value());
}

TEST_F(BoundsTest, LengthsOfNothing) {
  expect_refused(Descriptor::fill({buffer_, 0, 0}, 0), ErrorCode::InvalidArgument,
                 ", destination segment 0");
  expect_refused(Descriptor::copy({source_, 0, 0}, {buffer_, 0, 0}), ErrorCode::InvalidArgument,
                 ", source segment 0");
  const std::array<Segment, 2> second_empty = {Segment{buffer_, 0, 8}, Segment{buffer_, 8, 0}};
  expect_refused(Descriptor::fill(second_empty, 0), ErrorCode::InvalidArgument,
                 ", destination segment 1");
}

TEST_F(BoundsTest, ShapesThatAreNone) {
  const std::span<const Segment> none;
  const Segment some{buffer_, 0, 8};
  const Segment from{source_, 0, 8};
  const Segment result{buffer_, 0, 4};
  const std::array<Segment, 2> results = {Segment{buffer_, 0, 4}, Segment{buffer_, 4, 4}};
  expect_refused(Descriptor::copy(none, {&some, 1}), ErrorCode::InvalidArgument);
  expect_refused(Descriptor::copy({&from, 1}, none), ErrorCode::InvalidArgument);
  expect_refused(Descriptor::fill(none, 0), ErrorCode::InvalidArgument);
  expect_refused(Descriptor::crc32c(none), ErrorCode::InvalidArgument);
  expect_refused(Descriptor::crc32c(from).store_result({buffer_, 0, 8}),
                 ErrorCode::InvalidArgument);
  expect_refused(Descriptor::crc32c(from).store_result({buffer_, 0, 3}),
                 ErrorCode::InvalidArgument);
  expect_refused(forge(Descriptor::copy(from, some), 1), ErrorCode::InvalidArgument);
  expect_refused(forge(Descriptor::copy({&from, 1}, results), 2), ErrorCode::InvalidArgument);
  expect_refused(forge(Descriptor::fill(result, 0), 2), ErrorCode::InvalidArgument);
  for (const int operation : {3, 4, 127, 255}) {
    expect_refused(forge(Descriptor::copy(from, some), static_cast<std::uint8_t>(operation)),
                   ErrorCode::InvalidArgument);
  }
}

TEST_F(BoundsTest, TotalsThatDiffer) {
  expect_refused(Descriptor::copy({source_, 0, 8}, {buffer_, 0, 9}), ErrorCode::InvalidArgument);
  const std::array<Segment, 2> from = {Segment{source_, 0, 8}, Segment{source_, 8, 8}};
  const Segment to{buffer_, 0, 15};
  expect_refused(Descriptor::copy(from, {&to, 1}), ErrorCode::InvalidArgument);
}

TEST_F(BoundsTest, SourceAndDestinationOverlap) {
  for (const std::uint64_t at : {1u, 100u, 163u, 199u}) {
    expect_refused(Descriptor::copy({buffer_, 100, 100}, {buffer_, at, 100}),
                   ErrorCode::InvalidArgument);
  }
  // Under another name, and only in the second segments.
  const BufferId alias = channel_->attach_buffer(memory_).value();
  const std::array<Segment, 2> from = {Segment{source_, 0, 10}, Segment{buffer_, 100, 10}};
  const std::array<Segment, 2> to = {Segment{alias, 0, 10}, Segment{alias, 109, 10}};
  expect_refused(Descriptor::copy(from, to), ErrorCode::InvalidArgument);
}

TEST_F(BoundsTest, WritesIntoMemoryForReading) {
  expect_refused(Descriptor::fill({source_, 0, 8}, 0), ErrorCode::NotPermitted,
                 ", destination segment 0");
  expect_refused(Descriptor::copy({buffer_, 0, 8}, {source_, 0, 8}), ErrorCode::NotPermitted,
                 ", destination segment 0");
  expect_refused(Descriptor::crc32c({buffer_, 0, 8}).store_result({source_, 0, 4}),
                 ErrorCode::NotPermitted, ", destination segment 0");
}

TEST_F(BoundsTest, BuffersThatAreNotAttached) {
  for (const BufferId id : {BufferId{}, BufferId{kMost}, BufferId{buffer_.bits + 1},
                            BufferId{buffer_.bits + (std::uint64_t{1} << 33)}}) {
    expect_refused(Descriptor::fill({id, 0, 8}, 0), ErrorCode::StaleHandle,
                   ", destination segment 0");
  }
  const BufferId gone = channel_->attach_buffer(memory_).value();
  ASSERT_TRUE(channel_->detach_buffer(gone).has_value());
  EXPECT_EQ(channel_->detach_buffer(gone).error(), ErrorCode::StaleHandle);
  expect_refused(Descriptor::crc32c({gone, 0, 8}), ErrorCode::StaleHandle, ", source segment 0");
}

TEST_F(BoundsTest, MemoryThatIsNone) {
  EXPECT_EQ(channel_->attach_buffer({}).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(channel_->attach_source({}).error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(channel_->attach_source(other_).has_value());
  EXPECT_TRUE(channel_->attach_source(other_).has_value());
  EXPECT_EQ(channel_->attach_source(other_).error(), ErrorCode::CapacityExceeded);
}

TEST_F(BoundsTest, ListsAndBatchesThatAreTooLong) {
  const std::vector<Segment> segments(channel_->limits().max_segments + 1, {buffer_, 0, 1});
  expect_refused(Descriptor::crc32c(segments), ErrorCode::CapacityExceeded);

  EXPECT_EQ(channel_->submit({}).error(), ErrorCode::InvalidArgument);
  const std::vector<Descriptor> batch(9, Descriptor::fill({buffer_, 0, 8}, 0));
  const auto refused = channel_->submit(batch);
  ASSERT_EQ(refused.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(refused.error().requested(), 9u);
  EXPECT_EQ(refused.error().available(), 8u);
}

TEST_F(BoundsTest, DescriptorsThatAreTooLong) {
  const auto narrow = open_channel({.max_length = 1000});
  const BufferId id = narrow->attach_buffer(memory_).value();
  const Descriptor over = Descriptor::fill({id, 0, 1001}, 0);
  const auto refused = narrow->submit({&over, 1});
  ASSERT_EQ(refused.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(refused.error().requested(), 1001u);
  EXPECT_EQ(refused.error().available(), 1000u);

  const std::array<Segment, 2> parts = {Segment{id, 0, 600}, Segment{id, 600, 401}};
  const Descriptor together = Descriptor::crc32c(parts);
  EXPECT_EQ(narrow->submit({&together, 1}).error(), ErrorCode::CapacityExceeded);

  // A buffer that claims most of the address space: the sum of two such segments wraps.
  const std::size_t all = kMost - 1 - reinterpret_cast<std::uintptr_t>(memory_.data());
  const BufferId huge = narrow->attach_source({memory_.data(), all}).value();
  const std::array<Segment, 2> wrapping = {Segment{huge, 0, 900}, Segment{huge, 0, all}};
  const Descriptor wraps = Descriptor::crc32c(wrapping);
  EXPECT_EQ(narrow->submit({&wraps, 1}).error(), ErrorCode::CapacityExceeded);
}

TEST_F(BoundsTest, Alignment) {
  constexpr std::uint64_t kAlignment = 16;
  const auto strict = open_channel({.alignment = kAlignment});
  ASSERT_EQ(strict->limits().alignment, kAlignment);
  const BufferId even = strict->attach_buffer(std::span(unaligned_)).value();
  // By address: a good offset into a buffer that starts badly is still bad.
  const BufferId odd = strict->attach_buffer(std::span(unaligned_).subspan(8)).value();
  const auto code = [&](const Descriptor& descriptor) {
    const auto ticket = strict->submit({&descriptor, 1});
    if (ticket) return strict->wait(*ticket, soon()).has_value() ? 0 : -1;
    return static_cast<int>(ticket.error().code());
  };
  constexpr int kBad = static_cast<int>(ErrorCode::InvalidArgument);
  EXPECT_EQ(code(Descriptor::crc32c({even, 16, 32})), 0);
  EXPECT_EQ(code(Descriptor::crc32c({even, 8, 32})), kBad);
  EXPECT_EQ(code(Descriptor::crc32c({even, 16, 24})), kBad);
  EXPECT_EQ(code(Descriptor::crc32c({odd, 0, 16})), kBad);
  EXPECT_EQ(code(Descriptor::crc32c({odd, 8, 16})), 0);
  EXPECT_EQ(code(Descriptor::fill({even, 4, 16}, 0)), kBad);
  EXPECT_EQ(code(Descriptor::crc32c({even, 0, 16}).store_result({even, 36, 4})), 0);
  EXPECT_EQ(code(Descriptor::crc32c({even, 0, 16}).store_result({even, 38, 4})), kBad);
}

TEST_F(BoundsTest, OptionsOutOfRange) {
  const auto refused = [](const ChannelOptions& options, const SoftwareOptions& software = {}) {
    const auto channel = SoftwareChannel::create(options, software);
    return !channel && channel.error() == ErrorCode::InvalidArgument;
  };
  EXPECT_TRUE(refused({.ring_entries = 0}));
  EXPECT_TRUE(refused({.ring_entries = 3}));
  EXPECT_TRUE(refused({.ring_entries = 1u << 17}));
  EXPECT_TRUE(refused({.max_buffers = 0}));
  EXPECT_TRUE(refused({.max_buffers = (1u << 16) + 1}));
  EXPECT_TRUE(refused({.alignment = 0}));
  EXPECT_TRUE(refused({.alignment = 24}));
  EXPECT_TRUE(refused({.alignment = 8192}));
  EXPECT_TRUE(refused({.max_length = 0}));
  EXPECT_TRUE(refused({.numa_node = -2}));
  EXPECT_TRUE(refused({}, {.chunk_bytes = 0}));
  EXPECT_FALSE(refused({.ring_entries = 1, .max_buffers = 1}));
}

}  // namespace
}  // namespace drivers::dma
