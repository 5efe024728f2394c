// SPDX-License-Identifier: Apache-2.0
//
// The three ways to learn of the end, and a ring that is full.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <semaphore>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "drivers/dma/channel.hpp"
#include "drivers/dma/crc32c.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;

class CompletionTest : public testing::Test {
 protected:
  [[nodiscard]] std::array<Descriptor, 1> one() const {
    return {Descriptor::fill({buffer_, 0, 64}, 1)};
  }

  // Before the channel, whose worker may still be about to leave a callback.
  std::binary_semaphore told_{0};
  Bytes memory_ = Bytes(4096);
  std::unique_ptr<Channel> channel_ = open_channel({.ring_entries = 4});
  BufferId buffer_ = channel_->attach_buffer(memory_).value();
};

TEST_F(CompletionTest, WaitSeesTheMemoryWritten) {
  for (int round = 0; round < 2000; ++round) {
    const auto pattern = static_cast<unsigned char>(round);
    const Descriptor fill = Descriptor::fill({buffer_, 0, 64}, 0x0101010101010101u * pattern);
    const Ticket ticket = channel_->submit({&fill, 1}).value();
    ASSERT_TRUE(channel_->wait(ticket, soon()).has_value());
    ASSERT_EQ(memory_[0], std::byte{pattern});
    ASSERT_EQ(memory_[63], std::byte{pattern});
  }
}

TEST_F(CompletionTest, WaitHasADeadline) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  const Ticket ticket = channel_->submit(one()).value();
  const auto now = Channel::Clock::now();
  for (const auto deadline : {Channel::Clock::time_point::min(), Channel::Clock::time_point(), now,
                              now + std::chrono::milliseconds(2)}) {
    EXPECT_EQ(channel_->wait(ticket, deadline).error(), ErrorCode::TimedOut);
    EXPECT_GE(Channel::Clock::now(), deadline);
    EXPECT_EQ(channel_->drain(deadline).error(), ErrorCode::TimedOut);
  }
  blocked->release();
  EXPECT_TRUE(channel_->wait(ticket, Channel::kForever).has_value());
  // Finished is finished, whatever the deadline.
  EXPECT_TRUE(channel_->wait(ticket, Channel::Clock::time_point::min()).has_value());
}

TEST_F(CompletionTest, ManyWaitForOneBatch) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  const Ticket ticket = channel_->submit(one()).value();
  std::atomic<int> ended{0};
  {
    std::vector<std::jthread> waiters;
    for (int i = 0; i < 4; ++i) {
      waiters.emplace_back([&] { ended += channel_->wait(ticket, soon()).has_value() ? 1 : 0; });
    }
    blocked->release();
  }
  EXPECT_EQ(ended, 4);
}

TEST_F(CompletionTest, CallbackRunsOnceWhenAllIsFinal) {
  const std::vector<Descriptor> batch(4, one()[0]);
  std::atomic<int> calls{0};
  Ticket seen;
  std::thread::id where;
  const Ticket ticket = channel_
                            ->submit(batch,
                                     [&](const Ticket& finished) noexcept {
                                       ++calls;
                                       seen = finished;
                                       where = std::this_thread::get_id();
                                       told_.release();
                                     })
                            .value();
  told_.acquire();
  EXPECT_EQ(seen.batch(), ticket.batch());
  EXPECT_TRUE(seen.result().has_value());
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_NE(where, std::this_thread::get_id());
  ASSERT_TRUE(channel_->drain(soon()).has_value());
  channel_->close();
  EXPECT_EQ(calls, 1);
}

TEST_F(CompletionTest, CallbackRunsOnceWhenCancelled) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  std::optional<ErrorCode> error;
  const Ticket ticket = channel_
                            ->submit(one(),
                                     [&](const Ticket& finished) noexcept {
                                       if (auto end = finished.result(); !end) {
                                         error = end.error().code();
                                       }
                                       told_.release();
                                     })
                            .value();
  EXPECT_EQ(channel_->cancel(ticket).value(), 1u);
  EXPECT_FALSE(told_.try_acquire()) << "callbacks belong to the worker";
  blocked->release();
  told_.acquire();
  EXPECT_EQ(error, ErrorCode::Cancelled);
}

TEST_F(CompletionTest, CallbackMaySubmitAndCancelButNotWait) {
  Ticket next;
  std::optional<ErrorCode> waited;
  std::optional<ErrorCode> drained;
  bool quiesced = false;
  const auto ticket = channel_->submit(one(), [&](const Ticket& self) noexcept {
    // Finished, so there is nothing to wait for.
    if (!channel_->wait(self, soon())) return;
    next = channel_->submit(one()).value();
    waited = channel_->wait(next, soon()).error().code();
    drained = channel_->drain(soon()).error().code();
    quiesced = channel_->quiesce(soon()).has_value();
    told_.release();
  });
  ASSERT_TRUE(ticket.has_value());
  told_.acquire();
  EXPECT_EQ(waited, ErrorCode::Deadlock);
  EXPECT_EQ(drained, ErrorCode::Deadlock);
  EXPECT_TRUE(quiesced);
  EXPECT_EQ(next.result().error(), ErrorCode::Cancelled);
}

TEST_F(CompletionTest, CallbackOfARefusedBatchIsDropped) {
  auto alive = std::make_shared<int>(1);
  EXPECT_FALSE(channel_->submit({}, [alive](const Ticket&) noexcept {}).has_value());
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_F(CompletionTest, EventfdCountsFinishedBatches) {
  const int fd = channel_->completion_fd().value();
  EXPECT_EQ(channel_->completion_fd().value(), fd);
  EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  eventfd_t count = 0;
  EXPECT_NE(::eventfd_read(fd, &count), 0) << "nothing has finished yet";

  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  const std::vector<Descriptor> three(3, one()[0]);
  const Ticket first = channel_->submit(three).value();
  const Ticket cancelled = channel_->submit(one()).value();
  ASSERT_TRUE(channel_->cancel(cancelled).has_value());
  EXPECT_NE(::eventfd_read(fd, &count), 0) << "a callback still runs";
  blocked->release();

  ASSERT_TRUE(channel_->drain(soon()).has_value());
  EXPECT_TRUE(channel_->run(one(), soon()).has_value());
  eventfd_t total = 0;
  while (total < 4) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&ready, 1, 60'000), 1);
    ASSERT_EQ(::eventfd_read(fd, &count), 0);
    total += count;
  }
  EXPECT_EQ(total, 4u) << "the blocking batch, the one of three, the cancelled one, and run()'s";
  EXPECT_TRUE(first.result().has_value());
}

TEST_F(CompletionTest, AFullRingRefusesUntilThereIsRoom) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  // The blocking descriptor has left the ring; four fit.
  const std::vector<Descriptor> three(3, one()[0]);
  const std::vector<Descriptor> two(2, one()[0]);
  const Ticket first = channel_->submit(three).value();
  EXPECT_EQ(channel_->submit(two).error(), ErrorCode::WouldBlock);
  const Ticket second = channel_->submit(one()).value();
  EXPECT_EQ(channel_->submit(one()).error(), ErrorCode::WouldBlock);
  EXPECT_EQ(channel_->submit(one()).error(), ErrorCode::WouldBlock);

  blocked->release();
  // Who sees the outcome finds the room.
  ASSERT_TRUE(channel_->wait(first, soon()).has_value());
  const auto third = channel_->submit(three);
  ASSERT_TRUE(third.has_value()) << third.error().message();
  EXPECT_TRUE(channel_->wait(*third, soon()).has_value());
  EXPECT_TRUE(second.result().has_value());
}

TEST_F(CompletionTest, RunReturnsTheFinishedTicket) {
  // Small enough for the calling thread, and too large for it.
  Bytes large(1 << 20);
  const BufferId id = channel_->attach_buffer(large).value();
  for (const std::uint64_t length :
       {std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{1} << 20}) {
    const std::array batch = {Descriptor::fill({id, 0, length}, ~std::uint64_t{0}),
                              Descriptor::crc32c({id, 0, length})};
    const auto ticket = channel_->run(batch, soon());
    ASSERT_TRUE(ticket.has_value()) << ticket.error().message();
    EXPECT_TRUE(ticket->result().has_value());
    EXPECT_EQ(ticket->outcome(0)->bytes, length);
    EXPECT_EQ(ticket->outcome(1)->crc32c, crc32c(0, std::span(large).first(length)));
    EXPECT_EQ(std::ranges::count(large, std::byte{0xff}), static_cast<std::ptrdiff_t>(length));
  }
}

TEST_F(CompletionTest, SubmitDoesALittleWorkAtOnce) {
  const int fd = channel_->completion_fd().value();
  for (int round = 0; round < 1000; ++round) {
    const auto value = static_cast<unsigned char>(round);
    const Descriptor fill = Descriptor::fill({buffer_, 0, 4096}, 0x0101010101010101u * value);
    const Ticket ticket = channel_->submit({&fill, 1}).value();
    // The worker has had nothing at all, so this does not depend on its speed.
    ASSERT_TRUE(ticket.finished());
    ASSERT_EQ(ticket.outcome(0)->bytes, 4096u);
    ASSERT_EQ(memory_, Bytes(4096, std::byte{value}));
  }
  eventfd_t count = 0;
  ASSERT_EQ(::eventfd_read(fd, &count), 0);
  EXPECT_EQ(count, 1000u);
}

TEST_F(CompletionTest, SubmitDoesNothingAheadOfItsTurn) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  const Ticket behind = channel_->submit(one()).value();
  EXPECT_FALSE(behind.finished());
  blocked->release();
  EXPECT_TRUE(channel_->wait(behind, soon()).has_value());
}

TEST_F(CompletionTest, SubmitLeavesAllToTheWorkerIfToldSo) {
  const auto mover = std::make_shared<const GatedMover>();
  const auto channel = open_channel({}, {.mover = mover});
  const BufferId both = channel->attach_buffer(memory_).value();
  const std::array copy = {Descriptor::copy({both, 0, 64}, {both, 64, 64})};
  // Done in this thread, it would wait for the gate that opens below.
  const Ticket ticket = channel->submit(copy).value();
  EXPECT_FALSE(ticket.finished());
  mover->let_copy(1);
  EXPECT_TRUE(channel->wait(ticket, soon()).has_value());
}

TEST_F(CompletionTest, RunComesAfterWhatWasSubmitted) {
  const auto mover = std::make_shared<const GatedMover>();
  const auto channel = open_channel({}, {.mover = mover});
  Bytes first(64, std::byte{1});
  Bytes second(64);
  const BufferId a = channel->attach_source(first).value();
  const BufferId b = channel->attach_buffer(second).value();
  const std::array copy = {Descriptor::copy({a, 0, 64}, {b, 0, 64})};
  ASSERT_TRUE(channel->submit(copy).has_value());
  mover->wait_until_copying();
  // The gate opens only now that run() is behind the copy, or about to be.
  mover->let_copy(1);
  const Ticket ticket = channel->run(std::array{Descriptor::crc32c({b, 0, 64})}, soon()).value();
  EXPECT_EQ(ticket.outcome(0)->crc32c, crc32c(0, first));
}

TEST_F(CompletionTest, RunLeavesTheMemoryAtRest) {
  std::optional<BlockedWorker> blocked(std::in_place, *channel_, one()[0]);
  memory_.assign(memory_.size(), std::byte{0});
  EXPECT_EQ(channel_->run(one(), Channel::Clock::now()).error(), ErrorCode::TimedOut);
  EXPECT_TRUE(channel_->detach_buffer(buffer_).has_value()) << "nothing in flight refers to it";
  blocked->release();
  ASSERT_TRUE(channel_->drain(soon()).has_value());
  EXPECT_EQ(memory_, Bytes(4096));
}

TEST_F(CompletionTest, RunRefusesWhatSubmitRefuses) {
  EXPECT_EQ(channel_->run({}, soon()).error(), ErrorCode::InvalidArgument);
  {
    const BlockedWorker blocked(*channel_, one()[0]);
    const std::vector<Descriptor> four(4, one()[0]);
    ASSERT_TRUE(channel_->submit(four).has_value());
    EXPECT_EQ(channel_->run(one(), soon()).error(), ErrorCode::WouldBlock);
  }
  std::optional<ErrorCode> inside;
  ASSERT_TRUE(channel_->drain(soon()).has_value());
  ASSERT_TRUE(channel_
                  ->submit(one(),
                           [&](const Ticket&) noexcept {
                             inside = channel_->run(one(), soon()).error().code();
                             told_.release();
                           })
                  .has_value());
  told_.acquire();
  EXPECT_EQ(inside, ErrorCode::Deadlock);
  channel_->close();
  EXPECT_EQ(channel_->run(one(), soon()).error(), ErrorCode::Disconnected);
}

TEST_F(CompletionTest, OutcomesOutliveTheRingAndTheChannel) {
  const Ticket first = channel_->submit(one()).value();
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(channel_->wait(channel_->submit(one()).value(), soon()).has_value());
  }
  channel_.reset();
  EXPECT_TRUE(first.result().has_value());
  EXPECT_EQ(first.outcome(0)->bytes, 64u);
}

TEST(TicketTest, TheEmptyOneHasNothing) {
  const Ticket empty;
  EXPECT_FALSE(empty);
  EXPECT_EQ(empty.size(), 0u);
  EXPECT_TRUE(empty.finished());
  EXPECT_EQ(empty.outcome(0).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(empty.result().error(), ErrorCode::InvalidArgument);
}

TEST_F(CompletionTest, OutcomesAreBounded) {
  const Ticket ticket = channel_->submit(one()).value();
  EXPECT_EQ(ticket.outcome(1).error(), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace drivers::dma
