// SPDX-License-Identifier: Apache-2.0
//
// Several at once on a ring: Ring::acquire_all(), called back and awaited.
#include <hal/ring.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <hal/task.hpp>

#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using Holds = std::vector<ScopedResource>;

class RingAllTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    ring_ = Ring::create({.async_path = GetParam()}).value();
    x_ = add("x");
    y_ = add("y");
    ASSERT_LT(x_.slot(), y_.slot()) << "x is asked for first";
    task_.emplace(manager_->create_context().value());
  }
  [[nodiscard]] AcquireOptions wanted(AcquisitionMode mode = AcquisitionMode::Blocking) {
    return {.mode = mode, .timeout = hours(1), .context = &*task_};
  }
  Ring::Token begin(const AcquireOptions& options) {
    const std::array both{Wanted(x_), Wanted(y_, HoldKind::Shared)};
    auto token = ring_->acquire_all(*manager_, both, options,
                                    [this](Result<Holds> all) { outcome_ = std::move(all); });
    EXPECT_TRUE(token);
    return token.value_or(Ring::Token());
  }
  void run_until_told() {
    while (!outcome_) ASSERT_TRUE(ring_->poll(hours(1)));
  }
  [[nodiscard]] ScopedResource hold(Handle handle) { return manager_->try_acquire(handle).value(); }
  [[nodiscard]] bool is_free(Handle handle) { return manager_->try_acquire(handle).has_value(); }

  std::unique_ptr<Ring> ring_;
  Handle x_;
  Handle y_;
  std::optional<Context> task_;
  std::optional<Result<Holds>> outcome_;
};

TEST_P(RingAllTest, WhatIsFreeIsToldInTheNextPoll) {
  begin(wanted());
  EXPECT_FALSE(outcome_);
  run_until_told();
  ASSERT_TRUE(*outcome_);
  ASSERT_EQ((*outcome_)->size(), 2u);
  EXPECT_EQ((**outcome_)[0].kind(), HoldKind::Exclusive);
  EXPECT_EQ((**outcome_)[1].kind(), HoldKind::Shared);
  EXPECT_FALSE(is_free(x_));
  outcome_.reset();
  EXPECT_TRUE(is_free(x_));
  EXPECT_TRUE(is_free(y_));
}

TEST_P(RingAllTest, EachIsWaitedForInTurn) {
  auto first = hold(x_);
  auto second = hold(y_);
  begin(wanted(AcquisitionMode::Timeout));
  ASSERT_TRUE(ring_->poll());
  ASSERT_TRUE(first.release());
  while (manager_->get_resource_stats(y_)->waiting == 0) ASSERT_TRUE(ring_->poll(milliseconds(1)));
  EXPECT_FALSE(outcome_);
  EXPECT_FALSE(is_free(x_)) << "it is kept meanwhile";
  ASSERT_TRUE(second.release());
  run_until_told();
  EXPECT_TRUE(*outcome_);
}

// Who has y and asks for x, with more priority: the task on the ring lets go of x, and comes back.
TEST_P(RingAllTest, WhereWaitingIsADeadlockItLetsGo) {
  std::promise<void> has_y;
  std::promise<void> is_waited_for;
  std::jthread urgent([&] {
    const auto y = manager_->try_acquire(y_);
    has_y.set_value();
    is_waited_for.get_future().get();
    const AcquireOptions options{.mode = AcquisitionMode::Blocking,
                                 .has_priority = true,
                                 .priority = ResourcePriority::High};
    EXPECT_TRUE(manager_->acquire_scoped_resource(x_, options));
  });
  has_y.get_future().get();
  begin(wanted());
  ASSERT_TRUE(ring_->poll());
  EXPECT_EQ(manager_->get_resource_stats(y_)->waiting, 1u);
  is_waited_for.set_value();
  run_until_told();
  EXPECT_TRUE(*outcome_);
}

TEST_P(RingAllTest, CancelledItLeavesNothingHeld) {
  const auto held = hold(y_);
  const Ring::Token token = begin(wanted());
  ASSERT_TRUE(ring_->poll());
  EXPECT_FALSE(is_free(x_));
  EXPECT_TRUE(ring_->cancel(token));
  run_until_told();
  ASSERT_FALSE(*outcome_);
  EXPECT_EQ(outcome_->error(), ErrorCode::Cancelled);
  EXPECT_TRUE(is_free(x_));
  EXPECT_FALSE(ring_->cancel(token));
}

// The first was granted already, and nothing of the whole is.
TEST_P(RingAllTest, CancelledBetweenTwoItAsksForNoMore) {
  auto first = hold(x_);
  const auto second = hold(y_);
  const Ring::Token token = begin(wanted());
  ASSERT_TRUE(ring_->poll());
  ASSERT_TRUE(first.release());
  EXPECT_TRUE(ring_->cancel(token));
  run_until_told();
  ASSERT_FALSE(*outcome_);
  EXPECT_EQ(outcome_->error(), ErrorCode::Cancelled);
  EXPECT_TRUE(is_free(x_));
}

TEST_P(RingAllTest, WhatIsWrongIsTheOutcome) {
  const std::array twice{Wanted(x_), Wanted(x_)};
  const auto tell = [this](Result<Holds> all) { outcome_ = std::move(all); };
  ASSERT_TRUE(ring_->acquire_all(*manager_, twice, wanted(), tell));
  run_until_told();
  EXPECT_EQ(code_of(*outcome_), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(ring_->acquire_all(*manager_, twice, wanted(), Ring::AllCallback())),
            ErrorCode::InvalidArgument);
  const auto held = hold(y_);
  outcome_.reset();
  begin(wanted(AcquisitionMode::NonBlocking));
  run_until_told();
  EXPECT_EQ(code_of(*outcome_), ErrorCode::WouldBlock);
  EXPECT_TRUE(is_free(x_));
}

TEST_P(RingAllTest, AClosedContextEndsIt) {
  const auto held = hold(y_);
  begin(wanted());
  ASSERT_TRUE(ring_->poll());
  task_.reset();
  run_until_told();
  EXPECT_EQ(code_of(*outcome_), ErrorCode::Cancelled);
  EXPECT_TRUE(is_free(x_));
}

Task<std::size_t> count_held(Ring& ring, ResourceManager& manager, Handle x, Handle y,
                             AcquireOptions options) {
  const std::array both{Wanted(x), Wanted(y)};
  const auto all = co_await ring.acquire_all(manager, both, options);
  co_return all ? all->size() : 0;
}

TEST_P(RingAllTest, ACoroutineAwaitsIt) {
  EXPECT_EQ(run(*ring_, count_held(*ring_, *manager_, x_, y_, wanted())).value(), 2u);
  auto held = hold(y_);
  ASSERT_TRUE(ring_->post([&] { EXPECT_TRUE(held.release()); }));
  EXPECT_EQ(run(*ring_, count_held(*ring_, *manager_, x_, y_, wanted())).value(), 2u);
  EXPECT_TRUE(is_free(x_));
}

TEST_P(RingAllTest, ACoroutineThatIsDestroyedGivesItUp) {
  const auto held = hold(y_);
  {
    auto task = count_held(*ring_, *manager_, x_, y_, wanted());
    task.start();
    ASSERT_TRUE(ring_->poll());
    EXPECT_FALSE(is_free(x_));
  }
  EXPECT_TRUE(is_free(x_));
  EXPECT_EQ(ring_->pending(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Paths, RingAllTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
