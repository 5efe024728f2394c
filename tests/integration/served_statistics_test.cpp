// SPDX-License-Identifier: Apache-2.0
//
// Statistics and health among processes: what one did, another reads, also when it is killed.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr auto kHardware = ResourceType::Hardware;

class ServedStatistics : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(manager, nullptr);
    const auto added = manager->register_resource("a", {.type = kHardware});
    ASSERT_TRUE(added) << added.error().message();
    handle = *added;
  }
  [[nodiscard]] TypeStatistics hardware() const {
    auto told = manager->statistics(kHardware);
    EXPECT_TRUE(told) << told.error().message();
    return told.value_or(TypeStatistics());
  }
  [[nodiscard]] bool is_waited_for() const {
    return eventually([&] { return manager->get_resource_stats(handle)->waiting == 1; });
  }
  /// A client that acquires "a" by that mode, says what came of it, and keeps it until it hears
  /// something.
  [[nodiscard]] std::unique_ptr<Child> acquiring(AcquisitionMode mode) const {
    return std::make_unique<Child>([this, mode](Child::Talk& talk) {
      auto own = daemon.connect();
      const auto dma = own->register_driver("dma");
      auto context = own->create_context(*dma);
      const auto found = own->find("a");
      const auto hold =
          own->acquire_scoped_resource(*found, AcquireOptions{.mode = mode, .context = &*context});
      talk.say(hold ? 'g' : 'x');
      return static_cast<int>(talk.hear());
    });
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager = daemon.connect();
  Handle handle;
};

TEST_F(ServedStatistics, OneReadsWhatAnotherWaited) {
  auto hold = manager->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  auto refused = acquiring(AcquisitionMode::NonBlocking);
  ASSERT_EQ(refused->hear(), 'x');
  auto waiter = acquiring(AcquisitionMode::Blocking);
  ASSERT_TRUE(is_waited_for());
  EXPECT_EQ(hardware().waiting, 1u);
  EXPECT_EQ(manager->health(HealthLimits{.long_wait_ns = 0})->status, HealthStatus::Degraded);
  hold->release();
  ASSERT_EQ(waiter->hear(), 'g');
  const TypeStatistics told = hardware();
  EXPECT_EQ(told.waits.granted, 1u);
  EXPECT_EQ(told.waits.would_block, 1u);
  EXPECT_EQ(told.acquisitions, 2u);
  EXPECT_EQ(told.created, 1u);
  EXPECT_GT(told.waits.p50_ns, 0u);
  const auto worst = manager->bottlenecks();
  ASSERT_TRUE(worst);
  ASSERT_EQ(worst->size(), 1u);
  EXPECT_EQ(worst->front().waited_ns, told.waits.granted_ns);
  EXPECT_EQ(worst->front().holder_driver, "dma");
  EXPECT_EQ(worst->front().blamed_pid, static_cast<std::uint32_t>(::getpid()));
  waiter->say('q');
  refused->say('q');
  waiter->wait();
  refused->wait();
}

TEST_F(ServedStatistics, TheKilledLeaveThemReadable) {
  auto hold = manager->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  for (std::uint64_t round = 1; round <= 5; ++round) {
    auto waiter = acquiring(AcquisitionMode::Blocking);
    ASSERT_TRUE(is_waited_for());
    waiter->signal(SIGKILL);
    EXPECT_EQ(waiter->wait(), -SIGKILL);
    ASSERT_TRUE(eventually([&] { return manager->get_resource_stats(handle)->waiting == 0; }));
    // Its wait ended with it: nobody is left to count it.
    const TypeStatistics told = hardware();
    EXPECT_EQ(told.waits.granted, 0u);
    EXPECT_EQ(told.waiting, 0u);
    EXPECT_EQ(told.acquisitions, 1u);
  }
  hold->release();
  auto holder = acquiring(AcquisitionMode::Blocking);
  ASSERT_EQ(holder->hear(), 'g');
  holder->signal(SIGKILL);
  EXPECT_EQ(holder->wait(), -SIGKILL);
  // Once it is recovered, the domain is well again.
  EXPECT_TRUE(eventually([&] { return manager->health()->status == HealthStatus::Ok; }));
  EXPECT_EQ(hardware().acquisitions, 2u);
}

TEST_F(ServedStatistics, OutliveTheWorker) {
  ASSERT_TRUE(manager->register_resource("b", {.type = kHardware}));
  const auto b = manager->find("b");
  ASSERT_TRUE(manager->unregister_resource(*b));
  EXPECT_TRUE(manager->acquire_scoped_resource(handle));
  daemon.kill_worker();
  ASSERT_TRUE(manager->register_resource("c", {.type = kHardware}));
  const TypeStatistics told = hardware();
  EXPECT_EQ(told.created, 3u);
  EXPECT_EQ(told.destroyed, 1u);
  EXPECT_EQ(told.current, 2u);
  EXPECT_EQ(told.acquisitions, 1u);
  EXPECT_EQ(manager->health()->status, HealthStatus::Ok);
}

TEST_F(ServedStatistics, ADaemonThatIsGoneIsCritical) {
  ASSERT_EQ(daemon.stop(), 0);
  EXPECT_TRUE(eventually([&] {
    const auto report = manager->health();
    return report && report->status == HealthStatus::Critical &&
           report->reasons.front().code == HealthCode::AuthorityAbsent;
  }));
}

}  // namespace
}  // namespace hal::test
