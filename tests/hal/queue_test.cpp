// SPDX-License-Identifier: Apache-2.0
#include <hal/queue.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/base/atomic.hpp"
#include "tests/hal/queue_support.hpp"

namespace hal::test {
namespace {

constexpr std::size_t kBytes = 24;
using Message = std::array<std::byte, kBytes>;

class QueueTest : public testing::TestWithParam<QueueKind> {
 protected:
  Queue make(std::uint32_t capacity = 8, bool bell = false) {
    return Queue::create(*manager_, "q",
                         {.message_bytes = kBytes,
                          .capacity = capacity,
                          .kind = GetParam(),
                          .event_doorbell = bell,
                          .protocol = 77})
        .value();
  }
  std::unique_ptr<ResourceManager> manager_ = make_manager();
};

std::string kind_name(const testing::TestParamInfo<QueueKind>& info) {
  return info.param == QueueKind::SingleProducer ? "SingleProducer" : "MultiProducer";
}
INSTANTIATE_TEST_SUITE_P(Kinds, QueueTest,
                         testing::Values(QueueKind::SingleProducer, QueueKind::MultiProducer),
                         kind_name);

TEST_P(QueueTest, PassesMessagesInOrder) {
  Queue queue = make();
  for (std::uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
  for (std::uint64_t i = 0; i < 5; ++i) {
    Message got{};
    ASSERT_TRUE(queue.try_pop(got));
    EXPECT_EQ(got, message<kBytes>(i));
  }
}

TEST_P(QueueTest, TellsWhatItIs) {
  Queue queue = make(16);
  EXPECT_TRUE(queue);
  EXPECT_EQ(queue.message_bytes(), kBytes);
  EXPECT_EQ(queue.capacity(), 16u);
  EXPECT_EQ(queue.kind(), GetParam());
  EXPECT_EQ(queue.protocol(), 77u);
  EXPECT_EQ(queue.bell(), -1);
  EXPECT_EQ(queue.bell_fd().error(), ErrorCode::Unsupported);
  EXPECT_EQ(queue.prepare_wait().error(), ErrorCode::Unsupported);
}

TEST_P(QueueTest, IsARegisteredCommunicationResource) {
  Queue queue = make();
  const ResourceInfo info = manager_->info(manager_->find("q").value()).value();
  EXPECT_EQ(info.handle, queue.handle());
  EXPECT_EQ(info.metadata.type, ResourceType::Communication);
  EXPECT_EQ(info.metadata.class_name, "queue");
  EXPECT_TRUE(info.has_fd);
  EXPECT_EQ(info.metadata.size_bytes, RingMemory(queue).bytes().size());
  EXPECT_TRUE(manager_->teardown(queue.handle()));
  EXPECT_EQ(manager_->size(), 0u);
  EXPECT_TRUE(queue.try_push(message<kBytes>(1))) << "the memory outlives its resource";
}

TEST_P(QueueTest, IsFullAtItsCapacityAndEmptyAfterIt) {
  Queue queue = make(4);
  Message got{};
  EXPECT_EQ(queue.try_pop(got).error(), ErrorCode::WouldBlock);
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
  EXPECT_EQ(queue.try_push(message<kBytes>(4)).error(), ErrorCode::WouldBlock);
  ASSERT_TRUE(queue.try_pop(got));
  EXPECT_EQ(number_of(got), 0u) << "a refused push changes nothing";
  EXPECT_TRUE(queue.try_push(message<kBytes>(5)));
  for (const std::uint64_t expected : {1u, 2u, 3u, 5u}) {
    ASSERT_TRUE(queue.try_pop(got));
    EXPECT_EQ(number_of(got), expected);
  }
  EXPECT_EQ(queue.try_pop(got).error(), ErrorCode::WouldBlock);
}

TEST_P(QueueTest, GoesRoundManyTimes) {
  for (const std::uint32_t capacity : {2u, 4u, 8u}) {
    Queue queue = Queue::create(*manager_, "round/" + std::to_string(capacity),
                                {.message_bytes = kBytes, .capacity = capacity, .kind = GetParam()})
                      .value();
    std::uint64_t pushed = 0;
    std::uint64_t popped = 0;
    for (std::uint32_t round = 0; round < 1000; ++round) {
      for (std::uint32_t i = 0; i <= round % capacity; ++i) {
        ASSERT_TRUE(queue.try_push(message<kBytes>(pushed++)));
      }
      while (popped < pushed) {
        Message got{};
        ASSERT_TRUE(queue.try_pop(got));
        ASSERT_EQ(got, message<kBytes>(popped++));
      }
    }
  }
}

// The counters of a ring in use for years, and the 40 bits of a lap, pass their end.
TEST_P(QueueTest, CountersMayOverflow) {
  Queue queue = make(4);
  RingMemory memory(queue);
  for (const std::uint64_t start : {(std::uint64_t{1} << 42) - 8, ~std::uint64_t{0} - 7}) {
    memory.control().head = memory.control().tail = start;
    for (std::uint64_t i = start; i != start + 4; ++i) {
      memory.word(i) = GetParam() == QueueKind::MultiProducer
                           ? ring::slot_word(i / 4, ring::SlotState::Free)
                           : 0;
    }
    Queue fresh = Queue::attach(queue.memory_fd().value()).value();
    for (std::uint64_t i = 0; i < 20; i += 3) {
      for (std::uint64_t n = i; n < i + 3; ++n) ASSERT_TRUE(fresh.try_push(message<kBytes>(n)));
      for (std::uint64_t n = i; n < i + 3; ++n) {
        Message got{};
        ASSERT_TRUE(fresh.try_pop(got));
        ASSERT_EQ(got, message<kBytes>(n));
      }
    }
  }
}

TEST_P(QueueTest, RefusesMessagesOfAnotherSize) {
  Queue queue = make();
  std::array<std::byte, kBytes + 1> bytes{};
  for (const std::size_t size : {std::size_t{0}, kBytes - 1, kBytes + 1}) {
    const std::span<std::byte> wrong(bytes.data(), size);
    EXPECT_EQ(queue.try_push(wrong).error(), ErrorCode::InvalidArgument);
    EXPECT_EQ(queue.push(wrong, Queue::kForever).error(), ErrorCode::InvalidArgument);
    EXPECT_EQ(queue.try_pop(wrong).error(), ErrorCode::InvalidArgument);
    EXPECT_EQ(queue.pop(wrong, Queue::kForever).error(), ErrorCode::InvalidArgument);
  }
  Message got{};
  EXPECT_EQ(queue.try_pop(got).error(), ErrorCode::WouldBlock) << "nothing was pushed";
}

TEST_P(QueueTest, DeadlinesEnd) {
  Queue queue = make(2);
  Message got{};
  for (const Queue::TimePoint deadline :
       {in(1ms), in(-1s), Queue::TimePoint(), Queue::TimePoint::min()}) {
    EXPECT_EQ(queue.pop(got, deadline).error(), ErrorCode::TimedOut);
    EXPECT_GE(Queue::Clock::now(), deadline);
  }
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_TRUE(queue.push(message<kBytes>(i), in(-1s)));
  for (const Queue::TimePoint deadline :
       {in(1ms), in(-1s), Queue::TimePoint(), Queue::TimePoint::min()}) {
    EXPECT_EQ(queue.push(message<kBytes>(9), deadline).error(), ErrorCode::TimedOut);
    EXPECT_GE(Queue::Clock::now(), deadline);
  }
  EXPECT_TRUE(queue.pop(got, in(-1s))) << "what is there is given also after the deadline";
}

TEST_P(QueueTest, RingsForASleepingConsumer) {
  Queue queue = make();
  RingMemory memory(queue);
  for (const std::uint32_t locked : {0u, 1u}) {
    resmgr::store(memory.control().messages.locked, locked);
    std::thread consumer([&queue, locked] {
      Message got{};
      ASSERT_TRUE(queue.pop(got, patience()));
      EXPECT_EQ(number_of(got), locked);
    });
    while (resmgr::load(memory.control().messages.announced) == 0) std::this_thread::yield();
    const std::uint32_t before = resmgr::load(memory.control().messages.sequence);
    EXPECT_TRUE(queue.try_push(message<kBytes>(locked)));
    consumer.join();
    EXPECT_EQ(resmgr::load(memory.control().messages.sequence), before + 1);
    EXPECT_EQ(resmgr::load(memory.control().messages.announced), 0u);
  }
}

TEST_P(QueueTest, RingsForSleepingProducers) {
  Queue queue = make(2);
  RingMemory memory(queue);
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
  std::thread producer([&queue] { EXPECT_TRUE(queue.push(message<kBytes>(2), patience())); });
  while (resmgr::load(memory.control().room.announced) == 0) std::this_thread::yield();
  const std::uint32_t before = resmgr::load(memory.control().room.sequence);
  for (std::uint64_t i = 0; i < 3; ++i) {
    Message got{};
    ASSERT_TRUE(queue.pop(got, patience()));
    EXPECT_EQ(number_of(got), i);
  }
  producer.join();
  EXPECT_EQ(resmgr::load(memory.control().room.sequence), before + 1);
}

TEST_P(QueueTest, DoesNotRingWhenNobodySleeps) {
  Queue queue = make(8, true);
  RingMemory memory(queue);
  for (std::uint64_t i = 0; i < 8; ++i) ASSERT_TRUE(queue.try_push(message<kBytes>(i)));
  Message got{};
  for (std::uint64_t i = 0; i < 8; ++i) ASSERT_TRUE(queue.try_pop(got));
  EXPECT_EQ(memory.control().messages.sequence, 0u);
  EXPECT_EQ(memory.control().room.sequence, 0u);
  pollfd bell{.fd = queue.bell(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&bell, 1, 0), 0);
}

TEST_P(QueueTest, EventDoorbellFollowsAnnouncements) {
  Queue queue = make(8, true);
  Queue producer = Queue::attach(queue.memory_fd().value(), queue.bell_fd().value()).value();
  pollfd bell{.fd = queue.bell(), .events = POLLIN, .revents = 0};

  EXPECT_FALSE(queue.prepare_wait().value());
  EXPECT_EQ(::poll(&bell, 1, 0), 0);
  ASSERT_TRUE(producer.try_push(message<kBytes>(1)));
  ASSERT_TRUE(producer.try_push(message<kBytes>(2)));
  EXPECT_EQ(::poll(&bell, 1, 0), 1);
  EXPECT_TRUE(queue.prepare_wait().value()) << "messages wait";
  EXPECT_EQ(::poll(&bell, 1, 0), 0) << "prepare_wait empties the bell";
  Message got{};
  ASSERT_TRUE(queue.try_pop(got));
  ASSERT_TRUE(queue.try_pop(got));
  EXPECT_FALSE(queue.prepare_wait().value());
  ASSERT_TRUE(producer.try_push(message<kBytes>(3)));
  EXPECT_EQ(::poll(&bell, 1, 0), 1);
}

TEST_P(QueueTest, BellThatWasMadeBlockingIsReadWithoutWaiting) {
  Queue queue = make(8, true);
  ASSERT_EQ(::fcntl(queue.bell(), F_SETFL, O_RDWR), 0);
  EXPECT_FALSE(queue.prepare_wait().value());
}

TEST_P(QueueTest, DoorbellIsTornDownWithTheQueue) {
  Queue queue = make(8, true);
  EXPECT_EQ(manager_->size(), 2u);
  EXPECT_TRUE(manager_->find("q/bell"));
  EXPECT_TRUE(manager_->teardown(queue.handle()));
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_P(QueueTest, OpensByName) {
  Queue queue = make(8, true);
  Queue other = Queue::open(*manager_, "q").value();
  EXPECT_EQ(other.handle(), queue.handle());
  EXPECT_GE(other.bell(), 0);
  EXPECT_FALSE(other.prepare_wait().value());
  ASSERT_TRUE(queue.try_push(message<kBytes>(3)));
  Message got{};
  ASSERT_TRUE(other.try_pop(got));
  EXPECT_EQ(number_of(got), 3u);
}

TEST_P(QueueTest, SidesMayChangeHands) {
  Queue first = make(4);
  Queue second = Queue::open(*manager_, "q").value();
  Message got{};
  std::uint64_t pushed = 0;
  std::uint64_t popped = 0;
  for (int round = 0; round < 50; ++round) {
    for (Queue* queue : {&first, &second}) {
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue->try_push(message<kBytes>(pushed++)));
      Queue* consumer = round % 2 ? &first : &second;
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(consumer->try_pop(got));
        ASSERT_EQ(number_of(got), popped++);
      }
    }
  }
}

TEST_P(QueueTest, EmptyAndClosedOnesRefuseEverything) {
  Queue moved_from = make();
  Queue closed = std::move(moved_from);
  closed.close();
  closed.close();
  Queue never;
  for (Queue* queue : {&never, &closed, &moved_from}) {
    Message bytes{};
    EXPECT_FALSE(*queue);
    EXPECT_EQ(queue->try_push(bytes).error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->push(bytes, Queue::kForever).error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->try_pop(bytes).error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->pop(bytes, Queue::kForever).error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->prepare_wait().error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->skip_stalled({}, StalledProducer::Dead).error(), ErrorCode::Disconnected);
    EXPECT_FALSE(queue->stalled());
    EXPECT_EQ(queue->memory_fd().error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->bell_fd().error(), ErrorCode::Disconnected);
    EXPECT_EQ(queue->bell(), -1);
    EXPECT_EQ(queue->message_bytes(), 0u);
    EXPECT_EQ(queue->capacity(), 0u);
    EXPECT_EQ(queue->protocol(), 0u);
    EXPECT_TRUE(queue->handle().is_null());
  }
}

TEST_P(QueueTest, OutlivesTheManager) {
  Queue queue = make();
  manager_->close();
  manager_.reset();
  EXPECT_TRUE(queue.try_push(message<kBytes>(1)));
  Message got{};
  EXPECT_TRUE(queue.try_pop(got));
}

TEST(QueueCreate, RefusesOptionsOutOfRange) {
  auto manager = make_manager();
  const std::vector<QueueOptions> wrong{
      {.message_bytes = 0},
      {.message_bytes = Queue::kMaxMessageBytes + 1},
      {.message_bytes = ~0u},
      {.capacity = 0},
      {.capacity = 1},
      {.capacity = 3},
      {.capacity = 255},
      {.capacity = Queue::kMaxCapacity * 2},
      {.capacity = 1u << 31},
      {.capacity = ~0u},
      {.message_bytes = Queue::kMaxMessageBytes, .capacity = Queue::kMaxCapacity},
      {.kind = static_cast<QueueKind>(2)},
      {.kind = static_cast<QueueKind>(~0u)},
  };
  for (const QueueOptions& options : wrong) {
    EXPECT_EQ(Queue::create(*manager, "q", options).error(), ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(manager->size(), 0u);
}

TEST(QueueCreate, TakesTheLimits) {
  auto manager = make_manager();
  EXPECT_TRUE(Queue::create(*manager, "small", {.message_bytes = 1, .capacity = 2}));
  EXPECT_TRUE(
      Queue::create(*manager, "wide", {.message_bytes = Queue::kMaxMessageBytes, .capacity = 2}));
  EXPECT_TRUE(
      Queue::create(*manager, "long", {.message_bytes = 1, .capacity = Queue::kMaxCapacity}));
}

TEST(QueueCreate, LeavesNothingBehindWhenItFails) {
  auto manager = make_manager();
  const QueueOptions options{.event_doorbell = true};
  for (const std::string& name : {std::string(), std::string("a b"), std::string("\0", 1),
                                  std::string(96, 'x'), std::string(91, 'x')}) {
    EXPECT_EQ(Queue::create(*manager, name, options).error(), ErrorCode::InvalidName) << name;
  }
  EXPECT_EQ(manager->size(), 0u);
  EXPECT_TRUE(Queue::create(*manager, std::string(90, 'x'), options));
  EXPECT_TRUE(manager->register_resource("taken", {}));
  EXPECT_TRUE(manager->register_resource("other/bell", {}));
  const std::uint32_t before = manager->size();
  EXPECT_EQ(Queue::create(*manager, "taken", options).error(), ErrorCode::AlreadyExists);
  EXPECT_EQ(Queue::create(*manager, "other", options).error(), ErrorCode::AlreadyExists);
  EXPECT_EQ(manager->size(), before);
  EXPECT_FALSE(manager->find("taken/bell"));
  EXPECT_FALSE(manager->find("other"));
  manager->close();
  EXPECT_EQ(Queue::create(*manager, "late", options).error(), ErrorCode::Disconnected);
}

TEST(QueueCreate, LeavesNothingBehindWhereNoContextIsToBeHad) {
  auto manager = ResourceManager::create({.capacities = {.contexts = 1}}).value();
  const Context only = manager->create_context().value();
  EXPECT_TRUE(manager->register_resource("taken", {}));
  EXPECT_EQ(Queue::create(*manager, "taken", {.event_doorbell = true}).error(),
            ErrorCode::AlreadyExists);
  EXPECT_EQ(manager->size(), 1u);
}

TEST(QueueCreate, LeavesNothingBehindWhereNoDependencyIsToBeHad) {
  auto manager = ResourceManager::create({.capacities = {.dependencies = 0}}).value();
  EXPECT_EQ(Queue::create(*manager, "q", {.event_doorbell = true}).error(),
            ErrorCode::CapacityExceeded);
  EXPECT_EQ(manager->size(), 0u);
  EXPECT_TRUE(Queue::create(*manager, "q"));
}

TEST(QueueOpen, RefusesWhatIsNoQueue) {
  auto manager = make_manager();
  EXPECT_EQ(Queue::open(*manager, "none").error(), ErrorCode::NotFound);
  EXPECT_EQ(Queue::open(*manager, "").error(), ErrorCode::InvalidName);
  EXPECT_TRUE(manager->register_resource("plain", {.type = ResourceType::Communication}));
  EXPECT_EQ(Queue::open(*manager, "plain").error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(manager->register_resource(
      "empty", {.type = ResourceType::Communication, .class_name = "queue"}));
  EXPECT_EQ(Queue::open(*manager, "empty").error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(manager->register_resource(
      "bell", {.type = ResourceType::Communication, .class_name = "queue"},
      {.fd = UniqueFd(::eventfd(0, EFD_CLOEXEC))}));
  EXPECT_EQ(Queue::open(*manager, "bell").error(), ErrorCode::InvalidArgument);
}

TEST(QueueOpen, LeavesOthersBellsAlone) {
  auto manager = make_manager();
  Queue queue = Queue::create(*manager, "q").value();
  EXPECT_TRUE(
      manager->register_resource("q/bell", {}, {.fd = UniqueFd(::eventfd(0, EFD_CLOEXEC))}));
  EXPECT_EQ(Queue::open(*manager, "q").value().bell(), -1);
}

}  // namespace
}  // namespace hal::test
