// SPDX-License-Identifier: Apache-2.0
//
// Channels that end with work in flight, and what their tickets say afterwards.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;

constexpr std::size_t kSize = 1000;

class TeardownTest : public testing::Test {
 protected:
  [[nodiscard]] Descriptor copy() const {
    return Descriptor::copy({from_, 0, kSize}, {to_, 0, kSize});
  }

  // Before the channel, whose worker may still be about to leave a callback.
  std::binary_semaphore closed_{0};
  std::shared_ptr<const GatedMover> mover_ = std::make_shared<const GatedMover>();
  Bytes from_memory_ = Bytes(kSize, std::byte{1});
  Bytes to_memory_ = Bytes(kSize);
  std::unique_ptr<Channel> channel_ =
      open_channel({.ring_entries = 8}, {.chunk_bytes = 100, .mover = mover_});
  BufferId from_ = channel_->attach_source(from_memory_).value();
  BufferId to_ = channel_->attach_buffer(to_memory_).value();
};

TEST_F(TeardownTest, CancelsWhatIsInFlightAndTellsEveryCallback) {
  std::atomic<int> told{0};
  const auto count = [&told](const Ticket&) noexcept { ++told; };
  const std::array batch = {copy(), copy()};
  const Ticket running = channel_->submit(batch, count).value();
  const Ticket queued = channel_->submit(batch, count).value();
  mover_->wait_until_copying();
  // The gate opens when the channel's end has been asked for, which the queued batch tells.
  const std::jthread opener([&] {
    static_cast<void>(queued.batch()->wait(soon(), {}));
    mover_->let_copy(1);
  });
  channel_.reset();

  EXPECT_EQ(told, 2);
  EXPECT_EQ(running.outcome(0)->status, Status::Cancelled);
  EXPECT_EQ(running.outcome(0)->bytes, 100u);
  EXPECT_EQ(running.outcome(1)->status, Status::Cancelled);
  EXPECT_EQ(queued.result().error(), ErrorCode::Cancelled);
  EXPECT_EQ(std::ranges::count(to_memory_, std::byte{1}), 100);
}

TEST_F(TeardownTest, DrainLetsItAllBeDone) {
  mover_->let_copy(40);
  const std::array batch = {copy(), copy()};
  const Ticket first = channel_->submit(batch).value();
  const Ticket second = channel_->submit(batch).value();
  EXPECT_TRUE(channel_->drain(soon()).has_value());
  channel_.reset();
  EXPECT_TRUE(first.result().has_value());
  EXPECT_TRUE(second.result().has_value());
}

TEST_F(TeardownTest, AClosedChannelRefuses) {
  channel_->close();
  channel_->close();
  const Descriptor descriptor = copy();
  EXPECT_EQ(channel_->submit({&descriptor, 1}).error(), ErrorCode::Disconnected);
  EXPECT_EQ(channel_->attach_buffer(to_memory_).error(), ErrorCode::Disconnected);
  EXPECT_EQ(channel_->attach_source(to_memory_).error(), ErrorCode::Disconnected);
  EXPECT_TRUE(channel_->detach_buffer(to_).has_value());
  EXPECT_TRUE(channel_->drain(soon()).has_value());
  EXPECT_TRUE(channel_->quiesce(soon()).has_value());
}

TEST_F(TeardownTest, ACallbackMayClose) {
  const Descriptor read = Descriptor::crc32c({from_, 0, kSize});
  static_cast<void>(channel_
                        ->submit({&read, 1},
                                 [&](const Ticket&) noexcept {
                                   channel_->close();
                                   closed_.release();
                                 })
                        .value());
  closed_.acquire();
  EXPECT_EQ(channel_->submit({&read, 1}).error(), ErrorCode::Disconnected);
}

TEST_F(TeardownTest, ClosedByManyAtOnce) {
  const Descriptor read = Descriptor::crc32c({from_, 0, kSize});
  std::vector<std::jthread> closers;
  for (int i = 0; i < 4; ++i) {
    closers.emplace_back([&] {
      static_cast<void>(channel_->submit({&read, 1}));
      channel_->close();
    });
  }
  closers.clear();
  EXPECT_EQ(channel_->submit({&read, 1}).error(), ErrorCode::Disconnected);
}

TEST(TeardownAnywhereTest, AtAnyMoment) {
  std::mt19937_64 random(test_seed());
  Bytes from = random_bytes(10'000, random);
  for (int round = 0; round < 300; ++round) {
    Bytes to(from.size());
    std::atomic<int> told{0};
    std::vector<Ticket> tickets;
    auto channel = open_channel({.ring_entries = 16}, {.chunk_bytes = 1 + random() % 2000});
    const BufferId in = channel->attach_source(from).value();
    const BufferId out = channel->attach_buffer(to).value();
    const auto batches = 1 + random() % 16;
    for (std::size_t i = 0; i < batches; ++i) {
      const std::size_t length = 1 + random() % from.size();
      const Descriptor copy = Descriptor::copy({in, 0, length}, {out, 0, length});
      tickets.push_back(
          channel->submit({&copy, 1}, [&told](const Ticket&) noexcept { ++told; }).value());
    }
    if (random() % 2 == 0) {
      static_cast<void>(channel->wait(tickets[random() % tickets.size()], soon()));
    }
    channel.reset();
    ASSERT_EQ(told, static_cast<int>(batches));
    for (const Ticket& ticket : tickets) {
      ASSERT_TRUE(ticket.finished());
      const Outcome outcome = ticket.outcome(0).value();
      ASSERT_EQ(outcome.status == Status::Done, !outcome.error.has_value());
      ASSERT_TRUE(std::equal(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(outcome.bytes),
                             from.begin()));
    }
  }
}

}  // namespace
}  // namespace drivers::dma
