// SPDX-License-Identifier: Apache-2.0
//
// What clients are told unasked: what becomes of a dead driver's resources, and why a connection
// ends.
#include <csignal>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

/// A client that remembers what it is told.
class Listener {
 public:
  /// `with_notices`: it asks for those too.
  explicit Listener(const Daemon& daemon, bool with_notices = true) {
    ConnectOptions options;
    options.socket = daemon.socket();
    options.on_connection = [this](ConnectionChange change) {
      const std::lock_guard lock(mutex_);
      changes_.emplace_back(change.state, change.reason);
    };
    if (with_notices) options.on_notice = [this](const ResourceNotice& notice) { note(notice); };
    auto connected = ResourceManager::connect(options);
    if (connected) manager = std::move(*connected);
  }
  ~Listener() { manager.reset(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  using Change = std::pair<ConnectionState, CloseReason>;
  [[nodiscard]] std::vector<Change> changes() {
    const std::lock_guard lock(mutex_);
    return changes_;
  }
  [[nodiscard]] std::vector<ResourceNews> notices() {
    const std::lock_guard lock(mutex_);
    return notices_;
  }
  [[nodiscard]] std::vector<Handle> handles() {
    const std::lock_guard lock(mutex_);
    return handles_;
  }
  [[nodiscard]] std::vector<bool> there() {
    const std::lock_guard lock(mutex_);
    return there_;
  }

  std::unique_ptr<ResourceManager> manager;

 private:
  // Any function may be called from here.
  void note(const ResourceNotice& notice) {
    const bool there = manager && manager->info(notice.handle).has_value();
    const std::lock_guard lock(mutex_);
    notices_.push_back(notice.news);
    handles_.push_back(notice.handle);
    there_.push_back(there);
  }

  std::mutex mutex_;
  std::vector<Change> changes_;
  std::vector<ResourceNews> notices_;
  std::vector<Handle> handles_;
  std::vector<bool> there_;
};

/// A driver that owns "dma/0" and shares it with "gpu", until it is killed.
std::unique_ptr<Child> driver(const Daemon& daemon) {
  auto child = std::make_unique<Child>([&daemon](Child::Talk& talk) {
    auto manager = daemon.connect();
    const DriverId self = manager->register_driver("dma").value();
    const DriverId user = manager->register_driver("gpu").value();
    const auto handle =
        manager->register_resource("dma/0", {.flags = ResourceFlags::Shareable}, {.driver = self});
    const bool shared =
        handle && manager->share_resource(*handle, self, user, Rights::Acquire).has_value();
    talk.say(shared ? 'r' : 'x');
    return static_cast<int>(talk.hear());
  });
  EXPECT_EQ(child->hear(), 'r');
  return child;
}

TEST(ServedNotice, WhatBecomesOfADeadDriversResources) {
  const TemporaryFile config("[grace]\nowner = \"20ms\"\n");
  const Daemon daemon({"--config", config.path()});
  auto owner = driver(daemon);
  Listener user(daemon);
  Listener holder(daemon);
  Listener bystander(daemon);
  ASSERT_TRUE(user.manager && holder.manager && bystander.manager);
  ASSERT_TRUE(user.manager->register_driver("gpu"));
  const Handle handle = holder.manager->find("dma/0").value();
  auto hold = holder.manager->try_acquire(handle);
  ASSERT_TRUE(hold);
  owner->signal(SIGKILL);
  EXPECT_TRUE(
      eventually([&] { return holder.notices().size() == 1 && user.notices().size() == 1; }));
  EXPECT_EQ(holder.notices(), std::vector{ResourceNews::Orphaned});
  EXPECT_EQ(user.notices(), std::vector{ResourceNews::Orphaned});
  EXPECT_EQ(holder.handles(), std::vector{handle});
  hold = {};
  EXPECT_TRUE(
      eventually([&] { return holder.notices().size() == 2 && user.notices().size() == 2; }));
  EXPECT_EQ(holder.notices().at(1), ResourceNews::OwnerDied);
  EXPECT_EQ(user.notices().at(1), ResourceNews::OwnerDied);
  EXPECT_EQ(holder.there(), (std::vector{true, false}));
  EXPECT_TRUE(bystander.notices().empty());
}

// By whichever thread they were read.
TEST(ServedNotice, ComesAlsoWhileOthersAsk) {
  const TemporaryFile config("[grace]\nowner = \"1ms\"\n");
  const Daemon daemon({"--config", config.path()});
  Listener user(daemon);
  ASSERT_TRUE(user.manager->register_driver("gpu"));
  for (std::size_t i = 1; i <= 10; ++i) {
    auto owner = driver(daemon);
    owner->signal(SIGKILL);
    EXPECT_TRUE(eventually([&] {
      (void)user.manager->register_driver("another");
      return user.notices().size() == 2 * i;
    }));
  }
}

TEST(ServedNotice, WhyAConnectionEnds) {
  Daemon daemon;
  // Of what it does not ask for it reads nothing but that.
  Listener client(daemon, false);
  ASSERT_NE(client.manager, nullptr);
  // Nobody says anything.
  daemon.kill_worker();
  ASSERT_TRUE(eventually([&] { return client.changes().size() == 2; }));
  EXPECT_EQ(client.changes().at(0), std::pair(ConnectionState::Lost, CloseReason::None));
  EXPECT_EQ(client.changes().at(1), std::pair(ConnectionState::Restored, CloseReason::None));
  EXPECT_EQ(daemon.hand_over(), 0);
  ASSERT_TRUE(eventually([&] { return client.changes().size() == 4; }));
  EXPECT_EQ(client.changes().at(2), std::pair(ConnectionState::Lost, CloseReason::Restart));
  EXPECT_EQ(daemon.stop(), 0);
  ASSERT_TRUE(eventually([&] { return client.changes().size() == 5; }));
  EXPECT_EQ(client.changes().at(4), std::pair(ConnectionState::Lost, CloseReason::Shutdown));
}

}  // namespace
}  // namespace hal::test
