// SPDX-License-Identifier: Apache-2.0
//
// A loop is not blocked for what one of its own tasks holds: hal/executor.hpp, and rings.
#include <hal/executor.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <hal/async_acquire.hpp>
#include <hal/ring.hpp>
#include <hal/task.hpp>

#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::milliseconds;

constexpr AcquireOptions kBlocking{.mode = AcquisitionMode::Blocking};

class ExecutorTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    ring_ = Ring::create({.async_path = GetParam()}).value();
    resource_ = add("dma0/channel/0");
    task_.emplace(manager_->create_context().value());
  }
  [[nodiscard]] AcquireOptions as_task() {
    return {.mode = AcquisitionMode::Blocking, .context = &*task_};
  }

  std::unique_ptr<Ring> ring_;
  Handle resource_;
  std::optional<Context> task_;
};

Task<> hold_until_resumed(Ring& ring, ResourceManager& manager, Handle handle,
                          AcquireOptions options, Handle next) {
  auto hold = co_await ring.acquire(manager, handle, options);
  EXPECT_TRUE(hold);
  auto second = co_await ring.acquire(manager, next, options);
  EXPECT_TRUE(second);
}

// The task goes on when `next` is free, which takes the ring.
TEST_P(ExecutorTest, ACallbackIsRefusedWhatATaskOfTheRingHolds) {
  const Handle next = add("timer0/channel/0");
  auto busy = manager_->try_acquire(next).value();
  auto task = hold_until_resumed(*ring_, *manager_, resource_, as_task(), next);
  task.start();
  std::optional<Result<ScopedResource>> refused;
  ASSERT_TRUE(ring_->post([&] {
    refused = manager_->acquire_scoped_resource(resource_, kBlocking);
    ring_->stop();
  }));
  ASSERT_TRUE(ring_->run());
  ASSERT_TRUE(refused);
  ASSERT_FALSE(*refused);
  EXPECT_EQ(refused->error(), ErrorCode::Deadlock);
  EXPECT_EQ(refused->error().blame().context, task_->id());
  ASSERT_TRUE(busy.release());
  ASSERT_TRUE(ring_->run());
  EXPECT_TRUE(manager_->try_acquire(resource_)) << "the task went on";
}

TEST_P(ExecutorTest, InALoopOfTheAuthorsOwnTheScopeSaysSo) {
  AsyncAcquire wait(*manager_, resource_, as_task());
  ASSERT_TRUE(wait.done());
  const auto hold = wait.take();
  ASSERT_TRUE(hold);
  {
    const ExecutorScope inside;
    EXPECT_TRUE(ExecutorScope::inside());
    EXPECT_EQ(manager_->acquire_scoped_resource(resource_, kBlocking).error(), ErrorCode::Deadlock);
  }
  EXPECT_FALSE(ExecutorScope::inside());
  const AcquireOptions soon{.mode = AcquisitionMode::Timeout, .timeout = milliseconds(1)};
  EXPECT_EQ(manager_->acquire_scoped_resource(resource_, soon).error(), ErrorCode::TimedOut)
      << "outside of it nobody knows";
}

TEST_P(ExecutorTest, WhatATaskAcquiredWithoutWaitingCountsToo) {
  const ExecutorScope inside;
  const auto hold = manager_->acquire_scoped_resource(resource_, as_task());
  ASSERT_TRUE(hold);
  EXPECT_EQ(manager_->acquire_scoped_resource(resource_, kBlocking).error(), ErrorCode::Deadlock);
}

TEST_P(ExecutorTest, AContextThatAcquiresOutsideIsATaskNoMore) {
  {
    const ExecutorScope inside;
    ASSERT_TRUE(manager_->acquire_scoped_resource(resource_, as_task()));
  }
  const auto hold = manager_->acquire_scoped_resource(resource_, as_task());
  ASSERT_TRUE(hold);
  const ExecutorScope inside;
  const AcquireOptions soon{.mode = AcquisitionMode::Timeout, .timeout = milliseconds(1)};
  EXPECT_EQ(manager_->acquire_scoped_resource(resource_, soon).error(), ErrorCode::TimedOut);
}

TEST_P(ExecutorTest, ABundleIsRefusedAsAWhole) {
  const Handle other = add("gpu0/frame/0");
  const ExecutorScope inside;
  const auto hold = manager_->acquire_scoped_resource(resource_, as_task());
  ASSERT_TRUE(hold);
  const std::array wanted{other, resource_};
  EXPECT_EQ(manager_->acquire_all(wanted, kBlocking).error(), ErrorCode::Deadlock);
  EXPECT_TRUE(manager_->try_acquire(other)) << "nothing is left held";
}

INSTANTIATE_TEST_SUITE_P(Paths, ExecutorTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
