// SPDX-License-Identifier: Apache-2.0
//
// Deadlines that have passed come in the next turn, so that the order of things needs no sleeping.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/event_loop.hpp"
#include "tests/daemon/event_loop_support.hpp"

namespace resmgr::daemon {
namespace {

using test::Alarm;
using test::backend_of;
using test::bell;
using test::LoopTest;
using test::Probe;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kMillisecond = 1'000'000;

class Timers : public LoopTest {};

TEST_P(Timers, ComeByDeadlineAndThenInTheOrderOfArming) {
  constexpr std::array<std::uint64_t, 5> kDeadlines{30, 10, 20, 10, 0};
  std::vector<std::size_t> order;
  std::array<Alarm, kDeadlines.size()> alarms;
  for (std::size_t i = 0; i < alarms.size(); ++i) {
    alarms[i].on_expiry = [&order, i] { order.push_back(i); };
    loop_->arm(alarms[i], kDeadlines[i]);
    EXPECT_TRUE(alarms[i].armed());
    EXPECT_EQ(alarms[i].deadline_ns(), kDeadlines[i]);
  }
  EXPECT_TRUE(turn());
  EXPECT_THAT(order, ElementsAre(4, 1, 3, 2, 0));
  EXPECT_FALSE(alarms[0].armed());
  EXPECT_FALSE(turn());
}

TEST_P(Timers, EndTheWaitButNotBeforeTheirTime) {
  const std::uint64_t deadline = Clock::now() + 5 * kMillisecond;
  Alarm alarm;
  loop_->arm(alarm, deadline);
  EXPECT_FALSE(turn());
  EXPECT_TRUE(turn_until(kNever));
  ASSERT_THAT(alarm.seen, SizeIs(1));
  EXPECT_GE(alarm.seen[0], deadline);
  EXPECT_LE(alarm.seen[0], Clock::now());
}

TEST_P(Timers, DoNotProlongATurn) {
  Alarm alarm;
  loop_->arm(alarm, kNever);
  const std::uint64_t deadline = Clock::now() + kMillisecond;
  EXPECT_FALSE(turn_until(deadline));
  EXPECT_GE(Clock::now(), deadline);
  EXPECT_TRUE(alarm.armed());
}

TEST_P(Timers, AreMovedByArmingAgain) {
  Alarm sooner;
  loop_->arm(sooner, kNever);
  loop_->arm(sooner, 0);
  Alarm later;
  loop_->arm(later, 0);
  loop_->arm(later, kNever);
  EXPECT_TRUE(turn());
  EXPECT_THAT(sooner.seen, SizeIs(1));
  EXPECT_THAT(later.seen, IsEmpty());
  EXPECT_FALSE(turn());
}

TEST_P(Timers, CanBeArmedByAnotherLoop) {
  const auto other = EventLoop::create(GetParam()).value();
  Alarm alarm;
  other->arm(alarm, 0);
  loop_->arm(alarm, 0);
  EXPECT_EQ(other->run_once(0), false);
  EXPECT_TRUE(turn());
}

TEST_P(Timers, CanBeDisarmedByOneOfTheSameTurn) {
  Alarm last;
  auto gone = std::make_unique<Alarm>();
  Alarm first([&] {
    loop_->disarm(last);
    gone.reset();
  });
  loop_->arm(first, 1);
  loop_->arm(*gone, 2);
  loop_->arm(last, 3);
  EXPECT_TRUE(turn());
  EXPECT_FALSE(last.armed());
  EXPECT_THAT(last.seen, IsEmpty());
  EXPECT_FALSE(turn());
  loop_->disarm(last);
}

TEST_P(Timers, ThatAreArmedMeanwhileWaitForTheNextTurn) {
  Alarm other;
  Alarm again([&] {
    loop_->arm(again, 0);
    loop_->arm(other, 0);
  });
  loop_->arm(again, 0);
  EXPECT_TRUE(turn());
  EXPECT_THAT(again.seen, SizeIs(1));
  EXPECT_THAT(other.seen, IsEmpty());
  EXPECT_TRUE(turn());
  EXPECT_THAT(again.seen, SizeIs(2));
}

TEST_P(Timers, AndWatchersDoNotStarveEachOther) {
  constexpr std::size_t kTurns = 100;
  const UniqueFd file = bell(1);
  Probe probe;
  watch(probe, file.get(), POLLIN);
  Alarm alarm([&] { loop_->arm(alarm, 0); });
  loop_->arm(alarm, 0);
  for (std::size_t i = 0; i < kTurns; ++i) EXPECT_TRUE(turn());
  EXPECT_THAT(probe.seen, SizeIs(kTurns));
  EXPECT_THAT(alarm.seen, SizeIs(kTurns));
}

TEST_P(Timers, ThatThrowLeaveTheOthersForTheNextTurn) {
  std::array<Alarm, 2> alarms;
  for (Alarm& alarm : alarms) {
    alarm.on_expiry = [] { throw std::runtime_error("thrown by the test"); };
    loop_->arm(alarm, 0);
  }
  EXPECT_THROW((void)loop_->run_once(kNever), std::runtime_error);
  EXPECT_THROW((void)loop_->run_once(kNever), std::runtime_error);
  EXPECT_FALSE(turn());
  for (const Alarm& alarm : alarms) EXPECT_THAT(alarm.seen, SizeIs(1));
}

TEST_P(Timers, MayOutliveTheLoop) {
  Alarm alarm;
  loop_->arm(alarm, kNever);
  loop_.reset();
  EXPECT_FALSE(alarm.armed());
}

// Each time that a thread goes to sleep is a voluntary switch. The thread is a new one, for the
// kernel also wakes a thread to clean up after rings that it had.
TEST_P(Timers, AreNoReasonToWakeBeforeTheirTime) {
  std::thread([] {
    const auto loop = EventLoop::create(GetParam()).value();
    const UniqueFd file = bell();
    Probe probe;
    ASSERT_TRUE(loop->watch(probe, file.get(), POLLIN));
    ASSERT_EQ(loop->run_once(0), false);
    Alarm alarm;
    loop->arm(alarm, Clock::now() + 100 * kMillisecond);
    rusage before{};
    ASSERT_EQ(::getrusage(RUSAGE_THREAD, &before), 0);
    EXPECT_EQ(loop->run_once(kNever), true);
    rusage after{};
    ASSERT_EQ(::getrusage(RUSAGE_THREAD, &after), 0);
    // One, and some for memory that had to be waited for.
    EXPECT_LE(after.ru_nvcsw - before.ru_nvcsw, 10);
  }).join();
}

INSTANTIATE_TEST_SUITE_P(Backends, Timers,
                         testing::Values(EventLoop::Backend::Uring, EventLoop::Backend::Poll),
                         backend_of);

}  // namespace
}  // namespace resmgr::daemon
