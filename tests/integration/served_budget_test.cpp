// SPDX-License-Identifier: Apache-2.0
//
// Budgets among processes: what one has, another can't have, until it is gone or gives it back.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <future>
#include <memory>
#include <string>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr auto kMemory = ResourceType::Memory;

/// A client that charges `amount` and keeps it until it is killed.
std::unique_ptr<Child> charging(const Daemon& daemon, std::uint64_t amount) {
  return std::make_unique<Child>([&daemon, amount](Child::Talk& talk) {
    auto manager = daemon.connect();
    const auto charge = manager->charge(kMemory, amount);
    talk.say(charge ? 'c' : 'x');
    return static_cast<int>(talk.hear());
  });
}

class ServedBudget : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(manager, nullptr); }

  const Daemon daemon;
  std::unique_ptr<ResourceManager> manager = daemon.connect();
};

TEST_F(ServedBudget, WhatTheKilledHadComesBack) {
  ASSERT_TRUE(manager->set_budget(kMemory, {.max = 100}));
  auto other = charging(daemon, 80);
  ASSERT_EQ(other->hear(), 'c');
  const auto refused = manager->charge(kMemory, 30);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::BudgetExceeded);
  EXPECT_EQ(refused.error().requested(), 30u);
  EXPECT_EQ(refused.error().available(), 20u);
  const auto registered = manager->register_resource("a", {.type = kMemory, .size_bytes = 30});
  ASSERT_FALSE(registered);
  EXPECT_EQ(registered.error().requested(), 30u);
  EXPECT_EQ(registered.error().available(), 20u);
  other->signal(SIGKILL);
  EXPECT_EQ(other->wait(), -SIGKILL);
  EXPECT_TRUE(eventually([&] { return manager->budget(kMemory)->used == 0; }));
  EXPECT_TRUE(manager->charge(kMemory, 100));
}

TEST_F(ServedBudget, StaysWhatItWasWhenTheWorkerDies) {
  ASSERT_TRUE(manager->set_budget(kMemory, {.max = 100}));
  ASSERT_TRUE(manager->register_resource("a", {.type = kMemory, .size_bytes = 40}));
  auto charge = manager->charge(kMemory, 30);
  ASSERT_TRUE(charge);
  daemon.kill_worker();
  EXPECT_FALSE(manager->charge(kMemory, 31));
  EXPECT_EQ(manager->budget(kMemory)->used, 70u);
  EXPECT_EQ(manager->budget(kMemory)->budget.max, 100u);
  charge->give_back();
  EXPECT_TRUE(manager->charge(kMemory, 60));
}

TEST_F(ServedBudget, WhoWaitsHasWhatTheKilledHad) {
  ASSERT_TRUE(manager->set_budget(kMemory, {.max = 100}));
  auto other = charging(daemon, 80);
  ASSERT_EQ(other->hear(), 'c');
  auto waiting = std::async(std::launch::async, [&] {
    return manager->charge(kMemory, 30, {.mode = AcquisitionMode::Blocking}).has_value();
  });
  ASSERT_TRUE(eventually([&] { return manager->budget(kMemory)->refusals != 0; }));
  other->signal(SIGKILL);
  EXPECT_TRUE(waiting.get());
  EXPECT_EQ(other->wait(), -SIGKILL);
}

TEST_F(ServedBudget, OtherProcessesReclaimForWhoWaits) {
  ASSERT_TRUE(manager->set_budget(kMemory, {.max = 100}));
  Child other([this](Child::Talk& talk) {
    auto client = daemon.connect();
    auto charge = client->charge(kMemory, 100);
    if (!charge) return 1;
    std::atomic<std::uint64_t> asked_for = 0;
    const auto callback =
        client->register_reclamation_callback(kMemory, [&](const ReclamationRequest& request) {
          asked_for = request.amount;
          charge->give_back();
          return std::uint64_t{100};
        });
    if (!callback) return 2;
    talk.say('c');
    (void)talk.hear();
    return asked_for == 30 ? 0 : 3;
  });
  ASSERT_EQ(other.hear(), 'c');
  EXPECT_TRUE(manager->charge(kMemory, 30, {.mode = AcquisitionMode::Blocking}));
  other.say('e');
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(ServedBudget, WhoWaitsHasWhatOthersDrewInVain) {
  ASSERT_TRUE(manager->set_budget(kMemory, {.max = 16'000}));
  Child other([this](Child::Talk& talk) {
    auto client = daemon.connect();
    auto charge = client->charge(kMemory, 100);
    if (!charge) return 1;
    charge->give_back();
    talk.say('c');
    (void)talk.hear();
    return 0;
  });
  ASSERT_EQ(other.hear(), 'c');
  EXPECT_FALSE(manager->charge(kMemory, 15'500));
  EXPECT_TRUE(manager->charge(kMemory, 15'500, {.mode = AcquisitionMode::Blocking}));
  other.say('e');
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(ServedBudget, PressureIsToldInAllProcesses) {
  ASSERT_TRUE(manager->set_budget(kMemory, {.max = 100}));
  std::promise<ResourcePressure> told;
  const auto callback = manager->register_pressure_callback([&](const PressureChange& change) {
    if (change.before == ResourcePressure::Low) told.set_value(change.level);
  });
  ASSERT_TRUE(callback);
  auto other = charging(daemon, 100);
  ASSERT_EQ(other->hear(), 'c');
  EXPECT_EQ(told.get_future().get(), ResourcePressure::Critical);
  other->say('e');
  EXPECT_EQ(other->wait(), 'e');
}

// As the proof of restarts asks: clients of before go on with budgets after it.
TEST(ServedBudgetRestart, AnOldClientOfAnotherUserGoesOnAfterBothProcessesDied) {
  const TemporaryFile config("[[attach]]\n[operators]\nusers = [65534]\n");
  Daemon daemon({"--config", config.path()});
  Child client([&daemon](Child::Talk& talk) {
    if (!become_nobody()) return 1;
    auto manager = daemon.connect();
    if (!manager) return 2;
    const DriverId dma = manager->register_driver("dma").value();
    if (!manager->set_thread_driver(dma)) return 3;
    auto charge = manager->charge(kMemory, 10);
    if (!charge) return 4;
    for (char round = 'a';; ++round) {
      talk.say(round);
      if (talk.hear() == 'e') return 0;
      if (!manager->set_budget(kMemory, {.max = 1000}, dma)) return 5;
      if (!manager->register_resource(std::string("a/") + round, {}, {.driver = dma})) return 6;
      if (manager->charge(kMemory, 991)) return 7;
      if (!manager->charge(kMemory, 990)) return 8;
      if (manager->budget(kMemory, dma)->used < 10) return 9;
    }
  });
  ASSERT_EQ(client.hear(), 'a');
  daemon.kill_worker();
  client.say('g');
  ASSERT_EQ(client.hear(), 'b');
  EXPECT_EQ(daemon.hand_over(), 0);
  client.say('g');
  ASSERT_EQ(client.hear(), 'c');
  client.say('e');
  EXPECT_EQ(client.wait(), 0);
}

}  // namespace
}  // namespace hal::test
