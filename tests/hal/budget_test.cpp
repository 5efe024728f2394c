// SPDX-License-Identifier: Apache-2.0
#include <hal/budgets.hpp>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using namespace std::chrono_literals;
using test::code_of;

constexpr auto kMemory = ResourceType::Memory;

class BudgetTest : public test::ManagerTest {
 protected:
  [[nodiscard]] Result<Handle> add_memory(std::string_view name, std::uint64_t bytes,
                                          DriverId driver = {}) {
    return manager_->register_resource(name, {.type = kMemory, .size_bytes = bytes},
                                       {.driver = driver});
  }
  /// Whether it is so by and by.
  static bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 30'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
  [[nodiscard]] bool eventually_refused(std::uint64_t times, ResourceType type = kMemory) const {
    return eventually([&] { return of(type).refusals >= times; });
  }
  [[nodiscard]] BudgetUsage of(ResourceType type, DriverId driver = {}) const {
    return manager_->budget(type, driver).value();
  }
};

TEST_F(BudgetTest, WhatIsRegisteredCountsUntilItIsGone) {
  const DriverId dma = manager_->register_driver("dma").value();
  const auto handle = add_memory("a", 4096, dma);
  ASSERT_TRUE(handle);
  EXPECT_EQ(of(kMemory).used, 4096u);
  EXPECT_EQ(of(kMemory, dma).used, 4096u);
  const Handle channel = add("channel", {.type = ResourceType::Hardware, .size_bytes = 99});
  EXPECT_EQ(of(ResourceType::Hardware).used, 1u) << "hardware is counted, not measured";
  ASSERT_TRUE(manager_->unregister_resource(*handle));
  ASSERT_TRUE(manager_->unregister_resource(channel));
  EXPECT_EQ(of(kMemory).used, 0u);
  EXPECT_EQ(of(kMemory, dma).used, 0u);
  EXPECT_EQ(of(kMemory, dma).peak, 4096u);
  EXPECT_EQ(of(ResourceType::Hardware).used, 0u);
}

TEST_F(BudgetTest, ARegistrationBeyondTheBudgetIsRefusedAndLeavesNothing) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 8192}));
  ASSERT_TRUE(add_memory("a", 4096));
  const auto refused = add_memory("b", 4097);
  ASSERT_EQ(code_of(refused), ErrorCode::BudgetExceeded);
  EXPECT_EQ(refused.error().requested(), 4097u);
  EXPECT_EQ(refused.error().available(), 4096u);
  EXPECT_EQ(code_of(manager_->find("b")), ErrorCode::NotFound);
  EXPECT_EQ(of(kMemory).used, 4096u);
  EXPECT_TRUE(add_memory("b", 4096));
}

TEST_F(BudgetTest, ARegistrationThatFailsOtherwiseCostsNothing) {
  ASSERT_TRUE(add_memory("a", 10));
  EXPECT_EQ(code_of(add_memory("a", 20)), ErrorCode::AlreadyExists);
  EXPECT_EQ(code_of(manager_->register_resource(
                "b", {.type = kMemory, .class_name = "no class", .size_bytes = 20})),
            ErrorCode::InvalidName);
  EXPECT_EQ(of(kMemory).used, 10u);
}

TEST_F(BudgetTest, AFullTableCostsNothing) {
  restart({.capacities = {.resources = 1}});
  ASSERT_TRUE(add_memory("a", 10));
  EXPECT_EQ(code_of(add_memory("b", 20)), ErrorCode::CapacityExceeded);
  EXPECT_EQ(of(kMemory).used, 10u);
}

TEST_F(BudgetTest, ADriverIsHeldToItsOwnBudget) {
  const DriverId dma = manager_->register_driver("dma").value();
  const DriverId gpu = manager_->register_driver("gpu").value();
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}, dma));
  EXPECT_EQ(code_of(add_memory("a", 101, dma)), ErrorCode::BudgetExceeded);
  EXPECT_TRUE(add_memory("a", 101, gpu));
  EXPECT_EQ(of(kMemory, dma).refusals, 1u);
}

TEST_F(BudgetTest, OfManyThoseWithinTheBudgetAreRegistered) {
  ASSERT_TRUE(manager_->set_budget(ResourceType::Custom, {.max = 2}));
  const std::array<NamedResource, 3> many{{{.name = "a"}, {.name = "b"}, {.name = "c"}}};
  const auto outcomes = manager_->register_resources(many);
  ASSERT_TRUE(outcomes);
  EXPECT_TRUE((*outcomes)[0]);
  EXPECT_TRUE((*outcomes)[1]);
  EXPECT_EQ(code_of((*outcomes)[2]), ErrorCode::BudgetExceeded);
}

TEST_F(BudgetTest, AChargeIsGivenBackByItsScope) {
  const DriverId dma = manager_->register_driver("dma").value();
  ASSERT_TRUE(manager_->set_thread_driver(dma));
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}, dma));
  {
    auto first = manager_->charge(kMemory, 60);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->amount(), 60u);
    EXPECT_EQ(first->type(), kMemory);
    const auto refused = manager_->charge(kMemory, 41);
    ASSERT_EQ(code_of(refused), ErrorCode::BudgetExceeded);
    EXPECT_EQ(refused.error().requested(), 41u);
    EXPECT_EQ(refused.error().available(), 40u);
    BudgetCharge moved = std::move(*first);
    EXPECT_EQ(first->amount(), 0u);
    EXPECT_EQ(moved.amount(), 60u);
    EXPECT_EQ(code_of(manager_->charge(kMemory, 60)), ErrorCode::BudgetExceeded);
    moved.give_back();
    moved.give_back();
    EXPECT_TRUE(manager_->charge(kMemory, 100));
  }
  EXPECT_TRUE(manager_->charge(kMemory, 100));
}

TEST_F(BudgetTest, WhatWasDrawnInAdvanceIsCharged) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 16'000}));
  const auto first = manager_->charge(kMemory, 100);
  ASSERT_TRUE(first);
  EXPECT_EQ(of(kMemory).drawn, 1000u) << "a sixteenth of the rest, where sixteen times are more";
  const auto second = manager_->charge(kMemory, 900);
  EXPECT_TRUE(second);
  EXPECT_EQ(of(kMemory).drawn, 1000u);
}

TEST_F(BudgetTest, EightThreadsOfADriverGetExactlyItsBudget) {
  constexpr std::ptrdiff_t kThreads = 8;
  const DriverId dma = manager_->register_driver("dma").value();
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 80'000}, dma));
  std::barrier all(kThreads);
  std::atomic<std::uint64_t> had{0};
  std::vector<std::jthread> threads;
  for (std::ptrdiff_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, amount = static_cast<std::uint64_t>(i % 3 + 1)] {
      EXPECT_TRUE(manager_->set_thread_driver(dma));
      all.arrive_and_wait();
      std::vector<BudgetCharge> charges;
      while (auto charge = manager_->charge(kMemory, amount)) charges.push_back(std::move(*charge));
      // Some have less than they want left, nobody has one too much.
      while (auto charge = manager_->charge(kMemory, 1)) charges.push_back(std::move(*charge));
      for (const BudgetCharge& charge : charges) had.fetch_add(charge.amount());
      all.arrive_and_wait();
    });
  }
  threads.clear();
  EXPECT_EQ(had.load(), 80'000u);
  EXPECT_TRUE(manager_->set_thread_driver(dma));
  EXPECT_TRUE(manager_->charge(kMemory, 80'000)) << "all of it came back";
}

TEST_F(BudgetTest, AnEmergencyOverdraws) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100, .reserved = 50}));
  EXPECT_EQ(code_of(manager_->charge(kMemory, 51)), ErrorCode::BudgetExceeded);
  auto reserved = manager_->charge(kMemory, 90, {.mode = AcquisitionMode::Emergency});
  ASSERT_TRUE(reserved);
  EXPECT_EQ(of(kMemory).overdrafts, 1u);
  EXPECT_EQ(of(kMemory).overdrawn, 0u);
  const auto beyond = manager_->charge(kMemory, 30, {.mode = AcquisitionMode::Emergency});
  ASSERT_TRUE(beyond);
  EXPECT_EQ(of(kMemory).overdrafts, 2u);
  EXPECT_EQ(of(kMemory).overdrawn, 20u);
}

TEST_F(BudgetTest, AChargeMayOutliveItsManager) {
  auto charge = manager_->charge(kMemory, 10);
  ASSERT_TRUE(charge);
  manager_->close();
  charge->give_back();
  EXPECT_EQ(charge->amount(), 0u);
  EXPECT_EQ(code_of(manager_->charge(kMemory, 10)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->set_budget(kMemory, {})), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->budget(kMemory)), ErrorCode::Disconnected);
}

TEST_F(BudgetTest, AChargeIsTheProcessesNotTheThreads) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  Result<BudgetCharge> charge;
  std::jthread([&] { charge = manager_->charge(kMemory, 100); }).join();
  ASSERT_TRUE(charge);
  EXPECT_EQ(code_of(manager_->charge(kMemory, 1)), ErrorCode::BudgetExceeded);
  charge->give_back();
  EXPECT_TRUE(manager_->charge(kMemory, 100));
}

TEST_F(BudgetTest, AThreadThatBecomesAnotherDriverChargesThat) {
  const DriverId dma = manager_->register_driver("dma").value();
  const DriverId gpu = manager_->register_driver("gpu").value();
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 10}, dma));
  ASSERT_TRUE(manager_->set_thread_driver(gpu));
  const auto first = manager_->charge(kMemory, 20);
  ASSERT_TRUE(manager_->set_thread_driver(dma));
  EXPECT_EQ(code_of(manager_->charge(kMemory, 20)), ErrorCode::BudgetExceeded);
  EXPECT_TRUE(manager_->charge(kMemory, 10));
}

TEST_F(BudgetTest, AnotherDomainHasOtherAccounts) {
  ASSERT_TRUE(manager_->charge(kMemory, 10));
  // The thread's context is made of what that of the domain before was.
  for (int i = 0; i < 3; ++i) {
    restart({});
    EXPECT_EQ(of(kMemory).drawn, 0u);
    EXPECT_TRUE(manager_->charge(kMemory, 10));
    EXPECT_NE(of(kMemory).drawn, 0u);
  }
}

TEST_F(BudgetTest, BadInputIsRefused) {
  EXPECT_EQ(code_of(manager_->set_budget(ResourceType{6}, {})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->set_budget(kMemory, {.max = 1, .reserved = 2})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->set_budget(kMemory, {}, DriverId{77})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->budget(kMemory, DriverId{77})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->budget(ResourceType{6})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->charge(ResourceType{6}, 1)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->charge(kMemory, 1, {.mode = AcquisitionMode{4}})),
            ErrorCode::InvalidArgument);
  auto other = ResourceManager::create().value();
  Context stranger = other->create_context().value();
  EXPECT_EQ(code_of(manager_->charge(kMemory, 1, {.context = &stranger})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->charge(kMemory, kUnlimited)), ErrorCode{}) << "it can be counted";
  EXPECT_EQ(code_of(manager_->charge(kMemory, 0)), ErrorCode{});
}

// ---- waiting, and giving back -------------------------------------------------------------------

constexpr ChargeOptions kBlocking{.mode = AcquisitionMode::Blocking};

TEST_F(BudgetTest, WhoWaitsHasWhatIsGivenBack) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  auto all = manager_->charge(kMemory, 100);
  ASSERT_TRUE(all);
  auto waiting = std::async(std::launch::async,
                            [&] { return code_of(manager_->charge(kMemory, 60, kBlocking)); });
  ASSERT_TRUE(eventually_refused(1)) << "it asks before it sleeps";
  EXPECT_NE(waiting.wait_for(0s), std::future_status::ready);
  all->give_back();
  EXPECT_EQ(waiting.get(), ErrorCode{});
}

TEST_F(BudgetTest, WhoWaitsHasWhatIsUnregistered) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  const auto handle = add_memory("a", 100);
  ASSERT_TRUE(handle);
  auto waiting = std::async(std::launch::async, [&] {
    return manager_->register_resource("b", {.type = kMemory, .size_bytes = 70},
                                       {.mode = AcquisitionMode::Blocking});
  });
  ASSERT_TRUE(eventually_refused(1));
  ASSERT_TRUE(manager_->unregister_resource(*handle));
  EXPECT_TRUE(waiting.get());
  EXPECT_EQ(of(kMemory).used, 70u);
}

TEST_F(BudgetTest, WhoWaitsHasWhatABudgetWasRaisedBy) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  auto all = manager_->charge(kMemory, 100);
  auto waiting = std::async(std::launch::async,
                            [&] { return code_of(manager_->charge(kMemory, 60, kBlocking)); });
  ASSERT_TRUE(eventually_refused(1));
  // One that can't be had yet is waited for, one that never can be is not.
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 160}));
  EXPECT_EQ(waiting.get(), ErrorCode{});
}

TEST_F(BudgetTest, MoreThanThereCanBeIsRefusedAtOnce) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100, .reserved = 10}));
  const auto refused = manager_->charge(kMemory, 91, kBlocking);
  ASSERT_EQ(code_of(refused), ErrorCode::BudgetExceeded);
  EXPECT_EQ(refused.error().requested(), 91u);
  EXPECT_EQ(refused.error().available(), 90u);
}

TEST_F(BudgetTest, ATimeoutSaysWhatWasShort) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  const auto all = manager_->charge(kMemory, 80);
  ASSERT_TRUE(all);
  const auto late =
      manager_->charge(kMemory, 60, {.mode = AcquisitionMode::Timeout, .timeout = 1ms});
  ASSERT_EQ(code_of(late), ErrorCode::TimedOut);
  EXPECT_EQ(late.error().requested(), 60u);
  EXPECT_EQ(late.error().available(), 20u);
  EXPECT_EQ(
      code_of(manager_->register_resource("a", {.type = kMemory, .size_bytes = 60},
                                          {.mode = AcquisitionMode::Timeout, .timeout = 1ms})),
      ErrorCode::TimedOut);
  EXPECT_EQ(code_of(manager_->find("a")), ErrorCode::NotFound);
}

TEST_F(BudgetTest, WhatAnotherDriverDrewInVainIsReturned) {
  const DriverId dma = manager_->register_driver("dma").value();
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 16'000}));
  {
    const auto some = manager_->charge(kMemory, 100);
    ASSERT_TRUE(some);
  }
  ASSERT_EQ(of(kMemory).drawn, 1000u) << "nobody uses it";
  Context other = manager_->create_context(dma).value();
  EXPECT_EQ(code_of(manager_->charge(kMemory, 15'500, {.context = &other})),
            ErrorCode::BudgetExceeded);
  EXPECT_TRUE(
      manager_->charge(kMemory, 15'500, {.mode = AcquisitionMode::Blocking, .context = &other}));
}

TEST_F(BudgetTest, ReclaimersAreAskedByPriorityAndAgeUntilItIsEnough) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  std::vector<std::string> called;
  BudgetCharge first = manager_->charge(kMemory, 40).value();
  BudgetCharge second = manager_->charge(kMemory, 60).value();
  const auto frees = [&](const char* name, BudgetCharge* charge) {
    return [&called, name, charge](const ReclamationRequest& request) {
      called.push_back(name + std::to_string(request.amount));
      const std::uint64_t freed = charge ? charge->amount() : 0;
      if (charge) charge->give_back();
      return freed;
    };
  };
  const auto late = manager_->register_reclamation_callback(kMemory, frees("late", nullptr),
                                                            ResourcePriority::High);
  const auto old = manager_->register_reclamation_callback(kMemory, frees("old", &first));
  const auto young = manager_->register_reclamation_callback(kMemory, frees("young", &second));
  const auto early = manager_->register_reclamation_callback(kMemory, frees("early", nullptr),
                                                             ResourcePriority::Low);
  const auto other =
      manager_->register_reclamation_callback(ResourceType::Custom, frees("other", nullptr));
  ASSERT_TRUE(late && old && young && early && other);
  EXPECT_TRUE(manager_->charge(kMemory, 70, kBlocking));
  manager_->close();  // the callbacks have run
  EXPECT_EQ(called, (std::vector<std::string>{"early70", "old70", "young30"}));
}

TEST_F(BudgetTest, AReclaimerThatThrowsIsPassedBy) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  BudgetCharge charge = manager_->charge(kMemory, 100).value();
  const auto bad = manager_->register_reclamation_callback(
      kMemory, [](const ReclamationRequest&) -> std::uint64_t { throw std::runtime_error("no"); });
  const auto good = manager_->register_reclamation_callback(
      kMemory, [&](const ReclamationRequest&) -> std::uint64_t {
        charge.give_back();
        return 100;
      });
  ASSERT_TRUE(bad && good);
  EXPECT_TRUE(manager_->charge(kMemory, 50, kBlocking));
}

TEST_F(BudgetTest, AReclaimerThatIsNoMoreIsNotAsked) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  const auto all = manager_->charge(kMemory, 100);
  int asked = 0;
  {
    auto callback = manager_->register_reclamation_callback(
        kMemory, [&](const ReclamationRequest&) -> std::uint64_t {
          return static_cast<std::uint64_t>(++asked);
        });
    ASSERT_TRUE(callback);
    BudgetCallback moved = std::move(*callback);
    callback->unregister();
  }
  EXPECT_EQ(
      code_of(manager_->charge(kMemory, 1, {.mode = AcquisitionMode::Timeout, .timeout = 1ms})),
      ErrorCode::TimedOut);
  EXPECT_EQ(asked, 0);
}

TEST_F(BudgetTest, ACallbackOfTheManagersDoesNotWait) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  BudgetCharge charge = manager_->charge(kMemory, 100).value();
  ErrorCode inside{};
  const auto callback = manager_->register_reclamation_callback(
      kMemory, [&](const ReclamationRequest&) -> std::uint64_t {
        inside = code_of(manager_->charge(kMemory, 10, kBlocking));
        charge.give_back();
        return 100;
      });
  ASSERT_TRUE(callback);
  EXPECT_TRUE(manager_->charge(kMemory, 50, kBlocking));
  EXPECT_EQ(inside, ErrorCode::BudgetExceeded);
}

TEST_F(BudgetTest, AcquireResourceWaitsForBudgetInItsMode) {
  struct Counter {
    std::uint64_t value;
  };
  ASSERT_TRUE(manager_->set_budget(ResourceType::Custom, {.max = 1}));
  const Handle taken = add("taken");
  EXPECT_EQ(code_of(manager_->acquire_resource<Counter>("counter", {},
                                                        {.mode = AcquisitionMode::NonBlocking})),
            ErrorCode::BudgetExceeded);
  auto waiting = std::async(
      std::launch::async, [&] { return code_of(manager_->acquire_resource<Counter>("counter")); });
  ASSERT_TRUE(eventually_refused(2, ResourceType::Custom));
  ASSERT_TRUE(manager_->unregister_resource(taken));
  EXPECT_EQ(waiting.get(), ErrorCode{});
}

TEST_F(BudgetTest, PressureIsToldInTheOrderOfItsChanges) {
  std::mutex mutex;
  std::vector<PressureChange> told;
  const auto callback = manager_->register_pressure_callback([&](const PressureChange& change) {
    const std::lock_guard lock(mutex);
    told.push_back(change);
  });
  ASSERT_TRUE(callback);
  const DriverId dma = manager_->register_driver("dma").value();
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100, .warning_percent = 50}));
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 200, .warning_percent = 20}, dma));
  ASSERT_TRUE(add_memory("a", 60, dma));
  EXPECT_EQ(of(kMemory).pressure, ResourcePressure::Medium);
  ASSERT_TRUE(add_memory("b", 40));
  EXPECT_EQ(of(kMemory).pressure, ResourcePressure::Critical);
  ASSERT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return told.size() >= 3;
  }));
  const std::lock_guard lock(mutex);
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].level, ResourcePressure::Medium);
  EXPECT_EQ(told[0].driver.value, 0u);
  EXPECT_EQ(told[0].type, kMemory);
  EXPECT_EQ(told[1].level, ResourcePressure::Medium);
  EXPECT_EQ(told[1].driver.value, dma.value);
  EXPECT_EQ(told[2].level, ResourcePressure::Critical);
  EXPECT_EQ(told[2].before, ResourcePressure::Medium);
}

TEST_F(BudgetTest, PressureEndsThoughNothingChangesAnyMore) {
  std::promise<ResourcePressure> ended;
  bool rose = false;
  const auto callback = manager_->register_pressure_callback([&](const PressureChange& change) {
    if (change.level == ResourcePressure::Critical) rose = true;
    if (change.level == ResourcePressure::Low) ended.set_value(change.before);
  });
  ASSERT_TRUE(callback);
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100}));
  const auto handle = add_memory("a", 100);
  ASSERT_TRUE(handle);
  ASSERT_TRUE(manager_->unregister_resource(*handle));
  EXPECT_EQ(ended.get_future().get(), ResourcePressure::Critical);
  EXPECT_TRUE(rose);
}

TEST_F(BudgetTest, BadCallbacksAreRefused) {
  EXPECT_EQ(code_of(manager_->register_reclamation_callback(kMemory, {})),
            ErrorCode::InvalidArgument);
  const auto some = [](const ReclamationRequest&) -> std::uint64_t { return 0; };
  EXPECT_EQ(code_of(manager_->register_reclamation_callback(ResourceType{6}, some)),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->register_reclamation_callback(kMemory, some, ResourcePriority{5})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->register_pressure_callback({})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->register_resource("a", {}, {.mode = AcquisitionMode{4}})),
            ErrorCode::InvalidArgument);
}

TEST(Profile, SaysTablesAndBudgets) {
  const auto manager = *ResourceManager::create({.profile = DomainProfile::Tiny});
  const auto hardware = manager->budget(ResourceType::Hardware);
  ASSERT_TRUE(hardware);
  EXPECT_EQ(hardware->budget.max, 1024u / 5) << "of the tables' places";
  EXPECT_EQ(hardware->budget.reserved, 1024u / 20);
  EXPECT_EQ(manager->budget(ResourceType::Performance)->budget.max, resmgr::kUnlimited);
  ASSERT_TRUE(manager->set_budget(ResourceType::Hardware, {.max = 7}));
  EXPECT_EQ(manager->budget(ResourceType::Hardware)->budget.max, 7u);
}

TEST(Profile, OfNoSuchNumberIsRefused) {
  const auto manager = ResourceManager::create({.profile = static_cast<DomainProfile>(7)});
  ASSERT_FALSE(manager);
  EXPECT_EQ(manager.error().code(), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace hal
