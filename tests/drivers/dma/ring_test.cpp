// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

constexpr std::chrono::nanoseconds kNoSpin{0};

/// A batch of `size` descriptors without work.
std::shared_ptr<Batch> batch_of(std::size_t size) {
  return std::make_shared<Batch>(nullptr, size, 0, Callback());
}

/// Takes the front out. Returns its address.
Batch* take(Ring& ring) {
  Batch* const batch = ring.front(kNoSpin)->get();
  for (std::size_t i = 0; i < batch->size(); ++i) ring.leave();
  ring.retire();
  return batch;
}

TEST(RingTest, GivesBackInOrderAcrossItsEnd) {
  Ring ring(8);
  std::mt19937_64 random(test_seed());
  std::deque<std::shared_ptr<Batch>> expected;
  for (int round = 0; round < 500; ++round) {
    const auto batch = batch_of(1 + random() % 8);
    while (!ring.has_room(batch->size())) {
      ASSERT_EQ(take(ring), expected.front().get());
      expected.pop_front();
    }
    ring.push(batch);
    expected.push_back(batch);
    std::vector<std::shared_ptr<Batch>> seen;
    ring.for_each([&seen](const std::shared_ptr<Batch>& one) { seen.push_back(one); });
    ASSERT_TRUE(std::ranges::equal(seen, expected));
    ASSERT_FALSE(ring.empty());
  }
  while (!expected.empty()) {
    ASSERT_EQ(take(ring), expected.front().get());
    expected.pop_front();
  }
  EXPECT_TRUE(ring.empty());
}

TEST(RingTest, HasAsMuchRoomAsItHasEntries) {
  Ring ring(4);
  EXPECT_TRUE(ring.has_room(4));
  EXPECT_FALSE(ring.has_room(5));
  ring.push(batch_of(3));
  EXPECT_TRUE(ring.has_room(1));
  EXPECT_FALSE(ring.has_room(2));
  ring.push(batch_of(1));
  EXPECT_FALSE(ring.has_room(1));
  // A descriptor leaves before its batch is retired.
  ASSERT_NE(ring.front(kNoSpin), nullptr);
  ring.leave();
  EXPECT_TRUE(ring.has_room(1));
  EXPECT_FALSE(ring.has_room(2));
}

TEST(RingTest, HoldsAFullRingBesideTheOneThatIsNotRetired) {
  for (const std::uint32_t entries : {1u, 2u, 8u}) {
    Ring ring(entries);
    std::vector<std::shared_ptr<Batch>> pushed;
    const auto push = [&] {
      ASSERT_TRUE(ring.has_room(1));
      pushed.push_back(batch_of(1));
      ring.push(pushed.back());
    };
    for (std::uint32_t i = 0; i < entries; ++i) push();
    ASSERT_NE(ring.front(kNoSpin), nullptr);
    ring.leave();
    push();
    EXPECT_FALSE(ring.has_room(1));
    ring.retire();
    for (std::size_t i = 1; i < pushed.size(); ++i) EXPECT_EQ(take(ring), pushed[i].get());
  }
}

TEST(RingTest, ClosedItGivesWhatIsLeftThenNothing) {
  Ring ring(4);
  const auto first = batch_of(2);
  const auto second = batch_of(2);
  ring.push(first);
  ring.push(second);
  ring.close();
  EXPECT_EQ(take(ring), first.get());
  EXPECT_EQ(take(ring), second.get());
  EXPECT_EQ(ring.front(kNoSpin), nullptr);
  EXPECT_EQ(ring.front(kNoSpin), nullptr);
}

TEST(RingTest, NoWorkIsSleptThrough) {
  // Without spinning, the worker sleeps after nearly every entry; one lost wake hangs this test.
  constexpr std::size_t kEntries = 20'000;
  for (const auto spin : {kNoSpin, std::chrono::nanoseconds(500)}) {
    Ring ring(2);
    std::size_t taken = 0;
    {
      const std::jthread worker([&] {
        while (ring.front(spin) != nullptr) {
          ring.prefetch_next();
          ring.leave();
          ring.retire();
          ++taken;
        }
      });
      const auto batch = batch_of(1);
      for (std::size_t i = 0; i < kEntries; ++i) {
        while (!ring.has_room(1)) std::this_thread::yield();
        ring.push(batch);
      }
      ring.close();
    }
    EXPECT_EQ(taken, kEntries);
  }
}

}  // namespace
}  // namespace drivers::dma
