// SPDX-License-Identifier: Apache-2.0
//
// Replies to a client that takes them late, or not at all.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "drivers/dma/reply_line.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

using namespace std::chrono_literals;
using hal::ErrorCode;

constexpr std::uint32_t kCapacity = 4;
constexpr std::size_t kRoom = 8;
constexpr auto kNow = Channel::Clock::time_point::min();

class ReplyLineTest : public testing::Test {
 protected:
  [[nodiscard]] ReplyLine make(std::chrono::nanoseconds patience) {
    auto replies = RemoteReplies::create(*manager_, "replies", {.capacity = kCapacity}).value();
    client_ = std::make_unique<RemoteReplies>(
        RemoteReplies::attach(replies.queue().memory_fd().value()).value());
    return ReplyLine(std::move(replies), kRoom, patience);
  }
  static void send(ReplyLine& line, std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t tag = first; tag < first + count; ++tag) line.send({.tag = tag});
  }
  void expect(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t tag = first; tag < first + count; ++tag) {
      const auto reply = client_->try_pop();
      ASSERT_TRUE(reply);
      EXPECT_EQ(reply->tag, tag);
    }
  }

  std::unique_ptr<hal::ResourceManager> manager_ = hal::ResourceManager::create().value();
  std::unique_ptr<RemoteReplies> client_;
};

TEST_F(ReplyLineTest, WhatFindsNoRoomWaitsInOrder) {
  ReplyLine line = make(1h);
  send(line, 0, kCapacity);
  EXPECT_TRUE(line.idle());
  send(line, kCapacity, kRoom);
  EXPECT_FALSE(line.idle());
  EXPECT_FALSE(line.flush(kNow).value());
  expect(0, 2);
  EXPECT_FALSE(line.flush(kNow).value());
  expect(2, kCapacity);
  // There is room now, but those that wait go first.
  send(line, kCapacity + kRoom, 1);
  EXPECT_FALSE(line.flush(kNow).value());
  expect(2 + kCapacity, kCapacity);
  EXPECT_TRUE(line.flush(kNow).value());
  EXPECT_TRUE(line.idle());
  expect(2 + 2 * kCapacity, 3);
  EXPECT_EQ(client_->try_pop().error(), ErrorCode::WouldBlock);
}

TEST_F(ReplyLineTest, AFullRingThatDoesNotMoveFailsTheLine) {
  ReplyLine line = make(1ms);
  send(line, 0, kCapacity + 1);
  // Until the patience is over, however late the caller would wait.
  const auto flushed = line.flush(soon());
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error(), ErrorCode::TimedOut);
  expect(0, kCapacity);
  send(line, kCapacity, 1);
  EXPECT_EQ(line.flush(soon()).error(), ErrorCode::TimedOut) << "it stays";
  EXPECT_EQ(client_->try_pop().error(), ErrorCode::WouldBlock);
}

TEST_F(ReplyLineTest, ARingThatMovesIsNotGivenUp) {
  constexpr auto kPatience = 250ms;
  ReplyLine line = make(kPatience);
  std::uint64_t sent = kCapacity + 2;
  send(line, 0, sent);
  const auto end = Channel::Clock::now() + 2 * kPatience;
  for (std::uint64_t taken = 0; Channel::Clock::now() < end; ++taken) {
    expect(taken, 1);
    const auto flushed = line.flush(kNow);
    ASSERT_TRUE(flushed) << flushed.error().message();
    EXPECT_FALSE(*flushed);
    send(line, sent++, 1);
  }
}

TEST_F(ReplyLineTest, AShutLineDropsWhatComes) {
  ReplyLine line = make(1h);
  send(line, 0, kCapacity);
  expect(0, kCapacity);
  line.shut();
  send(line, 0, 1);
  EXPECT_EQ(client_->try_pop().error(), ErrorCode::WouldBlock);
  EXPECT_EQ(line.flush(kNow).error(), ErrorCode::Disconnected);
}

}  // namespace
}  // namespace drivers::dma
