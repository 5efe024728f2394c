// SPDX-License-Identifier: Apache-2.0
#include <hal/budgets.hpp>

#include <array>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;

constexpr auto kMemory = ResourceType::Memory;

class BudgetTest : public test::ManagerTest {
 protected:
  [[nodiscard]] Result<Handle> add_memory(std::string_view name, std::uint64_t bytes,
                                          DriverId driver = {}) {
    return manager_->register_resource(name, {.type = kMemory, .size_bytes = bytes},
                                       {.driver = driver});
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

}  // namespace
}  // namespace hal
