// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a batch whose engine wakes the waiters before the end and at the end.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "drivers/dma/batch.hpp"
#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

constexpr std::uint64_t kMebibyte = 1 << 20;
constexpr std::uint64_t kLength = 8 * kMebibyte;

TEST(BatchTest, NoEndIsSleptThrough) {
  // Waiters that hardly poll: they sleep, are woken early, and sleep again before the end. One lost
  // wake hangs this test.
  constexpr std::chrono::nanoseconds kSpin{1};
  constexpr int kRounds = 500;
  constexpr int kWaiters = 2;
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < kRounds; ++round) {
    Batch batch(nullptr, 1, 0, Callback());
    batch.set_length(kLength);
    std::atomic<int> waiting{0};
    std::vector<std::jthread> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.emplace_back([&] {
        ++waiting;
        EXPECT_TRUE(batch.wait(Channel::kForever, kSpin));
        EXPECT_TRUE(batch.finished());
      });
    }
    while (waiting != kWaiters) std::this_thread::yield();
    ASSERT_TRUE(batch.claim(0));
    for (std::uint64_t done = 0; done < kLength; done += kMebibyte) {
      for (auto yields = random() % 16; yields != 0; --yields) std::this_thread::yield();
      batch.pass(kMebibyte);
    }
    for (auto yields = random() % 16; yields != 0; --yields) std::this_thread::yield();
    batch.settle(0, {.status = Status::Done, .bytes = kLength});
  }
}

TEST(BatchTest, ALongOneStillHasADeadline) {
  Batch batch(nullptr, 1, 0, Callback());
  batch.set_length(kLength);
  ASSERT_TRUE(batch.claim(0));
  const auto deadline = Channel::Clock::now() + std::chrono::milliseconds(2);
  EXPECT_FALSE(batch.wait(deadline, std::chrono::microseconds(30)));
  EXPECT_GE(Channel::Clock::now(), deadline);
  // Its waiter has left for good: nobody is there to be woken early.
  batch.pass(kLength - 1);
  EXPECT_FALSE(batch.wait(Channel::Clock::time_point::min(), std::chrono::microseconds(30)));
  batch.settle(0, {.status = Status::Done, .bytes = kLength});
  EXPECT_TRUE(batch.wait(Channel::Clock::time_point::min(), std::chrono::microseconds(30)));
}

}  // namespace
}  // namespace drivers::dma
