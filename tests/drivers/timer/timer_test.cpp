// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/timer.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

#include "drivers/timer/backend.hpp"
#include "tests/drivers/timer/fake_system.hpp"

namespace drivers::timer::test {
namespace {

using namespace std::chrono_literals;
using hal::ErrorCode;
using std::chrono::nanoseconds;

class TimerTest : public testing::Test {
 protected:
  Clock::time_point now() const { return system_.time; }

  FakeSystem system_;
  std::unique_ptr<Timer> timer_ = Timer::open(system_, kTimerfdBackend, 0).value();
};

TEST_F(TimerTest, OneShotExpiresOnce) {
  const Clock::time_point start = now();
  ASSERT_TRUE(timer_->arm_after(5ms));
  EXPECT_TRUE(timer_->armed());
  system_.latencies = {30us};
  const Expirations expired = timer_->wait(Timer::kForever).value();
  EXPECT_EQ(expired.count, 1u);
  EXPECT_EQ(expired.due, start + 5ms);
  EXPECT_EQ(expired.late, 30us);
  EXPECT_EQ(now(), start + 5ms + 30us);
  EXPECT_FALSE(timer_->armed());
  EXPECT_EQ(timer_->wait(Timer::kForever).error(), ErrorCode::InvalidArgument)
      << "waiting for ever for nothing";
  EXPECT_EQ(timer_->poll().error(), ErrorCode::InvalidArgument);
}

TEST_F(TimerTest, AbsoluteTimesAreKept) {
  const Clock::time_point first = now() + 7ms;
  ASSERT_TRUE(timer_->arm_at(first));
  EXPECT_EQ(timer_->wait(first + 1s).value().due, first);
  EXPECT_EQ(now(), first);
}

TEST_F(TimerTest, PeriodsDoNotDrift) {
  const Clock::time_point first = now() + 1ms;
  ASSERT_TRUE(timer_->arm_at(first, 10ms));
  for (int tick = 0; tick < 100; ++tick) {
    system_.latencies = {nanoseconds(1000 * (tick % 7))};
    const Expirations expired = timer_->wait(Timer::kForever).value();
    EXPECT_EQ(expired.count, 1u);
    EXPECT_EQ(expired.due, first + tick * 10ms);
    EXPECT_EQ(expired.late, nanoseconds(1000 * (tick % 7)));
    EXPECT_TRUE(timer_->armed());
  }
  EXPECT_EQ(timer_->statistics().overruns, 0u);
}

TEST_F(TimerTest, OverrunsAreCountedAndTheOldestIsTold) {
  const Clock::time_point first = now() + 10ms;
  ASSERT_TRUE(timer_->arm_at(first, 10ms));
  system_.latencies = {25ms};
  const Expirations expired = timer_->wait(Timer::kForever).value();
  EXPECT_EQ(expired.count, 3u) << "at 10, 20 and 30 ms, seen at 35";
  EXPECT_EQ(expired.due, first);
  EXPECT_EQ(expired.late, 25ms);
  const Expirations next = timer_->wait(Timer::kForever).value();
  EXPECT_EQ(next.count, 1u);
  EXPECT_EQ(next.due, first + 30ms);
  const TimerStatistics statistics = timer_->statistics();
  EXPECT_EQ(statistics.expirations, 4u);
  EXPECT_EQ(statistics.overruns, 2u);
  EXPECT_EQ(statistics.lateness.samples, 2u);
}

TEST_F(TimerTest, WhatHasPassedExpiresAtOnce) {
  ASSERT_TRUE(timer_->arm_at(now() - 35ms, 10ms));
  const Expirations expired = timer_->wait(now()).value();
  EXPECT_EQ(expired.count, 4u) << "35, 25, 15 and 5 ms ago";
  EXPECT_EQ(expired.late, 35ms);
  ASSERT_TRUE(timer_->arm_after(0ns));
  EXPECT_EQ(timer_->poll().value().late, 0ns);
  ASSERT_TRUE(timer_->arm_at(Clock::time_point(1ns)));
  EXPECT_EQ(timer_->poll().value().count, 1u) << "never the zero that would disarm";
}

TEST_F(TimerTest, DeadlinesEndTheWait) {
  ASSERT_TRUE(timer_->arm_after(10ms));
  const Clock::time_point start = now();
  EXPECT_EQ(timer_->wait(start + 9ms).error(), ErrorCode::TimedOut);
  EXPECT_EQ(now(), start + 9ms);
  EXPECT_EQ(timer_->wait(start).error(), ErrorCode::TimedOut);
  EXPECT_EQ(timer_->wait(Clock::time_point::min()).error(), ErrorCode::TimedOut);
  EXPECT_EQ(now(), start + 9ms);
  EXPECT_TRUE(timer_->armed()) << "it goes on";
  EXPECT_TRUE(timer_->wait(start + 10ms));
}

TEST_F(TimerTest, DeadlineThatHasPassedStillReports) {
  ASSERT_TRUE(timer_->arm_after(10ms));
  system_.time += 20ms;
  EXPECT_EQ(timer_->wait(now() - 20ms).value().late, 10ms);
}

TEST_F(TimerTest, PollNeverWaits) {
  ASSERT_TRUE(timer_->arm_after(10ms));
  EXPECT_EQ(timer_->poll().error(), ErrorCode::WouldBlock);
  system_.time += 10ms;
  EXPECT_EQ(timer_->poll().value().count, 1u);
  EXPECT_EQ(system_.waits, 0);
}

TEST_F(TimerTest, WakeWithoutExpirationGoesOnWaiting) {
  ASSERT_TRUE(timer_->arm_after(10ms));
  system_.latencies = {-1ms};  // the poll returns too early, as after a setting by someone else
  const Clock::time_point start = now();
  EXPECT_TRUE(timer_->wait(Timer::kForever));
  EXPECT_EQ(now(), start + 10ms);
  EXPECT_EQ(system_.waits, 2);
}

TEST_F(TimerTest, ClockThatRunsAheadIsNotNegativelyLate) {
  ASSERT_TRUE(timer_->arm_after(10ms));
  system_.time += 10ms;
  class EarlyReader final : public System {
   public:
    explicit EarlyReader(FakeSystem& inner) : inner_(&inner) {}
    Clock::time_point now() noexcept override { return inner_->now() - 1ms; }
    hal::Result<hal::UniqueFd> create_timerfd() noexcept override {
      return inner_->create_timerfd();
    }
    hal::Result<void> set_timerfd(int fd, const itimerspec& spec) noexcept override {
      return inner_->set_timerfd(fd, spec);
    }
    hal::Result<std::uint64_t> read_count(int fd) noexcept override {
      return inner_->read_count(fd);
    }
    hal::Result<bool> wait_readable(int fd, Clock::time_point deadline) noexcept override {
      return inner_->wait_readable(fd, deadline);
    }

   private:
    FakeSystem* inner_;
  } early(system_);
  auto timer = Timer::open(early, kTimerfdBackend, 0).value();
  ASSERT_TRUE(timer->arm_at(now()));
  EXPECT_EQ(timer->poll().value().late, 0ns);
  EXPECT_EQ(timer->statistics().lateness.max, 0ns);
}

TEST_F(TimerTest, ArmingAnewForgetsWhatExpired) {
  ASSERT_TRUE(timer_->arm_after(1ms, 1ms));
  system_.time += 50ms;
  const Clock::time_point start = now();
  ASSERT_TRUE(timer_->arm_after(5ms));
  EXPECT_EQ(timer_->poll().error(), ErrorCode::WouldBlock);
  EXPECT_EQ(timer_->wait(Timer::kForever).value().due, start + 5ms);
  EXPECT_EQ(timer_->statistics().expirations, 1u);
}

TEST_F(TimerTest, DisarmStops) {
  ASSERT_TRUE(timer_->disarm()) << "also when it was not armed";
  ASSERT_TRUE(timer_->arm_after(1ms, 1ms));
  system_.time += 5ms;
  ASSERT_TRUE(timer_->disarm());
  EXPECT_FALSE(timer_->armed());
  EXPECT_EQ(timer_->poll().error(), ErrorCode::InvalidArgument);
  ASSERT_TRUE(timer_->disarm());
  EXPECT_EQ(timer_->statistics().expirations, 0u);
}

TEST_F(TimerTest, AsksTheKernelForExactTimes) {
  ASSERT_TRUE(timer_->arm_at(Clock::time_point(3s + 999'999'999ns), 2s + 1ns));
  ASSERT_EQ(system_.settings.size(), 1u);
  const itimerspec spec = system_.settings.back();
  EXPECT_EQ(spec.it_value.tv_sec, 3);
  EXPECT_EQ(spec.it_value.tv_nsec, 999'999'999);
  EXPECT_EQ(spec.it_interval.tv_sec, 2);
  EXPECT_EQ(spec.it_interval.tv_nsec, 1);
  ASSERT_TRUE(timer_->disarm());
  EXPECT_EQ(system_.settings.back().it_value.tv_sec, 0);
  EXPECT_EQ(system_.settings.back().it_value.tv_nsec, 0);
}

TEST_F(TimerTest, RefusesTimesOutOfRange) {
  const Limits limits = timer_->limits();
  const nanoseconds longest = nanoseconds::max();
  for (const nanoseconds first : {0ns, -1ns, nanoseconds::min()}) {
    EXPECT_EQ(timer_->arm_at(Clock::time_point(first)).error(), ErrorCode::InvalidArgument);
  }
  for (const nanoseconds delay : {-1ns, nanoseconds::min(), longest, longest - 30min}) {
    EXPECT_EQ(timer_->arm_after(delay).error(), ErrorCode::InvalidArgument);
  }
  for (const nanoseconds period :
       {-1ns, nanoseconds::min(), 1ns, limits.min_period - 1ns, limits.max_period + 1ns, longest}) {
    EXPECT_EQ(timer_->arm_after(1ms, period).error(), ErrorCode::InvalidArgument);
    EXPECT_EQ(timer_->arm_at(now(), period).error(), ErrorCode::InvalidArgument);
  }
  EXPECT_TRUE(system_.settings.empty()) << "the kernel was not asked";
  EXPECT_FALSE(timer_->armed());
  EXPECT_TRUE(timer_->arm_after(longest - now().time_since_epoch(), limits.max_period));
  EXPECT_TRUE(timer_->arm_after(0ns, limits.min_period));
}

TEST_F(TimerTest, RefusalsLeaveTheScheduleAsItWas) {
  const Clock::time_point start = now();
  ASSERT_TRUE(timer_->arm_after(10ms, 10ms));
  EXPECT_FALSE(timer_->arm_after(-1ns));
  system_.set_errors = {EINVAL};
  const auto refused = timer_->arm_after(3ms);
  EXPECT_EQ(refused.error(), ErrorCode::System);
  EXPECT_EQ(refused.error().system_errno(), EINVAL);
  system_.set_errors = {EINVAL};
  EXPECT_EQ(timer_->disarm().error(), ErrorCode::System);
  EXPECT_TRUE(timer_->armed());
  EXPECT_EQ(timer_->wait(Timer::kForever).value().due, start + 10ms);
}

TEST_F(TimerTest, KernelErrorsArePassedOn) {
  system_.create_errors = {EMFILE};
  EXPECT_EQ(Timer::open(system_, kTimerfdBackend, 0).error(), ErrorCode::CapacityExceeded);
  ASSERT_TRUE(timer_->arm_after(1ms));
  system_.read_errors = {EIO};
  EXPECT_EQ(timer_->wait(Timer::kForever).error().system_errno(), EIO);
  system_.wait_errors = {ENOMEM};
  EXPECT_EQ(timer_->wait(Timer::kForever).error().system_errno(), ENOMEM);
  EXPECT_TRUE(timer_->wait(Timer::kForever)) << "and it can go on";
  EXPECT_EQ(timer_->statistics().expirations, 1u);
}

TEST_F(TimerTest, StatisticsDescribeTheLateness) {
  ASSERT_TRUE(timer_->arm_after(1ms, 1ms));
  for (int i = 1; i <= 100; ++i) {
    system_.latencies = {nanoseconds(i * 100)};
    ASSERT_TRUE(timer_->wait(Timer::kForever));
  }
  const LatenessSummary lateness = timer_->statistics().lateness;
  EXPECT_EQ(lateness.samples, 100u);
  EXPECT_EQ(lateness.min, 100ns);
  EXPECT_EQ(lateness.max, 10us);
  EXPECT_EQ(lateness.mean, 5050ns);
  EXPECT_GE(lateness.p50, 5000ns);
  EXPECT_LE(lateness.p50, 5000ns + 5000ns / 32);
  EXPECT_GE(lateness.p99, 9900ns);
  EXPECT_LE(lateness.p99, 10us);
  ASSERT_TRUE(timer_->arm_after(1ms)) << "arming keeps the statistics";
  EXPECT_EQ(timer_->statistics().lateness.samples, 100u);
  timer_->reset_statistics();
  EXPECT_EQ(timer_->statistics().expirations, 0u);
  EXPECT_EQ(timer_->statistics().lateness.samples, 0u);
  EXPECT_EQ(timer_->statistics().lateness.max, 0ns);
}

// A backend is free to have less; and to talk nonsense.
TEST_F(TimerTest, BackendsLimitsAndCountsAreNotTrusted) {
  static Limits limits;
  static std::uint64_t count;
  Backend odd = kTimerfdBackend;
  odd.limits = [](const Device&) { return limits; };
  odd.read = [](System&, Device&) -> hal::Result<std::uint64_t> { return count; };
  auto timer = Timer::open(system_, odd, 0).value();
  limits = {.min_period = 1ms, .max_period = 1h, .one_shot = false, .periodic = true};
  EXPECT_EQ(timer->arm_after(1ms).error(), ErrorCode::Unsupported);
  EXPECT_TRUE(timer->arm_after(1ms, 1ms));
  limits = {.min_period = 1ms, .max_period = 1h, .one_shot = true, .periodic = false};
  EXPECT_EQ(timer->arm_after(1ms, 1ms).error(), ErrorCode::Unsupported);

  limits = kTimerfdBackend.limits(Device(hal::UniqueFd()));
  ASSERT_TRUE(timer->arm_after(0ns, 1h));
  count = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(timer->poll().value().count, count);
  EXPECT_EQ(timer->poll().value().late, 0ns) << "the next one is at the end of the clock";
}

}  // namespace
}  // namespace drivers::timer::test
