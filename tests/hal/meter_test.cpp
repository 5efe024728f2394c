// SPDX-License-Identifier: Apache-2.0
#include <hal/meter.hpp>

#include <liburing.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using namespace std::chrono_literals;
using test::code_of;

class MeterTest : public test::ManagerTest {
 protected:
  [[nodiscard]] Meter open(std::uint64_t rate, std::uint64_t burst) {
    auto meter = Meter::open(*manager_, "meter", {.tokens_per_second = rate, .burst = burst});
    EXPECT_TRUE(meter) << meter.error().message();
    return std::move(*meter);
  }
};

/// So slow that nothing comes while a test runs.
constexpr std::uint64_t kSlow = 1;

TEST_F(MeterTest, GivesItsBurstAndThenWhatComes) {
  Meter meter = open(kSlow, 1000);
  EXPECT_EQ(meter.tokens_per_second(), kSlow);
  EXPECT_EQ(meter.burst(), 1000u);
  EXPECT_EQ(meter.level().value(), 1000);
  EXPECT_TRUE(meter.try_charge(600).value());
  EXPECT_FALSE(meter.try_charge(500).value());
  EXPECT_TRUE(meter.try_charge(400).value());
  EXPECT_FALSE(meter.try_charge(100).value());
  EXPECT_EQ(code_of(meter.try_charge(1001)), ErrorCode::InvalidArgument);
  ASSERT_TRUE(meter.refund(300));
  EXPECT_TRUE(meter.try_charge(300).value());
}

TEST_F(MeterTest, IsTheSameForAllWhoOpenIt) {
  Meter mine = open(kSlow, 1000);
  Meter theirs = Meter::find(*manager_, "meter").value();
  EXPECT_EQ(theirs.handle(), mine.handle());
  EXPECT_TRUE(mine.try_charge(1000).value());
  EXPECT_FALSE(theirs.try_charge(900).value());
  EXPECT_EQ(open(kSlow, 1000).handle(), mine.handle());
  EXPECT_EQ(code_of(Meter::open(*manager_, "meter", {.tokens_per_second = 2, .burst = 1000})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(Meter::open(*manager_, "meter", {.tokens_per_second = kSlow, .burst = 999})),
            ErrorCode::InvalidArgument);
}

TEST_F(MeterTest, WhoCannotHaveItInTimeTakesNothing) {
  Meter meter = open(kSlow, 10);
  ASSERT_TRUE(meter.try_charge(10).value());
  EXPECT_EQ(code_of(meter.charge(5, 1ms)), ErrorCode::TimedOut);
  EXPECT_EQ(code_of(meter.charge(5, 0ns)), ErrorCode::TimedOut);
  ASSERT_TRUE(meter.refund(10));
  EXPECT_TRUE(meter.charge(9, 0ns)) << "it is there";
}

TEST_F(MeterTest, WhoGoesOnBeforeOwes) {
  Meter meter = open(kSlow, 10);
  const auto before = std::chrono::steady_clock::now();
  const auto ready = meter.charge_ahead(10).value();
  EXPECT_LE(ready, std::chrono::steady_clock::now()) << "they were there";
  EXPECT_GT(meter.charge_ahead(100).value(), before + 90s);
  EXPECT_LT(meter.level().value(), -90);
}

TEST_F(MeterTest, SleepsUntilTheTokensCome) {
  Meter meter = open(1000, 1);
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(meter.charge(1));
  ASSERT_TRUE(meter.charge(20));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 19ms) << "they come one by one";
}

TEST_F(MeterTest, CountsInTheBudgetOfItsType) {
  ASSERT_TRUE(manager_->set_budget(ResourceType::Performance, {.max = 1000}));
  EXPECT_EQ(code_of(Meter::open(*manager_, "big", {.tokens_per_second = 1001})),
            ErrorCode::BudgetExceeded);
  ASSERT_TRUE(Meter::open(*manager_, "small", {.tokens_per_second = 600}));
  EXPECT_EQ(manager_->budget(ResourceType::Performance)->used, 600u);
}

TEST_F(MeterTest, IsNoMoreWhenItIsUnregistered) {
  Meter meter = open(kSlow, 10);
  ASSERT_TRUE(meter.charge_ahead(500));
  ASSERT_TRUE(manager_->unregister_resource(meter.handle()));
  EXPECT_EQ(code_of(meter.try_charge(1)), ErrorCode::StaleHandle);
  EXPECT_EQ(code_of(meter.level()), ErrorCode::StaleHandle);
  // The next one in its slot has no debts.
  Meter next = open(kSlow, 10);
  EXPECT_EQ(next.handle().slot(), meter.handle().slot());
  EXPECT_TRUE(next.try_charge(10).value());
  manager_->close();
  EXPECT_EQ(code_of(next.try_charge(1)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(next.charge(1)), ErrorCode::Disconnected);
}

TEST_F(MeterTest, WhatIsNoMeterIsRefused) {
  (void)add("plain", {.type = ResourceType::Performance, .size_bytes = 5});
  EXPECT_EQ(code_of(Meter::find(*manager_, "plain")), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(Meter::find(*manager_, "none")), ErrorCode::NotFound);
  EXPECT_EQ(code_of(Meter::open(*manager_, "a", {})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(Meter::open(*manager_, "a b", {.tokens_per_second = 5})),
            ErrorCode::InvalidName);
  (void)manager_->register_resource("odd", {.type = ResourceType::Performance,
                                            .class_name = "meter",
                                            .size_bytes = 5,
                                            .pairs = {{"burst", "many"}}});
  EXPECT_EQ(code_of(Meter::find(*manager_, "odd")), ErrorCode::InvalidArgument);
}

class AsyncMeterTest : public MeterTest {
 protected:
  void SetUp() override {
    MeterTest::SetUp();
    const int failed = io_uring_queue_init(8, &ring_, 0);
    if (failed != 0) GTEST_SKIP() << "io_uring is forbidden here: error " << -failed;
    has_ring_ = true;
  }
  void TearDown() override {
    if (has_ring_) io_uring_queue_exit(&ring_);
  }

  io_uring ring_{};
  bool has_ring_ = false;
};

TEST_F(AsyncMeterTest, WhatIsThereIsDoneAtOnce) {
  Meter meter = open(kSlow, 10);
  const AsyncCharge charge(meter, 10);
  EXPECT_TRUE(charge.done());
  EXPECT_TRUE(charge.outcome());
  AsyncCharge late(meter, 5, 1ms);
  EXPECT_TRUE(late.done());
  EXPECT_EQ(code_of(late.outcome()), ErrorCode::TimedOut);
  EXPECT_EQ(code_of(late.prepare(io_uring_get_sqe(&ring_), 1)), ErrorCode::InvalidArgument);
}

TEST_F(AsyncMeterTest, ACompletionSaysThatTheyHaveCome) {
  Meter meter = open(1000, 1);
  ASSERT_TRUE(meter.try_charge(1).value());
  AsyncCharge charge(meter, 10);
  ASSERT_FALSE(charge.done());
  EXPECT_EQ(code_of(charge.prepare(nullptr, 7)), ErrorCode::CapacityExceeded);
  ASSERT_TRUE(charge.prepare(io_uring_get_sqe(&ring_), 7));
  ASSERT_GE(io_uring_submit(&ring_), 0);
  io_uring_cqe* completion = nullptr;
  ASSERT_EQ(io_uring_wait_cqe(&ring_, &completion), 0);
  io_uring_cqe other = {};
  other.user_data = 8;
  EXPECT_FALSE(charge.complete(&other));
  EXPECT_FALSE(charge.complete(nullptr));
  EXPECT_TRUE(charge.complete(completion));
  EXPECT_TRUE(charge.done());
  EXPECT_TRUE(charge.outcome());
  EXPECT_FALSE(charge.complete(completion)) << "it has had its one";
}

TEST_F(AsyncMeterTest, OneThatIsGivenUpGivesItsTokensBack) {
  Meter meter = open(kSlow, 10);
  ASSERT_TRUE(meter.try_charge(10).value());
  {
    AsyncCharge charge(meter, 5);
    EXPECT_FALSE(charge.done());
    EXPECT_LE(meter.level().value(), -4);
  }
  EXPECT_GE(meter.level().value(), 0);
}

}  // namespace
}  // namespace hal
