// SPDX-License-Identifier: Apache-2.0
//
// Any of several on a ring: Ring::acquire_any(), called back and awaited.
#include <hal/ring.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <hal/selection.hpp>
#include <hal/task.hpp>

#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

class RingAnyTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    ring_ = Ring::create({.async_path = GetParam()}).value();
    for (const char* name : {"a/0", "a/1", "a/2"}) {
      handles_.push_back(add(name, {.class_name = "any"}));
    }
    selection_.emplace(manager_->select({.class_name = "any"}).value());
    task_.emplace(manager_->create_context().value());
  }
  [[nodiscard]] AcquireOptions wanted(AcquisitionMode mode = AcquisitionMode::Blocking) {
    return {.mode = mode, .timeout = hours(1), .context = &*task_};
  }
  Ring::Token begin(const AcquireOptions& options) {
    auto token =
        ring_->acquire_any(*manager_, *selection_, options,
                           [this](Result<ScopedResource> hold) { outcome_ = std::move(hold); });
    EXPECT_TRUE(token);
    return token.value_or(Ring::Token());
  }
  void run_until_told() {
    while (!outcome_) ASSERT_TRUE(ring_->poll(hours(1)));
  }
  void hold_all() {
    for (const Handle handle : handles_) holds_.push_back(manager_->try_acquire(handle).value());
  }
  [[nodiscard]] std::uint32_t waiting(Handle handle) {
    return manager_->get_resource_stats(handle)->waiting;
  }

  std::unique_ptr<Ring> ring_;
  std::vector<Handle> handles_;
  std::vector<ScopedResource> holds_;
  std::optional<Selection> selection_;
  std::optional<Context> task_;
  std::optional<Result<ScopedResource>> outcome_;
};

TEST_P(RingAnyTest, WhatIsFreeIsCalledBack) {
  begin(wanted());
  run_until_told();
  ASSERT_TRUE(*outcome_);
  EXPECT_EQ((*outcome_)->handle(), handles_[0]);
}

TEST_P(RingAnyTest, TheFirstThatComesIsHad) {
  for (const AcquisitionMode mode : {AcquisitionMode::Blocking, AcquisitionMode::Timeout}) {
    hold_all();
    begin(wanted(mode));
    ASSERT_TRUE(ring_->poll());
    ASSERT_FALSE(outcome_);
    for (const Handle handle : handles_) EXPECT_EQ(waiting(handle), 1u);
    holds_.erase(holds_.begin() + 1);
    run_until_told();
    ASSERT_TRUE(*outcome_) << outcome_->error().message();
    EXPECT_EQ((*outcome_)->handle(), handles_[1]);
    for (const Handle handle : handles_) EXPECT_EQ(waiting(handle), 0u);
    outcome_.reset();
    holds_.clear();
  }
}

TEST_P(RingAnyTest, CancelledItHasNothing) {
  hold_all();
  const Ring::Token token = begin(wanted());
  ASSERT_TRUE(ring_->poll());
  EXPECT_TRUE(ring_->cancel(token));
  run_until_told();
  EXPECT_EQ(code_of(*outcome_), ErrorCode::Cancelled);
  for (const Handle handle : handles_) EXPECT_EQ(waiting(handle), 0u);
}

TEST_P(RingAnyTest, TimesOut) {
  hold_all();
  begin({.mode = AcquisitionMode::Timeout, .timeout = milliseconds(1), .context = &*task_});
  run_until_told();
  EXPECT_EQ(code_of(*outcome_), ErrorCode::TimedOut);
}

TEST_P(RingAnyTest, TellsWhatIsWrong) {
  Selection none = manager_->select({.class_name = "nothing"}).value();
  ASSERT_TRUE(ring_->acquire_any(*manager_, none, wanted(), [this](Result<ScopedResource> hold) {
    outcome_ = std::move(hold);
  }));
  run_until_told();
  EXPECT_EQ(code_of(*outcome_), ErrorCode::NotFound);
  EXPECT_EQ(code_of(ring_->acquire_any(*manager_, *selection_, wanted(), nullptr)),
            ErrorCode::InvalidArgument);
}

Task<> take_any(Ring& ring, ResourceManager& manager, Selection& any, AcquireOptions options,
                Handle& had) {
  auto hold = co_await ring.acquire_any(manager, any, options);
  EXPECT_TRUE(hold);
  if (hold) had = hold->handle();
}

TEST_P(RingAnyTest, CoroutinesAwaitIt) {
  hold_all();
  Handle had;
  auto task = take_any(*ring_, *manager_, *selection_, wanted(), had);
  task.start();
  ASSERT_TRUE(ring_->poll());
  holds_.pop_back();
  while (had.is_null()) ASSERT_TRUE(ring_->poll(hours(1)));
  EXPECT_EQ(had, handles_[2]);
}

// Destroyed with its coroutine, it is in no queue.
TEST_P(RingAnyTest, DestroyedItGivesUp) {
  hold_all();
  {
    Handle had;
    auto task = take_any(*ring_, *manager_, *selection_, wanted(), had);
    task.start();
    ASSERT_TRUE(ring_->poll());
    EXPECT_EQ(waiting(handles_[0]), 1u);
  }
  for (const Handle handle : handles_) EXPECT_EQ(waiting(handle), 0u);
}

INSTANTIATE_TEST_SUITE_P(Paths, RingAnyTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
