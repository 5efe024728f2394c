// SPDX-License-Identifier: Apache-2.0
#include <hal/resource_manager.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using namespace std::chrono_literals;
using test::code_of;

class AcquireTest : public test::ManagerTest {
 protected:
  /// Waits until `count` requests are queued at the resource.
  void await_waiters(Handle handle, std::uint32_t count) {
    while (manager_->get_resource_stats(handle)->waiting != count) std::this_thread::yield();
  }
};

TEST_F(AcquireTest, HoldEndsWithItsScope) {
  const Handle handle = add("a");
  {
    auto hold = manager_->try_acquire(handle);
    ASSERT_TRUE(hold);
    EXPECT_EQ(hold->handle(), handle);
    EXPECT_EQ(hold->kind(), HoldKind::Exclusive);
    EXPECT_EQ(manager_->info(handle)->state, Lifecycle::Locked);
  }
  EXPECT_EQ(manager_->info(handle)->state, Lifecycle::Ready);
  EXPECT_TRUE(manager_->holds()->empty());
}

TEST_F(AcquireTest, SharedHoldsStandBesideEachOther) {
  const Handle handle = add("a");
  auto mine = manager_->try_acquire_shared(handle);
  ASSERT_TRUE(mine);
  std::thread other([&] {
    auto theirs = manager_->try_acquire_shared(handle);
    EXPECT_TRUE(theirs);
    EXPECT_EQ(manager_->get_resource_stats(handle)->holders.size(), 2u);
    EXPECT_EQ(code_of(manager_->try_acquire(handle)), ErrorCode::Deadlock);
  });
  other.join();
  EXPECT_EQ(manager_->info(handle)->state, Lifecycle::Active);
  EXPECT_EQ(manager_->get_resource_stats(handle)->shared_acquisitions, 2u);
}

TEST_F(AcquireTest, RefusalNamesTheHolder) {
  const Handle handle = add("gpu0/frame/3");
  const auto driver = manager_->register_driver("dma-edu");
  ASSERT_TRUE(manager_->set_thread_driver(*driver));
  auto hold = manager_->try_acquire(handle);
  ASSERT_TRUE(hold);
  std::thread other([&] {
    const auto refused = manager_->try_acquire(handle);
    ASSERT_EQ(code_of(refused), ErrorCode::WouldBlock);
    const Participant& who = refused.error().blame();
    EXPECT_STREQ(who.driver.data(), "dma-edu");
    EXPECT_STREQ(who.resource.data(), "gpu0/frame/3");
    EXPECT_EQ(who.pid, static_cast<std::uint32_t>(::getpid()));
    EXPECT_EQ(refused.error().blamed(), 1u);
    EXPECT_NE(refused.error().message().find("gpu0/frame/3 is held by dma-edu"), std::string::npos);
  });
  other.join();
}

TEST_F(AcquireTest, TimeoutEndsAndLeavesNothingBehind) {
  const Handle handle = add("a");
  auto hold = manager_->try_acquire(handle);
  std::thread other([&] {
    const auto late = manager_->acquire_scoped_resource(
        handle, AcquireOptions{.mode = AcquisitionMode::Timeout, .timeout = 2ms});
    EXPECT_EQ(code_of(late), ErrorCode::TimedOut);
    const auto over = manager_->acquire_scoped_resource(
        handle, AcquireOptions{.mode = AcquisitionMode::Timeout, .timeout = 0ms});
    EXPECT_EQ(code_of(over), ErrorCode::TimedOut);
  });
  other.join();
  EXPECT_EQ(manager_->get_resource_stats(handle)->waiting, 0u);
  EXPECT_TRUE(hold->release());
  EXPECT_TRUE(manager_->try_acquire(handle));
}

TEST_F(AcquireTest, PriorityThenArrivalDecideWhoIsNext) {
  const Handle handle = add("a");
  std::optional<ScopedResource> hold = *manager_->try_acquire(handle);
  std::vector<int> order;
  std::vector<std::thread> threads;
  const auto queue = [&](int number, AcquireOptions options) {
    threads.emplace_back([&, number, options] {
      auto mine = manager_->acquire_scoped_resource(handle, options);
      ASSERT_TRUE(mine) << mine.error().message();
      order.push_back(number);  // guarded by the hold
    });
    await_waiters(handle, static_cast<std::uint32_t>(threads.size()));
  };
  queue(1, {.mode = AcquisitionMode::Blocking});
  queue(2, {.mode = AcquisitionMode::Blocking});
  queue(3, {.mode = AcquisitionMode::Blocking,
            .has_priority = true,
            .priority = ResourcePriority::High});
  queue(4, {.mode = AcquisitionMode::Emergency, .timeout = 60s});
  queue(
      5,
      {.mode = AcquisitionMode::Blocking, .has_priority = true, .priority = ResourcePriority::Low});
  hold.reset();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{4, 3, 1, 2, 5}));
}

TEST_F(AcquireTest, DeadlockIsRefusedWithItsCycle) {
  const Handle a = add("a");
  const Handle b = add("b");
  std::atomic<int> holding{0};
  std::atomic<int> refused{0};
  const auto run = [&](Handle first, Handle second) {
    auto one = manager_->acquire_scoped_resource(first);
    ASSERT_TRUE(one);
    ++holding;
    while (holding != 2) std::this_thread::yield();
    auto two = manager_->acquire_scoped_resource(second);
    if (two) return;
    ++refused;
    EXPECT_EQ(two.error(), ErrorCode::Deadlock);
    ASSERT_EQ(two.error().cycle().size(), 2u);
    EXPECT_NE(two.error().cycle()[0].context, two.error().cycle()[1].context);
  };
  std::thread left(run, a, b);
  std::thread right(run, b, a);
  left.join();
  right.join();
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(manager_->stats().deadlocks, 1u);
}

TEST_F(AcquireTest, RefsMayBeReleasedFromAnotherThread) {
  const Handle handle = add("a");
  auto hold = manager_->try_acquire(handle);
  ASSERT_TRUE(hold);
  std::thread other([moved = std::move(*hold)]() mutable { moved = ScopedResource(); });
  other.join();
  EXPECT_TRUE(manager_->try_acquire(handle));

  auto shared = manager_->try_acquire_shared(handle);
  std::thread second([moved = std::move(*shared)]() mutable { EXPECT_TRUE(moved.release()); });
  second.join();
  EXPECT_TRUE(manager_->try_acquire(handle));
}

TEST_F(AcquireTest, DowngradeAndUpgradeKeepTheHold) {
  const Handle handle = add("a");
  auto hold = manager_->try_acquire(handle);
  EXPECT_EQ(code_of(hold->try_upgrade()), ErrorCode::InvalidArgument);
  ASSERT_TRUE(hold->downgrade());
  EXPECT_EQ(hold->kind(), HoldKind::Shared);
  EXPECT_EQ(code_of(hold->downgrade()), ErrorCode::InvalidArgument);
  std::thread other([&] {
    auto theirs = manager_->try_acquire_shared(handle);
    ASSERT_TRUE(theirs);
    EXPECT_EQ(code_of(theirs->try_upgrade()), ErrorCode::WouldBlock);
  });
  other.join();
  ASSERT_TRUE(hold->try_upgrade());
  EXPECT_EQ(hold->kind(), HoldKind::Exclusive);
  EXPECT_EQ(manager_->info(handle)->state, Lifecycle::Locked);
}

TEST_F(AcquireTest, ThreadThatEndsLeavesNoHold) {
  const Handle handle = add("camera/0");
  ScopedResource survivor;
  std::thread careless([&] { survivor = *manager_->try_acquire(handle); });
  careless.join();
  EXPECT_EQ(log_.count("leak: camera/0 was held exclusively"), 1u);
  EXPECT_EQ(log_.count("acquire_test.cpp:"), 1u);
  EXPECT_TRUE(manager_->try_acquire(handle));
  EXPECT_EQ(code_of(survivor.release()), ErrorCode::Disconnected);
}

TEST_F(AcquireTest, TasksHaveContextsOfTheirOwn) {
  const Handle handle = add("a");
  auto task = manager_->create_context();
  ASSERT_TRUE(task);
  EXPECT_NE(task->id(), 0u);
  auto mine = manager_->try_acquire_shared(handle);
  auto its = manager_->acquire_scoped_resource(
      handle, AcquireOptions{.kind = HoldKind::Shared, .context = &*task});
  ASSERT_TRUE(its) << its.error().message();
  EXPECT_EQ(manager_->get_resource_stats(handle)->holders.size(), 2u);
  EXPECT_TRUE(manager_->release_resource(handle, &*task));
  EXPECT_EQ(code_of(manager_->release_resource(handle, &*task)), ErrorCode::NotPermitted);

  auto other = ResourceManager::create();
  auto foreign = (*other)->create_context();
  EXPECT_EQ(
      code_of(manager_->acquire_scoped_resource(handle, AcquireOptions{.context = &*foreign})),
      ErrorCode::InvalidArgument);
}

TEST_F(AcquireTest, BundleIsAllOrNothing) {
  const Handle a = add("a");
  const Handle b = add("b");
  const Handle c = add("c");
  const std::array wanted{c, a, b};
  {
    auto all = manager_->acquire_all(wanted);
    ASSERT_TRUE(all);
    EXPECT_EQ(all->size(), 3u);
  }
  auto hold = manager_->try_acquire(b);
  std::thread other([&] {
    EXPECT_EQ(code_of(manager_->acquire_all(wanted)), ErrorCode::WouldBlock);
    EXPECT_TRUE(manager_->try_acquire(a));
    EXPECT_TRUE(manager_->try_acquire(c));
  });
  other.join();
  const std::array twice{a, a};
  EXPECT_EQ(code_of(manager_->acquire_all(twice)), ErrorCode::InvalidArgument);
}

// The order in which members were registered says nothing: bundles of the same classes never invert
// each other's order.
TEST_F(AcquireTest, BundlesOfTheSameClassesHaveOneOrder) {
  ASSERT_TRUE(manager_->set_order_policy(OrderPolicy::Refuse));
  const std::array<Handle, 2> one{add("buffer/1", {.class_name = "buffer"}),
                                  add("timer/1", {.class_name = "timer"})};
  const std::array<Handle, 2> two{add("timer/2", {.class_name = "timer"}),
                                  add("buffer/2", {.class_name = "buffer"})};
  for (const auto& bundle : {one, two}) {
    const auto held = manager_->acquire_all(bundle, {.mode = AcquisitionMode::Blocking});
    EXPECT_TRUE(held) << held.error().message();
  }
  EXPECT_EQ(manager_->stats().order_inversions, 0u);
}

TEST_F(AcquireTest, AggregateBringsWhatItNeeds) {
  const Handle frame = add("frame/0", {.flags = ResourceFlags::Aggregate});
  const Handle buffer = add("buffer/0");
  const Handle timer = add("timer/0");
  ASSERT_TRUE(manager_->add_dependency(frame, buffer));
  ASSERT_TRUE(manager_->add_dependency(frame, timer));
  auto all = manager_->acquire_aggregate(frame);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 3u);
  EXPECT_EQ(manager_->info(buffer)->state, Lifecycle::Locked);
  EXPECT_EQ(code_of(manager_->acquire_aggregate(buffer)), ErrorCode::InvalidArgument);
}

TEST_F(AcquireTest, OrderInversionIsReportedOrRefused) {
  const Handle a = add("a", {.class_name = "dma-channel"});
  const Handle b = add("b", {.class_name = "gpu-buffer"});
  {
    auto one = manager_->acquire_scoped_resource(a);
    auto two = manager_->acquire_scoped_resource(b);
  }
  const auto invert = [&] {
    auto one = manager_->acquire_scoped_resource(b);
    return code_of(manager_->acquire_scoped_resource(a));
  };
  ASSERT_TRUE(manager_->set_order_policy(OrderPolicy::Refuse));
  EXPECT_EQ(invert(), ErrorCode::OrderViolation);
  ASSERT_TRUE(manager_->set_order_policy(OrderPolicy::Warn));
  EXPECT_EQ(invert(), ErrorCode{});
  EXPECT_EQ(invert(), ErrorCode{});
  EXPECT_EQ(manager_->stats().order_inversions, 1u);
}

}  // namespace
}  // namespace hal
