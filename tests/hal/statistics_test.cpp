// SPDX-License-Identifier: Apache-2.0
#include <hal/statistics.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <random>
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
constexpr auto kHardware = ResourceType::Hardware;

class StatisticsTest : public test::ManagerTest {
 protected:
  [[nodiscard]] TypeStatistics of(ResourceType type, DriverId driver = {}) const {
    auto told = manager_->statistics(type, driver);
    EXPECT_TRUE(told) << told.error().message();
    return told.value_or(TypeStatistics());
  }
  [[nodiscard]] DriverId driver(std::string_view name) const {
    return manager_->register_driver(name).value();
  }
  [[nodiscard]] Handle add_for(std::string_view name, DriverId owner, ResourceType type,
                               std::uint64_t bytes = 0) const {
    return manager_->register_resource(name, {.type = type, .size_bytes = bytes}, {.driver = owner})
        .value();
  }
  void wait_until_queued(Handle handle) const {
    while (manager_->get_resource_stats(handle)->waiting == 0) std::this_thread::yield();
  }
  /// A thread that waits for what this one holds, and has it once this one lets go.
  void let_one_wait(Handle handle) const {
    auto hold = manager_->acquire_scoped_resource(handle);
    ASSERT_TRUE(hold);
    std::jthread waiter(
        [&] { EXPECT_TRUE(manager_->acquire_scoped_resource(handle, AcquisitionMode::Blocking)); });
    wait_until_queued(handle);
    hold->release();
  }
  [[nodiscard]] HealthReport health(const HealthLimits& limits = {}) const {
    auto told = manager_->health(limits);
    EXPECT_TRUE(told) << told.error().message();
    return told.value_or(HealthReport());
  }
  [[nodiscard]] static const HealthReason* reason(const HealthReport& report, HealthCode code) {
    const auto found = std::ranges::find(report.reasons, code, &HealthReason::code);
    return found == report.reasons.end() ? nullptr : &*found;
  }
};

TEST_F(StatisticsTest, WhatCameAndWentIsCountedByTypeAndDriver) {
  const DriverId dma = driver("dma");
  const Handle first = add_for("a", dma, kHardware);
  const Handle second = add_for("b", {}, kHardware);
  (void)add_for("m", dma, kMemory, 100);
  ASSERT_TRUE(manager_->unregister_resource(first));
  const TypeStatistics all = of(kHardware);
  EXPECT_EQ(all.current, 1u);
  EXPECT_EQ(all.peak, 2u);
  EXPECT_EQ(all.created, 2u);
  EXPECT_EQ(all.destroyed, 1u);
  EXPECT_EQ(of(kHardware, dma).current, 0u);
  EXPECT_EQ(of(kHardware, dma).created, 1u);
  EXPECT_EQ(of(kHardware, dma).peak, 1u);
  EXPECT_EQ(of(kMemory, dma).current, 1u);
  EXPECT_EQ(of(ResourceType::Custom).created, 0u);
  EXPECT_TRUE(manager_->is_valid(second));
}

TEST_F(StatisticsTest, AcquisitionsOutliveTheirResource) {
  const Handle a = add("a", {.type = kHardware});
  const Handle b = add("b", {.type = kHardware, .flags = ResourceFlags::Shareable});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(manager_->acquire_scoped_resource(a));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(manager_->try_acquire_shared(b));
  EXPECT_EQ(of(kHardware).acquisitions, 8u);
  ASSERT_TRUE(manager_->unregister_resource(a));
  ASSERT_TRUE(manager_->unregister_resource(b));
  EXPECT_EQ(of(kHardware).acquisitions, 8u);
  EXPECT_EQ(of(kHardware).success_rate(), 1);
}

TEST_F(StatisticsTest, RefusalsLowerTheSuccessRate) {
  const Handle a = add("a");
  auto hold = manager_->acquire_scoped_resource(a);
  ASSERT_TRUE(hold);
  std::jthread([&] {
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(code_of(manager_->acquire_scoped_resource(a, AcquisitionMode::NonBlocking)),
                ErrorCode::WouldBlock);
    }
    EXPECT_EQ(code_of(manager_->acquire_scoped_resource(
                  a, AcquireOptions{.mode = AcquisitionMode::Timeout, .timeout = 1us})),
              ErrorCode::TimedOut);
  }).join();
  const TypeStatistics t = of(ResourceType::Custom);
  EXPECT_EQ(t.waits.would_block, 3u);
  EXPECT_EQ(t.waits.timed_out, 1u);
  EXPECT_EQ(t.waits.failed(), 4u);
  EXPECT_EQ(t.success_rate(), 1.0 / 5);
  EXPECT_EQ(t.held, 1u);
}

TEST_F(StatisticsTest, AWaitIsCountedForItsTypeAndOwner) {
  const DriverId gpu = driver("gpu");
  const Handle a = add_for("a", gpu, kHardware);
  let_one_wait(a);
  const TypeStatistics t = of(kHardware, gpu);
  EXPECT_EQ(t.waits.granted, 1u);
  EXPECT_EQ(t.waits.average_ns(), t.waits.longest_ns);
  EXPECT_EQ(t.waits.p50_ns, t.waits.longest_ns);
  EXPECT_EQ(t.waits.p99_ns, t.waits.longest_ns);
  EXPECT_GT(t.waits.longest_ns, 0u);
  EXPECT_EQ(t.contention(), 0.5);
  EXPECT_EQ(of(kHardware).waits.granted, 1u) << "and for all drivers together";
  EXPECT_EQ(of(kHardware, driver("dma")).waits.granted, 0u);
  const auto stats = manager_->get_resource_stats(a);
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->waits, 1u);
  EXPECT_EQ(stats->waited_ns, t.waits.granted_ns);
}

TEST_F(StatisticsTest, PagesThatNobodyAskedForAreFragments) {
  (void)add("a", {.type = kMemory, .size_bytes = 1024});
  (void)add("b", {.type = kMemory, .size_bytes = 4096});
  EXPECT_EQ(of(kMemory).size_bytes, 5120u);
  EXPECT_EQ(of(kMemory).page_bytes, 8192u);
  EXPECT_EQ(of(kMemory).fragmentation(), 1 - 5120.0 / 8192);
  EXPECT_EQ(of(kHardware).fragmentation(), 0);
}

TEST_F(StatisticsTest, WhatCostsTheMostWaitingComesFirst) {
  auto context = manager_->create_context(driver("hog"));
  ASSERT_TRUE(context);
  const Handle quick = add("quick");
  const Handle slow = add("slow");
  (void)add("idle");
  let_one_wait(quick);
  auto hold = manager_->acquire_scoped_resource(slow, AcquireOptions{.context = &*context});
  ASSERT_TRUE(hold);
  {
    std::jthread waiter(
        [&] { EXPECT_TRUE(manager_->acquire_scoped_resource(slow, AcquisitionMode::Blocking)); });
    wait_until_queued(slow);
    // What goes on counts too: at last it is longer than what ended.
    while (manager_->bottlenecks(1)->front().name != "slow") std::this_thread::yield();
    const Bottleneck now = manager_->bottlenecks()->front();
    EXPECT_EQ(now.waiting, 1u);
    EXPECT_EQ(now.waits, 0u);
    EXPECT_EQ(now.holder_driver, "hog");
    hold->release();
  }
  const auto all = manager_->bottlenecks();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u) << "nobody waited for the third";
  EXPECT_EQ(all->front().name, "slow");
  EXPECT_EQ(all->front().waits, 1u);
  EXPECT_EQ(all->front().waiting, 0u);
  EXPECT_EQ(all->front().blamed_driver, "hog");
  EXPECT_EQ(all->front().holder_driver, "");
  EXPECT_GE(all->front().waited_ns, all->back().waited_ns);
  EXPECT_EQ(manager_->bottlenecks(0)->size(), 0u);
}

TEST_F(StatisticsTest, AnEmptyDomainIsWell) {
  const HealthReport report = health();
  EXPECT_EQ(report.status, HealthStatus::Ok);
  EXPECT_TRUE(report.reasons.empty());
}

TEST_F(StatisticsTest, BudgetsMakeItWorseByAndBy) {
  ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 100, .reserved = 10}));
  (void)add("a", {.type = kMemory, .size_bytes = 70});
  EXPECT_EQ(health().status, HealthStatus::Ok);
  (void)add("b", {.type = kMemory, .size_bytes = 10});
  HealthReport report = health();
  EXPECT_EQ(report.status, HealthStatus::Degraded);
  const HealthReason* why = reason(report, HealthCode::BudgetNearLimit);
  ASSERT_NE(why, nullptr);
  EXPECT_EQ(why->subject, "memory");
  EXPECT_EQ(why->text, "80 of 100 used");
  (void)add("c", {.type = kMemory, .size_bytes = 10});
  report = health();
  EXPECT_EQ(report.status, HealthStatus::Critical);
  EXPECT_NE(reason(report, HealthCode::BudgetExhausted), nullptr);
  ASSERT_TRUE(manager_->register_resource("d", {.type = kMemory, .size_bytes = 20},
                                          {.mode = AcquisitionMode::Emergency}));
  report = health();
  EXPECT_NE(reason(report, HealthCode::BudgetOverdrawn), nullptr);
  EXPECT_EQ(report.reasons.size(), 1u) << "one reason for one budget";
}

TEST_F(StatisticsTest, ATableThatFillsIsAReason) {
  restart({.capacities = {.resources = 10, .contexts = 16}});
  for (int i = 0; i < 8; ++i) (void)add("r" + std::to_string(i));
  EXPECT_EQ(health().status, HealthStatus::Ok);
  (void)add("r8");
  HealthReport report = health();
  EXPECT_EQ(report.status, HealthStatus::Degraded);
  ASSERT_NE(reason(report, HealthCode::TableNearlyFull), nullptr);
  EXPECT_EQ(reason(report, HealthCode::TableNearlyFull)->subject, "resources");
  (void)add("r9");
  report = health();
  EXPECT_EQ(report.status, HealthStatus::Critical);
  ASSERT_NE(reason(report, HealthCode::TableFull), nullptr);
}

TEST_F(StatisticsTest, AWaitThatTakesTooLongIsAReason) {
  const Handle a = add("a");
  auto hold = manager_->acquire_scoped_resource(a);
  ASSERT_TRUE(hold);
  std::jthread waiter(
      [&] { EXPECT_TRUE(manager_->acquire_scoped_resource(a, AcquisitionMode::Blocking)); });
  wait_until_queued(a);
  EXPECT_EQ(health({.long_wait_ns = ~std::uint64_t{0}}).status, HealthStatus::Ok);
  const HealthReport report = health({.long_wait_ns = 0});
  EXPECT_EQ(report.status, HealthStatus::Degraded);
  ASSERT_NE(reason(report, HealthCode::LongWait), nullptr);
  EXPECT_EQ(reason(report, HealthCode::LongWait)->subject, "a");
  hold->release();
}

TEST_F(StatisticsTest, ManyReasonsOfOneCodeBecomeFew) {
  for (int i = 0; i < 9; ++i) {
    const DriverId each = driver("d" + std::to_string(i));
    ASSERT_TRUE(manager_->set_budget(kMemory, {.max = 10}, each));
    (void)add_for("r" + std::to_string(i), each, kMemory, 9);
  }
  const HealthReport report = health({.most_reasons_of_a_code = 4});
  ASSERT_EQ(report.reasons.size(), 5u);
  EXPECT_EQ(report.reasons.back().text, "and 5 more like that");
}

TEST_F(StatisticsTest, NonsenseIsRefused) {
  EXPECT_EQ(code_of(manager_->statistics(static_cast<ResourceType>(6))),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->statistics(kMemory, DriverId{99})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->health({.table_percent = 101})), ErrorCode::InvalidArgument);
  manager_->close();
  EXPECT_EQ(code_of(manager_->statistics(kMemory)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->bottlenecks()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->health()), ErrorCode::Disconnected);
}

// Random registrations, acquisitions and refusals of several drivers, beside plain counts of them.
TEST_F(StatisticsTest, AgreesWithWhatWasDone) {
  struct Counts {
    std::uint64_t current = 0;
    std::uint64_t peak = 0;
    std::uint64_t created = 0;
    std::uint64_t acquisitions = 0;
    std::uint64_t refused = 0;
    std::uint64_t bytes = 0;
  };
  struct Added {
    Handle handle;
    std::size_t driver;
    std::size_t type;
    std::uint64_t bytes;
  };
  constexpr std::size_t kDrivers = 3;
  const std::array<DriverId, kDrivers> drivers{DriverId{}, driver("one"), driver("two")};
  std::array<std::array<Counts, resmgr::kResourceTypes>, kDrivers> own{};
  std::array<Counts, resmgr::kResourceTypes> all{};
  std::vector<Added> live;
  std::mt19937 random(20240608);
  auto other = manager_->create_context({});
  ASSERT_TRUE(other);
  for (int step = 0; step < 3000; ++step) {
    const auto each = [&](const Added& what, auto&& change) {
      change(own[what.driver][what.type]);
      change(all[what.type]);
    };
    if (live.empty() || random() % 3 == 0) {
      const Added added{
          {}, random() % kDrivers, random() % resmgr::kResourceTypes, random() % 9000};
      live.push_back(added);
      live.back().handle = add_for("r" + std::to_string(step), drivers[added.driver],
                                   static_cast<ResourceType>(added.type), added.bytes);
      each(added, [&](Counts& c) {
        ++c.created;
        c.peak = std::max(c.peak, ++c.current);
        c.bytes += added.bytes;
      });
    } else if (random() % 3 == 0) {
      const std::size_t which = random() % live.size();
      ASSERT_TRUE(manager_->unregister_resource(live[which].handle));
      each(live[which], [&](Counts& c) {
        --c.current;
        c.bytes -= live[which].bytes;
      });
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
    } else {
      const Added& what = live[random() % live.size()];
      const auto hold = manager_->acquire_scoped_resource(what.handle);
      ASSERT_TRUE(hold);
      const bool refused = random() % 2 == 0;
      if (refused) {
        EXPECT_FALSE(
            manager_->acquire_scoped_resource(what.handle, AcquireOptions{.context = &*other}));
      }
      each(what, [&](Counts& c) {
        ++c.acquisitions;
        c.refused += refused ? 1 : 0;
      });
    }
  }
  const auto agree = [&](const TypeStatistics& told, const Counts& counts) {
    EXPECT_EQ(told.current, counts.current);
    EXPECT_EQ(told.peak, counts.peak);
    EXPECT_EQ(told.created, counts.created);
    EXPECT_EQ(told.destroyed, counts.created - counts.current);
    EXPECT_EQ(told.acquisitions, counts.acquisitions);
    EXPECT_EQ(told.waits.would_block, counts.refused);
    EXPECT_EQ(told.size_bytes, counts.bytes);
  };
  for (std::size_t type = 0; type < resmgr::kResourceTypes; ++type) {
    SCOPED_TRACE(type);
    agree(of(static_cast<ResourceType>(type)), all[type]);
    for (std::size_t number = 1; number < kDrivers; ++number) {
      agree(of(static_cast<ResourceType>(type), drivers[number]), own[number][type]);
    }
  }
}

}  // namespace
}  // namespace hal
