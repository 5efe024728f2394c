// SPDX-License-Identifier: Apache-2.0
//
// Cancelling before, while and after: what is final at once, what stops on the way, what stays.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <semaphore>
#include <span>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;

constexpr std::size_t kSize = 1000;
constexpr std::size_t kChunk = 100;
constexpr std::byte kUntouched{0x11};
constexpr std::byte kCopied{0x22};

class CancelTest : public testing::Test {
 protected:
  [[nodiscard]] Descriptor copy() const {
    return Descriptor::copy({from_, 0, kSize}, {to_, 0, kSize});
  }
  [[nodiscard]] Descriptor read() const { return Descriptor::crc32c({from_, 0, kSize}); }
  Ticket submit(std::span<const Descriptor> batch) { return channel_->submit(batch).value(); }
  [[nodiscard]] std::ptrdiff_t copied() const { return std::ranges::count(to_memory_, kCopied); }

  std::shared_ptr<const GatedMover> mover_ = std::make_shared<const GatedMover>();
  Bytes from_memory_ = Bytes(kSize, kCopied);
  Bytes to_memory_ = Bytes(kSize, kUntouched);
  std::unique_ptr<Channel> channel_ =
      open_channel({.ring_entries = 8}, {.chunk_bytes = kChunk, .mover = mover_});
  BufferId from_ = channel_->attach_source(from_memory_).value();
  BufferId to_ = channel_->attach_buffer(to_memory_).value();
};

TEST_F(CancelTest, WhatHasNotBegunNeverTouchesMemory) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, read());
  const std::array batch = {copy(), copy(), copy()};
  const Ticket ticket = submit(batch);
  EXPECT_EQ(ticket.outcome(0)->status, Status::Queued);
  EXPECT_EQ(ticket.result().error(), ErrorCode::WouldBlock);

  EXPECT_EQ(channel_->cancel(ticket).value(), 3u);
  // Final at once, with the worker still blocked.
  EXPECT_TRUE(ticket.finished());
  EXPECT_EQ(channel_->wait(ticket, Channel::kForever).error(), ErrorCode::Cancelled);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(ticket.outcome(i)->status, Status::Cancelled);
    EXPECT_EQ(ticket.outcome(i)->error, ErrorCode::Cancelled);
    EXPECT_EQ(ticket.outcome(i)->bytes, 0u);
  }
  EXPECT_TRUE(channel_->detach_buffer(to_).has_value());

  blocked->release();
  ASSERT_TRUE(channel_->drain(soon()).has_value());
  EXPECT_EQ(copied(), 0);
}

TEST_F(CancelTest, WhatRunsStopsAtItsNextChunk) {
  const std::array batch = {copy(), copy()};
  const Ticket ticket = submit(batch);
  mover_->let_copy(2);
  for (int chunk = 0; chunk < 3; ++chunk) mover_->wait_until_copying();
  EXPECT_EQ(ticket.outcome(0)->status, Status::Running);

  EXPECT_EQ(channel_->cancel(ticket).value(), 1u);
  EXPECT_FALSE(ticket.finished());
  EXPECT_EQ(channel_->wait(ticket, Channel::Clock::now()).error(), ErrorCode::TimedOut);
  mover_->let_copy(1);

  EXPECT_EQ(channel_->wait(ticket, soon()).error(), ErrorCode::Cancelled);
  EXPECT_EQ(ticket.outcome(0)->status, Status::Cancelled);
  EXPECT_EQ(ticket.outcome(0)->bytes, 3 * kChunk);
  EXPECT_EQ(copied(), static_cast<std::ptrdiff_t>(3 * kChunk));
  EXPECT_EQ(ticket.outcome(1)->status, Status::Cancelled);
  EXPECT_EQ(ticket.outcome(1)->bytes, 0u);
}

TEST_F(CancelTest, WhatIsAtItsEndIsDone) {
  const std::array batch = {copy()};
  const Ticket ticket = submit(batch);
  mover_->let_copy(kSize / kChunk - 1);
  for (std::size_t chunk = 0; chunk < kSize / kChunk; ++chunk) mover_->wait_until_copying();
  EXPECT_EQ(channel_->cancel(ticket).value(), 0u);
  mover_->let_copy(1);
  EXPECT_TRUE(channel_->wait(ticket, soon()).has_value());
  EXPECT_EQ(ticket.outcome(0)->bytes, kSize);
  EXPECT_EQ(copied(), static_cast<std::ptrdiff_t>(kSize));
}

TEST_F(CancelTest, WhatIsFinishedStaysAsItIs) {
  const std::array batch = {read()};
  const Ticket ticket = submit(batch);
  ASSERT_TRUE(channel_->wait(ticket, soon()).has_value());
  EXPECT_EQ(channel_->cancel(ticket).value(), 0u);
  EXPECT_TRUE(ticket.result().has_value());
  EXPECT_EQ(ticket.outcome(0)->status, Status::Done);
}

TEST_F(CancelTest, OneBatchOnly) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, read());
  const std::array batch = {read()};
  const Ticket before = submit(batch);
  const Ticket cancelled = submit(batch);
  const Ticket after = submit(batch);
  EXPECT_EQ(channel_->cancel(cancelled).value(), 1u);
  EXPECT_EQ(channel_->cancel(cancelled).value(), 0u);
  blocked->release();
  EXPECT_TRUE(channel_->wait(before, soon()).has_value());
  EXPECT_TRUE(channel_->wait(after, soon()).has_value());
  EXPECT_EQ(cancelled.result().error(), ErrorCode::Cancelled);
}

TEST_F(CancelTest, DrainWaitsForWhatIsBeforeTheCancelled) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, read());
  const std::array batch = {read()};
  const Ticket before = submit(batch);
  const Ticket last = submit(batch);
  ASSERT_EQ(channel_->cancel(last).value(), 1u);
  EXPECT_EQ(channel_->drain(Channel::Clock::now()).error(), ErrorCode::TimedOut);
  blocked->release();
  EXPECT_TRUE(channel_->drain(soon()).has_value());
  EXPECT_TRUE(before.result().has_value());
}

TEST_F(CancelTest, TicketsOfOthers) {
  const auto other = open_channel();
  const std::array batch = {read()};
  const Ticket ticket = submit(batch);
  EXPECT_EQ(other->cancel(ticket).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(other->wait(ticket, soon()).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(channel_->cancel({}).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(channel_->wait({}, soon()).error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(channel_->wait(ticket, soon()).has_value());
}

TEST_F(CancelTest, QuiesceStopsTheEngineAndKeepsTheChannel) {
  const std::array batch = {copy(), copy()};
  const Ticket running = submit(batch);
  const Ticket queued = submit(batch);
  mover_->wait_until_copying();
  EXPECT_EQ(channel_->quiesce(Channel::Clock::now()).error(), ErrorCode::TimedOut);
  EXPECT_TRUE(queued.finished());
  mover_->let_copy(1);
  ASSERT_TRUE(channel_->quiesce(soon()).has_value());
  EXPECT_TRUE(running.finished());
  EXPECT_EQ(copied(), static_cast<std::ptrdiff_t>(kChunk));
  EXPECT_TRUE(channel_->detach_buffer(to_).has_value());

  const std::array more = {read()};
  EXPECT_TRUE(channel_->wait(submit(more), soon()).has_value());
}

TEST_F(CancelTest, BuffersOfWhatRunsStayAttached) {
  const std::array batch = {copy(), read()};
  const Ticket ticket = submit(batch);
  mover_->wait_until_copying();
  EXPECT_EQ(channel_->detach_buffer(from_).error(), ErrorCode::InUse);
  EXPECT_EQ(channel_->detach_buffer(to_).error(), ErrorCode::InUse);
  mover_->let_copy(kSize / kChunk);
  ASSERT_TRUE(channel_->wait(ticket, soon()).has_value());
  EXPECT_TRUE(channel_->detach_buffer(from_).has_value());
  EXPECT_TRUE(channel_->detach_buffer(to_).has_value());
}

}  // namespace
}  // namespace drivers::dma
