// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/pressure_watch.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/budget/fake_kernel.hpp"
#include "tests/budget/support.hpp"

namespace resmgr::budget {
namespace {

constexpr auto kMemory = ResourceType::Memory;
constexpr std::uint64_t kSecond = 1'000'000'000;

class Watches : public ::testing::Test {
 protected:
  Watches() {
    book_.on_change(
        [this](std::uint32_t driver, ResourceType type) { watch_.look(driver, type, now_); });
    watch_.on_change([this](const PressureWatch::Change& change) { told_.push_back(change); });
  }
  void charge(std::uint64_t amount, std::uint32_t driver = 0) {
    EXPECT_TRUE(book_.charge(driver, kMemory, amount, Urgency::Emergency));
  }
  [[nodiscard]] ResourcePressure level(std::uint32_t driver = 0) const {
    return book_.usage(driver, kMemory)->pressure;
  }

  test::Ledger ledger_;
  Book book_{ledger_.tables()};
  PressureWatch watch_{ledger_.tables()};
  std::vector<PressureWatch::Change> told_;
  std::uint64_t now_ = 10 * kSecond;
};

TEST_F(Watches, WithoutALimitNothingIsScarce) {
  charge(~std::uint64_t{0} >> 1);
  EXPECT_TRUE(told_.empty());
  EXPECT_FALSE(watch_.look_again(now_));
}

TEST_F(Watches, ALevelRisesAtOnceAndEndsLater) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 100}));
  charge(80);
  EXPECT_EQ(level(), ResourcePressure::Medium);
  charge(15);
  EXPECT_EQ(level(), ResourcePressure::High);
  charge(5);
  EXPECT_EQ(level(), ResourcePressure::Critical);
  book_.give_back(0, kMemory, 100);
  EXPECT_EQ(level(), ResourcePressure::Critical) << "it has only begun";
  const auto next = watch_.look_again(now_);
  ASSERT_TRUE(next);
  EXPECT_GT(*next, now_);
  now_ += 2 * kSecond;
  EXPECT_FALSE(watch_.look_again(now_));
  EXPECT_EQ(level(), ResourcePressure::Low);
  ASSERT_EQ(told_.size(), 4u);
  EXPECT_EQ(told_.back().before, ResourcePressure::Critical);
}

TEST_F(Watches, EachDriverHasItsOwn) {
  ASSERT_TRUE(book_.set(2, kMemory, {.max = 10}));
  charge(9, 2);
  charge(9, 1);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].driver, 2u);
  EXPECT_EQ(level(1), ResourcePressure::Low);
}

TEST_F(Watches, ABudgetThatIsChangedIsLookedAtAnew) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 1000}));
  charge(100);
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 100}));
  EXPECT_EQ(level(), ResourcePressure::Critical);
  now_ += 2 * kSecond;
  ASSERT_TRUE(book_.set(0, kMemory, {}));
  EXPECT_EQ(level(), ResourcePressure::Low) << "without a limit nothing is scarce";
}

TEST_F(Watches, OfABudgetOfNothingNothingIsLeft) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 0}));
  EXPECT_EQ(level(), ResourcePressure::Critical);
}

TEST_F(Watches, WhatIsReservedIsNotLeft) {
  ASSERT_TRUE(book_.set(0, kMemory, {.max = 100, .reserved = 50}));
  charge(49);
  EXPECT_EQ(level(), ResourcePressure::Low);
  charge(1);
  EXPECT_EQ(level(), ResourcePressure::Critical);
}

TEST_F(Watches, MemoryIsAsScarceAsWhatIsAround) {
  watch_.look_around({.used = 100, .limit = 100}, false, now_);
  EXPECT_EQ(level(), ResourcePressure::Critical);
  EXPECT_EQ(book_.usage(0, ResourceType::Hardware)->pressure, ResourcePressure::Low);
  now_ += 2 * kSecond;
  watch_.look_around({.used = 10, .limit = 100}, true, now_);
  EXPECT_EQ(level(), ResourcePressure::High) << "the kernel says that processes waited";
  now_ += 2 * kSecond;
  watch_.look_around({}, false, now_);
  EXPECT_FALSE(watch_.look_again(now_));
  EXPECT_EQ(level(), ResourcePressure::Low);
}

// As the kernel of version 2 tells it, without stalls.
TEST_F(Watches, WhatIsAroundIsObserved) {
  const test::FakeKernel kernel;
  kernel.say("/proc/self/cgroup", "0::/app\n");
  kernel.say("/proc/self/mountinfo", "30 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  kernel.say("/sys/fs/cgroup/app/memory.max", "1000\n");
  kernel.say("/sys/fs/cgroup/app/memory.current", "100\n");
  watch_.observe(MemoryObserver::find(kernel.root()));
  EXPECT_EQ(watch_.stall_fd(), -1);
  const auto quiet = watch_.look_again(now_);
  ASSERT_TRUE(quiet) << "a limit has to be looked at though nothing is pressed";
  EXPECT_EQ(level(), ResourcePressure::Low);
  kernel.say("/sys/fs/cgroup/app/memory.current", "950\n");
  now_ = *quiet;
  const auto pressed = watch_.look_again(now_);
  ASSERT_TRUE(pressed);
  EXPECT_LT(*pressed - now_, *quiet - 10 * kSecond);
  EXPECT_EQ(level(), ResourcePressure::High);
  kernel.say("/sys/fs/cgroup/app/memory.current", "100\n");
  now_ += 2 * kSecond;
  EXPECT_TRUE(watch_.look_again(now_));
  EXPECT_EQ(level(), ResourcePressure::Low);
  EXPECT_EQ(told_.size(), 2u);
}

TEST_F(Watches, WhereTheKernelTellsNothingNothingIsObserved) {
  const test::FakeKernel kernel;
  watch_.observe(MemoryObserver::find(kernel.root()));
  EXPECT_FALSE(watch_.look_again(now_));
  watch_.note_stall();
  EXPECT_FALSE(watch_.look_again(now_));
  EXPECT_EQ(level(), ResourcePressure::Low);
}

}  // namespace
}  // namespace resmgr::budget
