// SPDX-License-Identifier: Apache-2.0
//
// Queues between processes, of which one may not see /proc.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <hal/queue.hpp>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;
using Message = std::array<std::byte, 64>;

// With a doorbell, and shared with the drivers named "user".
Result<Queue> make(ResourceManager& manager) {
  const auto maker = manager.register_driver("maker");
  const auto user = manager.register_driver("user");
  if (!maker || !user) return resmgr::fail(ErrorCode::NotFound, "a driver");
  auto queue =
      Queue::create(manager, "q", {.capacity = 4, .event_doorbell = true, .driver = *maker});
  if (!queue) return queue;
  for (const char* const part : {"q", "q/bell"}) {
    const auto shared = manager.share_resource(manager.find(part).value(), *maker, *user,
                                               Rights::Read | Rights::Write);
    if (!shared) return std::unexpected(shared.error());
  }
  return queue;
}
Result<Queue> open(ResourceManager& manager) {
  const auto user = manager.register_driver("user");
  return user ? Queue::open(manager, "q", *user) : std::unexpected(user.error());
}

bool see_proc() { return true; }
using Look = bool (*)();

class ServedQueue : public ::testing::TestWithParam<Look> {
 protected:
  void SetUp() override {
    if (GetParam() == hide_proc && !can_hide_proc()) GTEST_SKIP() << "/proc can't be hidden";
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
};

INSTANTIATE_TEST_SUITE_P(Looks, ServedQueue, ::testing::Values(see_proc, hide_proc),
                         [](const auto& test) {
                           return std::string(test.param == hide_proc ? "WithoutProc" : "WithProc");
                         });

// Sleeps by the doorbell until a message is there.
bool take_by_doorbell(Queue& queue, Message& message) {
  const auto ready = queue.prepare_wait();
  if (!ready) return false;
  pollfd wait{queue.bell(), POLLIN, 0};
  if (!*ready && ::poll(&wait, 1, -1) != 1) return false;
  return queue.try_pop(message).has_value();
}

TEST_P(ServedQueue, TheDoorbellIsHeardByWhoMadeIt) {
  auto queue = make(*manager);
  ASSERT_TRUE(queue) << queue.error().message();
  Child producer([&](Child::Talk& talk) {
    if (!GetParam()()) return 20;
    auto theirs = daemon.connect();
    auto opened = open(*theirs);
    if (!opened) return 1;
    talk.say('o');
    if (talk.hear() != 'g') return 2;
    Message message{};
    message[0] = std::byte{7};
    return opened->try_push(message) ? 0 : 3;
  });
  ASSERT_EQ(producer.hear(), 'o');
  // Nothing is there, and whoever comes has to ring.
  ASSERT_FALSE(queue->prepare_wait().value());
  producer.say('g');
  pollfd rung{queue->bell(), POLLIN, 0};
  EXPECT_EQ(::poll(&rung, 1, -1), 1);
  Message message{};
  EXPECT_TRUE(queue->try_pop(message));
  EXPECT_EQ(message[0], std::byte{7});
  EXPECT_EQ(producer.wait(), 0);
}

TEST_P(ServedQueue, TheDoorbellIsHeardByWhoOpenedIt) {
  Child consumer([&](Child::Talk& talk) {
    if (!GetParam()()) return 20;
    auto theirs = daemon.connect();
    auto queue = make(*theirs);
    if (!queue) return 1;
    auto second = open(*theirs);
    if (!second) return 2;
    talk.say('c');
    Message message{};
    if (!take_by_doorbell(*second, message)) return 3;
    return message[0] == std::byte{9} ? 0 : 4;
  });
  ASSERT_EQ(consumer.hear(), 'c');
  auto queue = open(*manager);
  ASSERT_TRUE(queue) << queue.error().message();
  Message message{};
  message[0] = std::byte{9};
  EXPECT_TRUE(queue->try_push(message));
  EXPECT_EQ(consumer.wait(), 0);
}

TEST_P(ServedQueue, NoOtherFileIsTakenForADoorbell) {
  const auto queue = make(*manager);
  ASSERT_TRUE(queue);
  Child child([&](Child::Talk&) {
    UniqueFd expired(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const itimerspec at_once{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
    if (::timerfd_settime(expired.get(), 0, &at_once, nullptr) != 0) return 21;
    pollfd expires{expired.get(), POLLIN, 0};
    if (::poll(&expires, 1, -1) != 1) return 22;
    sigset_t none;
    ::sigemptyset(&none);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return 23;
    std::vector<UniqueFd> wrong;
    wrong.emplace_back(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    wrong.push_back(std::move(expired));
    wrong.emplace_back(::epoll_create1(EPOLL_CLOEXEC));
    wrong.emplace_back(::signalfd(-1, &none, SFD_CLOEXEC));
    wrong.emplace_back(pipe[0]);
    wrong.emplace_back(pipe[1]);
    wrong.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
    wrong.push_back(queue->memory_fd().value());
    for (const UniqueFd& each : wrong) {
      if (!each) return 24;
    }
    wrong.emplace_back(1000);  // not open
    if (!GetParam()()) return 20;
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      const auto attached = Queue::attach(queue->memory_fd().value(), std::move(wrong[i]));
      if (attached || attached.error() != ErrorCode::InvalidArgument)
        return static_cast<int>(1 + i);
    }
    return Queue::attach(queue->memory_fd().value(), queue->bell_fd().value()) ? 0 : 19;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace hal::test
