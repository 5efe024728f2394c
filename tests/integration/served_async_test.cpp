// SPDX-License-Identifier: Apache-2.0
//
// Waits on a ring for what other processes hold.
#include <csignal>
#include <memory>
#include <optional>
#include <utility>

#include <hal/ring.hpp>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr AcquireOptions kBlocking{.mode = AcquisitionMode::Blocking};

class ServedAsyncTest : public ::testing::Test {
 protected:
  void SetUp() override {
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    handle = manager->register_resource("r", {}).value();
    ring = Ring::create().value();
  }

  /// A process that holds `r` until it is told to let go, or killed.
  [[nodiscard]] std::unique_ptr<Child> holder() {
    auto child = std::make_unique<Child>([this](Child::Talk& talk) {
      auto theirs = daemon.connect();
      auto hold = theirs->try_acquire(handle);
      talk.say(hold ? 'h' : 'x');
      (void)talk.hear();
      hold = {};
      talk.say('r');
      return talk.hear() == 'e' ? 0 : 1;
    });
    EXPECT_EQ(child->hear(), 'h');
    return child;
  }
  /// Asks for it, and has the ring wait.
  void ask() {
    ASSERT_TRUE(ring->acquire(*manager, handle, kBlocking,
                              [this](auto hold) { outcome.emplace(std::move(hold)); }));
    ASSERT_EQ(ring->poll().value(), 0u);
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
  Handle handle;
  std::unique_ptr<Ring> ring;
  std::optional<Result<ScopedResource>> outcome;
};

TEST_F(ServedAsyncTest, AnotherProcessGrants) {
  const auto child = holder();
  ask();
  child->say('l');
  ASSERT_EQ(child->hear(), 'r');
  ASSERT_TRUE(ring->run());
  ASSERT_TRUE(*outcome) << outcome->error().message();
  EXPECT_FALSE((*outcome)->inconsistent());
  child->say('e');
}

TEST_F(ServedAsyncTest, AKilledHoldersResourceGoesOnInconsistent) {
  const auto child = holder();
  ask();
  child->signal(SIGKILL);
  ASSERT_TRUE(ring->run());
  ASSERT_TRUE(*outcome) << outcome->error().message();
  EXPECT_TRUE((*outcome)->inconsistent());
}

// Whether it was granted by then or not, and had been told or not.
TEST_F(ServedAsyncTest, WhoIsKilledWhileHisRingWaitsIsForgotten) {
  for (const bool granted : {false, true}) {
    auto mine = manager->try_acquire(handle);
    ASSERT_TRUE(mine);
    Child waiter([this](Child::Talk& talk) {
      auto theirs = daemon.connect();
      const auto their_ring = Ring::create().value();
      const auto asked = their_ring->acquire(*theirs, handle, kBlocking, [](auto) {});
      talk.say(asked && their_ring->poll().value() == 0 ? 'w' : 'x');
      return static_cast<int>(talk.hear());
    });
    ASSERT_EQ(waiter.hear(), 'w');
    if (granted) mine = {};
    waiter.signal(SIGKILL);
    ASSERT_EQ(waiter.wait(), -SIGKILL);
    if (!granted) {
      EXPECT_TRUE(
          eventually([&] { return manager->get_resource_stats(handle).value().waiting == 0; }));
      mine = {};
    }
    const auto next = manager->acquire_scoped_resource(handle, kBlocking);
    ASSERT_TRUE(next) << next.error().message();
    EXPECT_FALSE(next->inconsistent()) << "nobody had taken it";
  }
}

// The victim is a wait that no thread sleeps for, chosen by who closes the cycle elsewhere.
TEST_F(ServedAsyncTest, ACycleThatAnotherProcessClosesIsTold) {
  const Handle second = manager->register_resource("s", {}).value();
  Child child([&](Child::Talk& talk) {
    auto theirs = daemon.connect();
    const auto hold = theirs->try_acquire(handle);
    talk.say(hold ? 'h' : 'x');
    if (talk.hear() != 'g') return 1;
    AcquireOptions important = kBlocking;
    important.has_priority = true;
    important.priority = ResourcePriority::Critical;
    return theirs->acquire_scoped_resource(second, important) ? 0 : 1;
  });
  ASSERT_EQ(child.hear(), 'h');
  auto mine = manager->try_acquire(second);
  ASSERT_TRUE(mine);
  ask();
  child.say('g');
  ASSERT_TRUE(ring->run());
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error(), ErrorCode::Deadlock);
  EXPECT_EQ(outcome->error().cycle().size(), 2u);
  mine = {};
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ServedAsyncTest, WaitsEndWithTheirDomain) {
  const auto child = holder();
  ask();
  daemon.start_anew();
  ASSERT_TRUE(ring->run());
  EXPECT_EQ(outcome->error(), ErrorCode::Disconnected);
}

}  // namespace
}  // namespace hal::test
