// SPDX-License-Identifier: Apache-2.0
//
// Many threads on one channel: each has its own memory and checks every byte of it; some cancel,
// some quiesce. Meant for the thread sanitizer as much as for the checks in it.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
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

constexpr std::size_t kSize = 20'000;

/// One thread's user of the channel.
class User {
 public:
  User(Channel& channel, std::uint64_t seed) : channel_(channel), random_(seed) {}

  void run(int rounds) {
    for (int round = 0; round < rounds && !testing::Test::HasFailure(); ++round) turn();
    // What a quiescing neighbour cancelled has left the channel too.
    EXPECT_TRUE(channel_.drain(soon()).has_value());
    EXPECT_TRUE(channel_.detach_buffer(in_).has_value());
    EXPECT_TRUE(channel_.detach_buffer(out_).has_value());
  }

 private:
  void turn() {
    const std::size_t length = 1 + random_() % kSize;
    const std::array batch = {
        Descriptor::fill({out_, 0, kSize}, random_()),
        Descriptor::copy({in_, 0, length}, {out_, 0, length}),
        Descriptor::crc32c({out_, 0, length}),
    };
    if (random_() % 4 == 0) {
      check(channel_.run(batch, soon()), length);
      return;
    }
    // Shared: the worker may still be inside release() when we are on the way to the next turn.
    const auto told = std::make_shared<std::binary_semaphore>(0);
    hal::Result<Ticket> ticket;
    do {
      ticket = channel_.submit(batch, [told](const Ticket&) noexcept { told->release(); });
      if (!ticket) std::this_thread::yield();
    } while (!ticket && ticket.error() == hal::ErrorCode::WouldBlock);
    ASSERT_TRUE(ticket.has_value()) << ticket.error().message();

    if (random_() % 8 == 0) static_cast<void>(channel_.cancel(*ticket));
    auto ended = channel_.wait(*ticket, soon());
    check(ended ? ticket : std::unexpected(std::move(ended.error())), length);
    told->acquire();
  }

  /// Looks at the memory of a batch that has ended.
  void check(const hal::Result<Ticket>& ended, std::size_t length) {
    if (ended) {
      EXPECT_TRUE(std::equal(to_.begin(), to_.begin() + static_cast<std::ptrdiff_t>(length),
                             from_.begin()));
      EXPECT_EQ(ended->outcome(2)->crc32c, crc32c(0, std::span(from_).first(length)));
    } else {
      // Cancelled, or run() found the ring full. It is quiet either way: writing to the memory is
      // ours alone, as the sanitizer checks.
      EXPECT_TRUE(ended.error() == hal::ErrorCode::Cancelled ||
                  ended.error() == hal::ErrorCode::WouldBlock)
          << ended.error().message();
      std::ranges::fill(to_, std::byte{0});
    }
  }

  Channel& channel_;
  std::mt19937_64 random_;
  Bytes from_ = random_bytes(kSize, random_);
  Bytes to_ = Bytes(kSize);
  BufferId in_ = channel_.attach_source(from_).value();
  BufferId out_ = channel_.attach_buffer(to_).value();
};

TEST(StressTest, ManyUsersOfOneChannel) {
  constexpr int kUsers = 6;
  constexpr int kRounds = 400;
  // A short ring and short spins, so that it is full and asleep often.
  const auto channel = open_channel({.ring_entries = 8},
                                    {.spin = std::chrono::microseconds(1), .chunk_bytes = 1000});
  ASSERT_TRUE(channel->completion_fd().has_value());
  std::atomic<bool> stop{false};
  std::jthread quiescer([&] {
    while (!stop.load()) {
      EXPECT_TRUE(channel->quiesce(soon()).has_value());
      std::this_thread::yield();
    }
  });
  {
    std::vector<std::jthread> users;
    for (int i = 0; i < kUsers; ++i) {
      users.emplace_back([&channel, seed = test_seed() + static_cast<std::uint64_t>(i)] {
        User(*channel, seed).run(kRounds);
      });
    }
  }
  stop = true;
}

}  // namespace
}  // namespace drivers::dma
