// SPDX-License-Identifier: Apache-2.0
//
// Many messages through small rings, between threads and between processes: none lost, none twice,
// each producer's in order.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <hal/queue.hpp>

#include "resmgr/base/atomic.hpp"
#include "tests/hal/queue_support.hpp"

namespace hal::test {
namespace {

constexpr std::size_t kBytes = 40;
using Message = std::array<std::byte, kBytes>;

/// Producer and number in one, so that the whole message is told by it.
constexpr std::uint64_t tagged(std::uint64_t producer, std::uint64_t number) {
  return producer << 32 | number;
}

/// Whether every producer's messages come whole and in order.
class OrderCheck {
 public:
  explicit OrderCheck(std::size_t producers) : next_(producers) {}
  [[nodiscard]] bool take(const Message& got) {
    const std::uint64_t tag = number_of(got);
    const std::uint64_t producer = tag >> 32;
    return got == message<kBytes>(tag) && producer < next_.size() &&
           next_[producer]++ == (tag & 0xffffffffu);
  }

 private:
  std::vector<std::uint64_t> next_;
};

struct Shape {
  QueueKind kind;
  std::uint32_t producers;
  std::uint32_t capacity;
  bool locked;  ///< whether ringers use locked instructions instead of relying on membarriers
};

class QueueStressTest : public testing::TestWithParam<Shape> {
 protected:
  QueueStressTest() {
    if (GetParam().locked) {
      const RingMemory memory(queue_);
      memory.control().messages.locked = 1;
      memory.control().room.locked = 1;
    }
  }
  std::unique_ptr<ResourceManager> manager_ = make_manager();
  Queue queue_ = Queue::create(*manager_, "q",
                               {.message_bytes = kBytes,
                                .capacity = GetParam().capacity,
                                .kind = GetParam().kind,
                                .event_doorbell = true})
                     .value();
};

std::string shape_name(const testing::TestParamInfo<Shape>& info) {
  return std::to_string(info.param.producers) + "of" + std::to_string(info.param.capacity) +
         (info.param.kind == QueueKind::SingleProducer ? "Single" : "Multi") +
         (info.param.locked ? "Locked" : "");
}
INSTANTIATE_TEST_SUITE_P(Shapes, QueueStressTest,
                         testing::Values(Shape{QueueKind::SingleProducer, 1, 2, false},
                                         Shape{QueueKind::SingleProducer, 1, 64, false},
                                         Shape{QueueKind::SingleProducer, 1, 4, true},
                                         Shape{QueueKind::MultiProducer, 1, 2, false},
                                         Shape{QueueKind::MultiProducer, 4, 2, false},
                                         Shape{QueueKind::MultiProducer, 4, 16, false},
                                         Shape{QueueKind::MultiProducer, 4, 8, true}),
                         shape_name);

void produce(Queue& queue, std::uint64_t producer, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto bytes = message<kBytes>(tagged(producer, i));
    // Both ways in: spinning callers and sleeping ones.
    if (i % 3 == 0 && queue.try_push(bytes)) continue;
    ASSERT_TRUE(queue.push(bytes, patience()));
  }
}

TEST_P(QueueStressTest, ThreadsLoseNothing) {
  const std::uint64_t each = 20'000 / GetParam().producers;
  std::vector<std::thread> producers;
  for (std::uint64_t p = 0; p < GetParam().producers; ++p) {
    producers.emplace_back([&, p] { produce(queue_, p, each); });
  }
  OrderCheck check(GetParam().producers);
  for (std::uint64_t i = 0; i < each * GetParam().producers; ++i) {
    Message got{};
    ASSERT_TRUE(queue_.pop(got, patience()));
    ASSERT_TRUE(check.take(got)) << "message " << i;
  }
  for (std::thread& producer : producers) producer.join();
  Message got{};
  EXPECT_EQ(queue_.try_pop(got).error(), ErrorCode::WouldBlock);
}

TEST_P(QueueStressTest, EventDoorbellWakesInTime) {
  const std::uint64_t each = 4'000 / GetParam().producers;
  std::vector<std::thread> producers;
  for (std::uint64_t p = 0; p < GetParam().producers; ++p) {
    producers.emplace_back([&, p] { produce(queue_, p, each); });
  }
  OrderCheck check(GetParam().producers);
  std::uint64_t taken = 0;
  while (taken < each * GetParam().producers) {
    Message got{};
    while (queue_.try_pop(got)) {
      ASSERT_TRUE(check.take(got)) << "message " << taken;
      ++taken;
    }
    if (taken == each * GetParam().producers || queue_.prepare_wait().value()) continue;
    pollfd bell{.fd = queue_.bell(), .events = POLLIN, .revents = 0};
    // Unlike the futex, the poll does not look again by itself: one lost ring is the end.
    ASSERT_EQ(::poll(&bell, 1, 30'000), 1);
  }
  for (std::thread& producer : producers) producer.join();
}

// Who pushes at the very moment at which the consumer announces his sleep: either the consumer sees
// the message, or the producer the announcement. The window is a few nanoseconds wide, so both
// start together, many times.
TEST_P(QueueStressTest, PushOrSleepSeesTheOther) {
  constexpr std::uint32_t kRounds = 50'000;
  std::atomic<std::uint32_t> turn{0};  // even: both prepare; odd: the producer pushes
  const auto await = [&turn](std::uint32_t value) {
    for (int spins = 0; turn.load(std::memory_order_acquire) != value; ++spins) {
      if (spins > 1000) std::this_thread::yield();
    }
  };
  std::thread producer([&] {
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      await(2 * round + 1);
      // A little later each time: the two meet in some rounds whatever they cost.
      for (std::uint32_t i = 0; i < round % 64; ++i)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      EXPECT_TRUE(queue_.try_push(message<kBytes>(round)));
      turn.store(2 * round + 2, std::memory_order_release);
    }
  });
  std::uint32_t slept = 0;
  std::uint32_t missed = 0;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    turn.store(2 * round + 1, std::memory_order_release);
    const bool there = queue_.prepare_wait().value();
    await(2 * round + 2);
    pollfd bell{.fd = queue_.bell(), .events = POLLIN, .revents = 0};
    if (!there) {
      ++slept;
      if (::poll(&bell, 1, 0) != 1) ++missed;
    }
    Message got{};
    EXPECT_TRUE(queue_.try_pop(got));
  }
  producer.join();
  EXPECT_EQ(missed, 0u) << "of " << slept << " sleeps";
}

/// Runs `work` in a child that leaves by its result alone.
template <typename Work>
pid_t in_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  return child;
}

bool succeeded(pid_t child) {
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_P(QueueStressTest, ProcessesLoseNothing) {
  const std::uint64_t each = 10'000 / GetParam().producers;
  std::vector<pid_t> children;
  for (std::uint64_t p = 0; p < GetParam().producers; ++p) {
    children.push_back(in_child([&, p] {
      auto queue = Queue::attach(queue_.memory_fd().value(), queue_.bell_fd().value());
      for (std::uint64_t i = 0; queue && i < each; ++i) {
        if (!queue->push(message<kBytes>(tagged(p, i)), patience())) return false;
      }
      return queue.has_value();
    }));
    ASSERT_GT(children.back(), 0);
  }
  OrderCheck check(GetParam().producers);
  for (std::uint64_t i = 0; i < each * GetParam().producers; ++i) {
    Message got{};
    ASSERT_TRUE(queue_.pop(got, patience()));
    ASSERT_TRUE(check.take(got)) << "message " << i;
  }
  for (const pid_t child : children) EXPECT_TRUE(succeeded(child));
}

TEST_P(QueueStressTest, ConsumerInAnotherProcess) {
  const std::uint64_t count = 10'000;
  const pid_t child = in_child([&] {
    auto queue = Queue::attach(queue_.memory_fd().value(), queue_.bell_fd().value());
    OrderCheck check(1);
    for (std::uint64_t i = 0; queue && i < count; ++i) {
      Message got{};
      if (!queue->pop(got, patience()) || !check.take(got)) return false;
    }
    return queue.has_value();
  });
  ASSERT_GT(child, 0);
  produce(queue_, 0, count);
  EXPECT_TRUE(succeeded(child));
}

}  // namespace
}  // namespace hal::test
