// SPDX-License-Identifier: Apache-2.0
//
// What dies in a served domain, and what is left of it.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

class ServedDeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    handle = manager->register_resource("r", {}).value();
  }

  // A process that holds `r`, until it is killed.
  [[nodiscard]] std::unique_ptr<Child> holder() {
    auto child = std::make_unique<Child>([this](Child::Talk& talk) {
      auto theirs = daemon.connect();
      auto hold = theirs->try_acquire(handle);
      talk.say(hold ? 'h' : 'x');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(child->hear(), 'h');
    return child;
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
  Handle handle;
};

TEST_F(ServedDeathTest, AKilledHoldersResourceGoesOnInconsistent) {
  const auto child = holder();
  std::thread killer([&] {
    EXPECT_TRUE(
        eventually([&] { return manager->get_resource_stats(handle).value().waiting == 1; }));
    child->signal(SIGKILL);
  });
  auto hold = manager->acquire_scoped_resource(handle);
  killer.join();
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->inconsistent());
  EXPECT_TRUE(hold->consistent());
}

TEST_F(ServedDeathTest, AStoppedHolderIsAlive) {
  const auto child = holder();
  child->signal(SIGSTOP);
  EXPECT_EQ(
      manager->acquire_scoped_resource(handle, {.mode = AcquisitionMode::Timeout, .timeout = 100ms})
          .error(),
      ErrorCode::TimedOut);
  child->signal(SIGCONT);
  child->signal(SIGKILL);
  EXPECT_TRUE(manager->acquire_scoped_resource(handle));
}

TEST_F(ServedDeathTest, AKilledWaiterIsForgotten) {
  auto mine = manager->try_acquire(handle);
  Child waiter([this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    talk.say('w');
    return theirs->acquire_scoped_resource(handle) ? 0 : 1;
  });
  ASSERT_EQ(waiter.hear(), 'w');
  const auto waiters = [&] { return manager->get_resource_stats(handle).value().waiting; };
  ASSERT_TRUE(eventually([&] { return waiters() == 1; }));
  waiter.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return waiters() == 0; }));
  mine = {};
  EXPECT_TRUE(manager->try_acquire(handle));
}

TEST_F(ServedDeathTest, TheWorkerIsReplacedAndClientsDoNotNotice) {
  const auto child = holder();
  const pid_t before = daemon.worker();
  daemon.kill_worker();
  // Known to the next one, and its hold still stands.
  EXPECT_EQ(manager->try_acquire(handle).error(), ErrorCode::WouldBlock);
  const Handle other = manager->register_resource("other", {}).value();
  EXPECT_TRUE(manager->try_acquire(other));
  EXPECT_TRUE(manager->unregister_resource(other));
  EXPECT_TRUE(manager->unregister_resource(handle).error() == ErrorCode::InUse);
  EXPECT_NE(daemon.worker(), before);
  child->signal(SIGKILL);
  auto hold = manager->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  EXPECT_TRUE(hold->inconsistent());
}

TEST_F(ServedDeathTest, WhoDiesWhileThereIsNoWorkerIsBuriedByTheNext) {
  const auto child = holder();
  // Neither of the two can look after the other.
  const pid_t worker = daemon.worker();
  ASSERT_EQ(::kill(worker, SIGSTOP), 0);
  child->signal(SIGKILL);
  EXPECT_EQ(child->wait(), -SIGKILL);
  EXPECT_EQ(manager->try_acquire(handle).error(), ErrorCode::WouldBlock);
  ASSERT_EQ(::kill(worker, SIGKILL), 0);
  auto hold = manager->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  EXPECT_TRUE(hold->inconsistent());
}

// Exec closes the connection, and leaves the process what it was. Here nobody sees it happen.
TEST(ServedRestart, WhoCalledExecWhileThereWasNoWorkerIsGone) {
  const TemporaryFile config("[grace]\nclient_restart = \"50ms\"\n");
  Daemon daemon({"--config", config.path()});
  const auto manager = daemon.connect();
  const Handle executed = manager->register_resource("executed", {}).value();
  const Handle stopped = manager->register_resource("stopped", {}).value();
  Child one([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto hold = theirs->try_acquire(executed);
    talk.say(hold ? 'h' : 'x');
    if (talk.hear() != 'g') return 1;
    ::execl("/bin/sleep", "sleep", "600", nullptr);
    return 2;
  });
  Child other([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto hold = theirs->try_acquire(stopped);
    talk.say(hold ? 'h' : 'x');
    if (talk.hear() != 'g') return 1;
    hold = {};
    return theirs->register_resource("after", {}) ? 0 : 2;
  });
  ASSERT_EQ(one.hear(), 'h');
  ASSERT_EQ(other.hear(), 'h');
  other.signal(SIGSTOP);
  const pid_t worker = daemon.worker();
  ASSERT_EQ(::kill(worker, SIGSTOP), 0);
  one.say('g');
  // Its end of the conversation is closed by exec too.
  EXPECT_EQ(one.hear(), '\0');
  ASSERT_EQ(::kill(worker, SIGKILL), 0);
  auto hold = manager->acquire_scoped_resource(executed);
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->inconsistent());
  // It had as much time, and could not use it.
  EXPECT_EQ(manager->try_acquire(stopped).error(), ErrorCode::WouldBlock);
  other.signal(SIGCONT);
  other.say('g');
  EXPECT_EQ(other.wait(), 0);
}

// Without anybody asking for anything.
TEST_F(ServedDeathTest, ALostConnectionIsToldAndRestored) {
  std::mutex mutex;
  std::vector<ConnectionState> states;
  auto watched = ResourceManager::connect(
      {.socket = daemon.socket(), .on_connection = [&](ConnectionState state) {
         const std::lock_guard lock(mutex);
         states.push_back(state);
       }});
  ASSERT_TRUE(watched);
  const auto seen = [&] {
    const std::lock_guard lock(mutex);
    return states;
  };
  daemon.kill_worker();
  EXPECT_TRUE(eventually([&] { return seen().size() == 2; }));
  EXPECT_EQ(seen(), (std::vector{ConnectionState::Lost, ConnectionState::Restored}));
  EXPECT_TRUE((*watched)->register_resource("after", {}));
}

TEST_F(ServedDeathTest, AnotherDomainAtTheSamePathIsNotTakenForTheOldOne) {
  std::atomic<bool> ended = false;
  auto watched = ResourceManager::connect(
      {.socket = daemon.socket(), .on_connection = [&](ConnectionState state) {
         if (state == ConnectionState::Ended) ended = true;
       }});
  ASSERT_TRUE(watched);
  daemon.start_anew();
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_EQ((*watched)->register_resource("x", {}).error(), ErrorCode::Disconnected);
  EXPECT_EQ((*watched)->try_acquire(handle).error(), ErrorCode::Disconnected);
  EXPECT_NE(daemon.connect(), nullptr);
}

TEST_F(ServedDeathTest, WorkersComeAsOftenAsTheyGo) {
  for (int i = 0; i < 5; ++i) {
    daemon.kill_worker();
    const auto made = manager->register_resource("n" + std::to_string(i), {});
    ASSERT_TRUE(made) << made.error().message();
  }
  EXPECT_EQ(manager->size(), 6u);
  EXPECT_EQ(daemon.stop(), 0);
  // What needs no daemon goes on.
  EXPECT_TRUE(manager->try_acquire(handle));
}

}  // namespace
}  // namespace hal::test
