// SPDX-License-Identifier: Apache-2.0
//
// One domain in several processes, while everybody lives.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <hal/queue.hpp>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

class ServedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
};

UniqueFd memory(std::size_t bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

TEST_F(ServedTest, SaysWhatItIs) {
  EXPECT_TRUE(manager->is_served());
  EXPECT_FALSE(ResourceManager::create().value()->is_served());
  EXPECT_EQ(ResourceManager::connect({.socket = "/nobody/listens"}).error(),
            ErrorCode::Disconnected);
}

TEST_F(ServedTest, AHoldOfAnotherProcessIsBlamedAndWaitedFor) {
  Child child([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    if (!theirs) return 2;
    const DriverId driver = theirs->register_driver("dma-edu").value();
    if (!theirs->set_thread_driver(driver)) return 3;
    const Handle handle = theirs->register_resource("dma/0", {}, {.driver = driver}).value();
    auto hold = theirs->try_acquire(handle);
    if (!hold) return 4;
    talk.say('h');
    if (talk.hear() != 'r') return 5;
    hold = {};
    return talk.hear() == 'e' ? 0 : 6;
  });
  ASSERT_EQ(child.hear(), 'h');
  const auto handle = manager->find("dma/0");
  ASSERT_TRUE(handle);
  const auto refused = manager->try_acquire(*handle);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::WouldBlock);
  ASSERT_GE(refused.error().blamed(), 1u);
  EXPECT_EQ(refused.error().blame().pid, static_cast<std::uint32_t>(child.pid()));
  EXPECT_STREQ(refused.error().blame().driver.data(), "dma-edu");
  child.say('r');
  EXPECT_TRUE(manager->acquire_scoped_resource(*handle));
  child.say('e');
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ServedTest, ADeadlockAcrossProcessesIsRefused) {
  const Handle a = manager->register_resource("a", {}).value();
  const Handle b = manager->register_resource("b", {}).value();
  auto mine = manager->try_acquire(a);
  ASSERT_TRUE(mine);
  Child child([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    if (!theirs) return 2;
    auto hold = theirs->try_acquire(b);
    if (!hold) return 3;
    talk.say('h');
    return theirs->acquire_scoped_resource(a) ? 0 : 4;
  });
  ASSERT_EQ(child.hear(), 'h');
  // Either of us is the victim; it is the younger one, which may be either.
  auto both = manager->acquire_scoped_resource(b);
  if (!both) {
    EXPECT_EQ(both.error(), ErrorCode::Deadlock);
    EXPECT_EQ(both.error().cycle().size(), 2u);
    mine = {};
    EXPECT_EQ(child.wait(), 0);
  } else {
    EXPECT_EQ(child.wait(), 4);
  }
}

TEST_F(ServedTest, MemoryIsSeenByWhoHasRights) {
  const DriverId mine = manager->register_driver("producer").value();
  const DriverId theirs = manager->register_driver("consumer").value();
  const Handle handle =
      manager
          ->register_resource("frame", {.size_bytes = 4096, .flags = ResourceFlags::Shareable},
                              {.driver = mine, .fd = memory(4096)})
          .value();
  std::ranges::copy(std::as_bytes(std::span("hello")), manager->map(handle).value().begin());
  const auto look = [&](const char* as) {
    Child child([&](Child::Talk&) {
      auto other = daemon.connect();
      const DriverId driver = other->register_driver(as).value();
      const auto seen = other->map(other->find("frame").value(), driver);
      if (!seen) return seen.error() == ErrorCode::NotPermitted ? 1 : 2;
      if (std::memcmp(seen->data(), "hello", 6) != 0) return 3;
      if (other->fd(other->find("frame").value(), driver)) return 4;  // it may only read
      return 0;
    });
    return child.wait();
  };
  EXPECT_EQ(look("consumer"), 1);
  ASSERT_TRUE(manager->share_resource(handle, mine, theirs, Rights::Read));
  EXPECT_EQ(look("consumer"), 0);
  EXPECT_EQ(look("producer"), 1) << "a driver of the owner's name in another process";
  ASSERT_TRUE(manager->unshare_resource(handle, mine, theirs));
  EXPECT_EQ(look("consumer"), 1);
}

struct Counter {
  std::uint64_t value = 7;
};

TEST_F(ServedTest, ATypedResourceIsOpenedByTheSecondProcess) {
  const ResourceMetadata shareable{.flags = ResourceFlags::Shareable};
  const DriverId writer = manager->register_driver("writer").value();
  ASSERT_TRUE(manager->set_thread_driver(writer));
  auto mine = manager->acquire_resource<Counter>("counter", shareable);
  ASSERT_TRUE(mine) << mine.error().message();
  EXPECT_EQ((*mine)->value, 7u);
  (*mine)->value = 8;
  const DriverId reader = manager->register_driver("reader").value();
  const auto shared =
      manager->share_resource(manager->find("counter").value(), writer, reader, Rights::All);
  ASSERT_TRUE(shared) << shared.error().message();
  *mine = {};
  Child child([&](Child::Talk&) {
    auto theirs = daemon.connect();
    const DriverId driver = theirs->register_driver("reader").value();
    if (!theirs->set_thread_driver(driver)) return 2;
    auto opened = theirs->acquire_resource<Counter>("counter", shareable);
    if (!opened) return 3;
    return (*opened)->value == 8 ? 0 : 4;
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ServedTest, AQueueIsOpenedByTheSecondProcess) {
  const DriverId consumer = manager->register_driver("consumer").value();
  const DriverId producer = manager->register_driver("producer").value();
  auto queue = Queue::create(*manager, "queue", {.message_bytes = 1, .driver = consumer}).value();
  const Handle no_queue = manager
                              ->register_resource("none",
                                                  {.type = ResourceType::Communication,
                                                   .class_name = "queue",
                                                   .flags = ResourceFlags::Shareable},
                                                  {.driver = consumer})
                              .value();
  const auto send = [&] {
    Child child([&](Child::Talk&) {
      auto theirs = daemon.connect();
      const DriverId driver = theirs->register_driver("producer").value();
      if (Queue::open(*theirs, "none", driver).error() == ErrorCode::InvalidArgument) return 2;
      auto opened = Queue::open(*theirs, "queue", driver);
      if (!opened) return opened.error() == ErrorCode::NotPermitted ? 1 : 3;
      const std::byte message{7};
      return opened->try_push({&message, 1}) ? 0 : 4;
    });
    return child.wait();
  };
  EXPECT_EQ(send(), 1);
  for (const Handle each : {queue.handle(), no_queue}) {
    ASSERT_TRUE(manager->share_resource(each, consumer, producer, Rights::Read | Rights::Write));
  }
  EXPECT_EQ(send(), 2);
  ASSERT_TRUE(manager->unregister_resource(no_queue));
  EXPECT_EQ(send(), 0);
  std::byte message{};
  EXPECT_TRUE(queue.try_pop({&message, 1}));
  EXPECT_EQ(message, std::byte{7});
}

TEST_F(ServedTest, UnregisteringNeedsTheOwnerAndNobodyElse) {
  const Handle handle = manager->register_resource("gone", {}).value();
  Child child([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    const auto refused = theirs->unregister_resource(handle);
    if (refused || refused.error() != ErrorCode::NotPermitted) return 2;
    auto hold = theirs->try_acquire(handle);
    if (!hold) return 3;
    talk.say('h');
    return talk.hear() == 'r' ? 0 : 4;
  });
  ASSERT_EQ(child.hear(), 'h');
  EXPECT_EQ(manager->unregister_resource(handle).error(), ErrorCode::InUse);
  EXPECT_TRUE(manager->is_valid(handle));
  child.say('r');
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(manager->unregister_resource(handle, 10s));
  EXPECT_EQ(manager->find("gone").error(), ErrorCode::NotFound);
}

// More than one message holds, with some that can't be among them.
TEST_F(ServedTest, ThousandsAreRegisteredAtOnce) {
  constexpr std::size_t kCount = 3'000;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kCount; ++i) {
    names.push_back(i % 1'000 == 7 ? "no name" : "frame/" + std::to_string(i));
  }
  std::vector<NamedResource> wanted;
  for (const std::string& name : names) wanted.push_back({.name = name, .cookie = wanted.size()});
  const auto outcomes = manager->register_resources(wanted);
  ASSERT_TRUE(outcomes) << outcomes.error().message();
  for (std::size_t i = 0; i < kCount; ++i) {
    if (i % 1'000 == 7) {
      EXPECT_EQ(outcomes->at(i).error(), ErrorCode::InvalidName);
    } else {
      ASSERT_TRUE(outcomes->at(i)) << names[i];
      EXPECT_EQ(outcomes->at(i).value(), manager->find(names[i]).value());
    }
  }
  EXPECT_EQ(manager->size(), kCount - 3);
}

TEST_F(ServedTest, AForkedChildIsNotTheClient) {
  const Handle handle = manager->register_resource("r", {}).value();
  auto hold = manager->try_acquire(handle);
  Child child([&](Child::Talk&) {
    if (manager->try_acquire(handle).error() != ErrorCode::Disconnected) return 2;
    if (manager->register_resource("x", {}).error() != ErrorCode::Disconnected) return 3;
    // Its own place.
    auto own = daemon.connect();
    return own && own->try_acquire(handle).error() == ErrorCode::WouldBlock ? 0 : 4;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(manager->holds().value().size(), 1u);
  EXPECT_TRUE(manager->register_resource("y", {}));
}

}  // namespace
}  // namespace hal::test
