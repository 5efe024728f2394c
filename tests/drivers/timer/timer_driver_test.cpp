// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/timer_driver.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <hal/resource_manager.hpp>

#include "tests/drivers/timer/fake_system.hpp"
#include "tests/drivers/twin.hpp"

namespace drivers::timer::test {
namespace {

using namespace std::chrono_literals;
using hal::ErrorCode;
using hal::HoldKind;

std::unique_ptr<hal::ResourceManager> make_manager() {
  return hal::ResourceManager::create({.name = "timer-test"}).value();
}

class TimerDriverTest : public testing::Test {
 protected:
  std::unique_ptr<TimerDriver> make(std::uint32_t channels = 3) {
    return TimerDriver::create(*manager_, {.channels = channels, .system = &system_}).value();
  }
  hal::ScopedResource hold(const std::string& name, HoldKind kind = HoldKind::Exclusive) {
    return manager_->acquire_scoped_resource(manager_->find(name).value(), {.kind = kind}).value();
  }

  FakeSystem system_;
  std::unique_ptr<hal::ResourceManager> manager_ = make_manager();
};

TEST_F(TimerDriverTest, RegistersItsChannels) {
  const auto driver = make();
  EXPECT_EQ(manager_->size(), 3u);
  for (std::uint32_t n = 0; n < 3; ++n) {
    const auto handle = manager_->find("timer0/channel/" + std::to_string(n)).value();
    EXPECT_EQ(handle, driver->handles()[n]);
    const hal::ResourceInfo info = manager_->info(handle).value();
    EXPECT_EQ(info.metadata.type, hal::ResourceType::Platform);
    EXPECT_EQ(info.metadata.class_name, "timer");
    EXPECT_EQ(info.owner, driver->id());
    EXPECT_EQ(info.owner_name, "timer-timerfd");
    EXPECT_EQ(info.cookie, n);
    EXPECT_TRUE(info.has_fd);
  }
  EXPECT_EQ(driver->backend().name, "timerfd");
}

TEST_F(TimerDriverTest, GivesATimerToWhoHoldsItExclusively) {
  const auto driver = make();
  const auto held = hold("timer0/channel/1");
  Timer* timer = driver->open(held).value();
  ASSERT_TRUE(timer->arm_after(5ms));
  EXPECT_EQ(timer->wait(Timer::kForever).value().count, 1u);
  const auto other = hold("timer0/channel/2");
  EXPECT_NE(driver->open(other).value(), timer);
}

TEST_F(TimerDriverTest, RefusesWhoDoesNotHoldIt) {
  const auto driver = make();
  EXPECT_EQ(driver->open({}).error(), ErrorCode::InvalidArgument);
  const auto shared = hold("timer0/channel/0", HoldKind::Shared);
  EXPECT_EQ(driver->open(shared).error(), ErrorCode::NotPermitted);
  ASSERT_TRUE(manager_->register_resource("else", {}));
  const auto other = hold("else");
  EXPECT_EQ(driver->open(other).error(), ErrorCode::NotFound);
  auto released = hold("timer0/channel/1");
  ASSERT_TRUE(released.release());
  EXPECT_EQ(driver->open(released).error(), ErrorCode::InvalidArgument);
}

// Handles are numbers: those of another manager can be the same.
TEST_F(TimerDriverTest, RefusesHoldsOfAnotherManager) {
  const auto here = hal::ResourceManager::create({.compact_handles = true}).value();
  const auto elsewhere = hal::ResourceManager::create({.compact_handles = true}).value();
  const auto driver = TimerDriver::create(*here, {.channels = 1, .system = &system_}).value();
  const hal::Handle twin = drivers::test::register_twin(*elsewhere, driver->handles()[0]);
  ASSERT_EQ(twin, driver->handles()[0]);
  const auto foreign = elsewhere->try_acquire(twin).value();
  EXPECT_EQ(driver->open(foreign).error(), ErrorCode::NotPermitted);
  EXPECT_TRUE(driver->open(here->try_acquire(twin).value()));
}

TEST_F(TimerDriverTest, HandsTimersOverClean) {
  const auto driver = make(1);
  {
    const auto held = hold("timer0/channel/0");
    Timer* timer = driver->open(held).value();
    ASSERT_TRUE(timer->arm_after(1ms, 1ms));
    ASSERT_TRUE(timer->wait(Timer::kForever));
    system_.time += 10ms;
  }
  const auto held = hold("timer0/channel/0");
  Timer* timer = driver->open(held).value();
  EXPECT_FALSE(timer->armed());
  EXPECT_EQ(timer->statistics().expirations, 0u);
  EXPECT_EQ(timer->poll().error(), ErrorCode::InvalidArgument);
  ASSERT_TRUE(timer->arm_after(5ms));
  EXPECT_EQ(timer->poll().error(), ErrorCode::WouldBlock) << "nothing is left of the last holder";
}

TEST_F(TimerDriverTest, HandOverThatFailsIsAnError) {
  const auto driver = make(1);
  const auto held = hold("timer0/channel/0");
  system_.set_errors = {EIO};
  EXPECT_EQ(driver->open(held).error(), ErrorCode::System);
}

TEST_F(TimerDriverTest, UnregistersAtItsEnd) {
  {
    const auto driver = make();
    EXPECT_TRUE(driver->close());
    EXPECT_EQ(manager_->size(), 0u);
    EXPECT_TRUE(driver->close());
    const hal::ScopedResource none;
    EXPECT_EQ(driver->open(none).error(), ErrorCode::Disconnected);
    const auto second = make();
    EXPECT_EQ(manager_->size(), 3u);
  }
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(TimerDriverTest, CloseWaitsForNobody) {
  const auto driver = make();
  hal::Context task = manager_->create_context().value();
  {
    const auto held =
        manager_->acquire_scoped_resource(driver->handles()[1], {.context = &task}).value();
    EXPECT_EQ(driver->close().error(), ErrorCode::InUse);
    EXPECT_EQ(manager_->size(), 2u);
    EXPECT_TRUE(driver->open(held)) << "who holds one goes on";
  }
  EXPECT_TRUE(driver->close());
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(TimerDriverTest, EndsAfterItsManagerWasClosed) {
  const auto driver = make();
  manager_->close();
  EXPECT_TRUE(driver->close());
}

TEST_F(TimerDriverTest, RefusesOptionsOutOfRange) {
  const auto refused = [this](TimerDriverOptions options) {
    options.system = &system_;
    const auto driver = TimerDriver::create(*manager_, options);
    EXPECT_EQ(manager_->size(), 0u);
    return driver ? ErrorCode::System : driver.error().code();
  };
  EXPECT_EQ(refused({.channels = 0}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.channels = TimerDriver::kMaxChannels + 1}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.channels = ~0u}), ErrorCode::InvalidArgument);
  EXPECT_EQ(refused({.backend = "hourglass"}), ErrorCode::NotFound);
  EXPECT_EQ(refused({.name = "timer 0"}), ErrorCode::InvalidName);
  EXPECT_EQ(refused({.name = std::string(90, 'x')}), ErrorCode::InvalidName);
}

TEST_F(TimerDriverTest, LeavesNothingBehindWhenItFails) {
  ASSERT_TRUE(manager_->register_resource("timer0/channel/2", {}));
  EXPECT_EQ(TimerDriver::create(*manager_, {.system = &system_}).error(), ErrorCode::AlreadyExists);
  EXPECT_EQ(manager_->size(), 1u);
  // The first descriptor is the choice's, the second the probe's, the third channel 0.
  system_.create_errors = {0, 0, 0, EMFILE};
  EXPECT_EQ(TimerDriver::create(*manager_, {.name = "t", .system = &system_}).error(),
            ErrorCode::CapacityExceeded);
  EXPECT_EQ(manager_->size(), 1u);
  system_.create_errors = {ENOSYS};
  EXPECT_EQ(TimerDriver::create(*manager_, {.name = "t", .system = &system_}).error(),
            ErrorCode::Unsupported);
  manager_->close();
  EXPECT_EQ(TimerDriver::create(*manager_, {.system = &system_}).error(), ErrorCode::Disconnected);
}

TEST(TimerBackends, AreListedOnceAndComplete) {
  ASSERT_FALSE(backends().empty());
  for (const Backend* backend : backends()) {
    EXPECT_EQ(choose_backend(System::kernel(), backend->name).value(), backend);
    EXPECT_TRUE(backend->probe && backend->open && backend->limits && backend->arm &&
                backend->disarm && backend->read);
  }
}

// ---- the running kernel: order and counts, never how soon -----------------------------------

class KernelTimerTest : public testing::Test {
 protected:
  std::unique_ptr<hal::ResourceManager> manager_ = make_manager();
  std::unique_ptr<TimerDriver> driver_ = TimerDriver::create(*manager_).value();
  hal::ScopedResource held_ = manager_->try_acquire(driver_->handles()[0]).value();
  Timer* timer_ = driver_->open(held_).value();
};

TEST_F(KernelTimerTest, OneShotDoesNotExpireEarly) {
  const auto start = Timer::Clock::now();
  ASSERT_TRUE(timer_->arm_after(2ms));
  const Expirations expired = timer_->wait(start + 30s).value();
  EXPECT_GE(Timer::Clock::now(), start + 2ms);
  EXPECT_EQ(expired.count, 1u);
  EXPECT_GE(expired.due, start + 2ms);
}

TEST_F(KernelTimerTest, PeriodicCountsAddUp) {
  const auto first = Timer::Clock::now() + 1ms;
  ASSERT_TRUE(timer_->arm_at(first, 1ms));
  std::uint64_t seen = 0;
  while (seen < 20) {
    const Expirations expired = timer_->wait(first + 30s).value();
    ASSERT_GE(expired.count, 1u);
    EXPECT_EQ(expired.due, first + std::chrono::milliseconds(seen));
    seen += expired.count;
    EXPECT_GE(Timer::Clock::now(), first + std::chrono::milliseconds(seen - 1));
  }
  const TimerStatistics statistics = timer_->statistics();
  EXPECT_EQ(statistics.expirations, seen);
  EXPECT_EQ(statistics.overruns, seen - statistics.lateness.samples);
}

TEST_F(KernelTimerTest, WhatHasPassedExpiresAtOnce) {
  const auto now = Timer::Clock::now();
  ASSERT_TRUE(timer_->arm_at(now - 10ms, 1h));
  EXPECT_EQ(timer_->poll().value().count, 1u);
  EXPECT_EQ(timer_->poll().error(), ErrorCode::WouldBlock);
  ASSERT_TRUE(timer_->arm_at(now - 35ms, 10ms));
  EXPECT_GE(timer_->poll().value().count, 4u);
}

TEST_F(KernelTimerTest, TheResourcesFileIsTheTimer) {
  const hal::UniqueFd file = manager_->fd(held_.handle()).value();
  pollfd entries[]{{.fd = file.get(), .events = POLLIN, .revents = 0},
                   {.fd = timer_->fd(), .events = POLLIN, .revents = 0}};
  EXPECT_EQ(::poll(entries, 2, 0), 0);
  ASSERT_TRUE(timer_->arm_after(0ns));
  EXPECT_EQ(::poll(entries, 2, 30'000), 2);
  ASSERT_TRUE(timer_->poll());
  EXPECT_EQ(::poll(entries, 2, 0), 0);
}

TEST_F(KernelTimerTest, DeadlinesEnd) {
  ASSERT_TRUE(timer_->arm_after(1h));
  const auto deadline = Timer::Clock::now() + 1ms;
  EXPECT_EQ(timer_->wait(deadline).error(), ErrorCode::TimedOut);
  EXPECT_GE(Timer::Clock::now(), deadline);
  EXPECT_EQ(timer_->wait(Timer::Clock::time_point::min()).error(), ErrorCode::TimedOut);
  EXPECT_EQ(timer_->wait({}).error(), ErrorCode::TimedOut);
  ASSERT_TRUE(timer_->disarm());
  EXPECT_EQ(timer_->wait(Timer::kForever).error(), ErrorCode::InvalidArgument);
}

TEST_F(KernelTimerTest, TakesTheExtremesOfItsLimits) {
  const Limits limits = timer_->limits();
  EXPECT_TRUE(timer_->arm_at(Timer::Clock::time_point::max(), limits.max_period));
  EXPECT_EQ(timer_->poll().error(), ErrorCode::WouldBlock);
  EXPECT_TRUE(timer_->arm_at(Timer::Clock::time_point(1ns), limits.min_period));
  EXPECT_GT(timer_->poll().value().count, 1u);
}

}  // namespace
}  // namespace drivers::timer::test
