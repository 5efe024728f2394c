// SPDX-License-Identifier: Apache-2.0
#include <hal/async_acquire.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "tests/base/seed.hpp"
#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using Step = AsyncAcquire::Step;

constexpr std::uint64_t kMine = 7;

class AsyncAcquireTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    ASSERT_TRUE(ring_.is_open());
    resource_ = add("dma0/channel/0");
    other_.emplace(manager_->create_context().value());
  }
  /// A request of the other context.
  [[nodiscard]] AcquireOptions wanted(AcquisitionMode mode = AcquisitionMode::Blocking) {
    return {.mode = mode, .timeout = hours(1), .context = &*other_};
  }
  [[nodiscard]] ScopedResource hold() {
    return manager_->acquire_scoped_resource(resource_).value();
  }
  [[nodiscard]] bool is_free() { return manager_->try_acquire(resource_).has_value(); }

  AuthorsRing ring_;
  Handle resource_;
  std::optional<Context> other_;
};

TEST_P(AsyncAcquireTest, WhatIsFreeIsHadAtOnce) {
  AsyncAcquire wait(*manager_, resource_);
  EXPECT_TRUE(wait.done());
  EXPECT_EQ(wait.submissions(), 0u);
  EXPECT_FALSE(wait.cancel());
  const auto hold = wait.take();
  ASSERT_TRUE(hold);
  EXPECT_FALSE(is_free());
  EXPECT_EQ(wait.take().error(), ErrorCode::InvalidArgument);
}

TEST_P(AsyncAcquireTest, NobodyWaitsWhoSaysSo) {
  const ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted(AcquisitionMode::NonBlocking));
  ASSERT_TRUE(wait.done());
  const auto refused = wait.take();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::WouldBlock);
  EXPECT_NE(refused.error().blame().context, 0u);
}

TEST_P(AsyncAcquireTest, ACompletionSaysThatItWasGranted) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  ASSERT_FALSE(wait.done());
  EXPECT_EQ(wait.take().error(), ErrorCode::WouldBlock);
  ASSERT_EQ(wait.submissions(), 1u);
  ASSERT_TRUE(ring_.arm(wait, kMine));
  EXPECT_EQ(wait.submissions(), 0u);
  ASSERT_TRUE(held.release());
  const io_uring_cqe seen = ring_.next();
  EXPECT_EQ(wait.complete(&seen), Step::Done);
  ScopedResource taken = wait.take().value();
  EXPECT_EQ(taken.kind(), HoldKind::Exclusive);
  EXPECT_FALSE(is_free());
  ASSERT_TRUE(taken.release());
  EXPECT_TRUE(is_free());
}

TEST_P(AsyncAcquireTest, WhatWasGrantedBeforeItWasArmedCompletesAtOnce) {
  for (const auto mode : {AcquisitionMode::Blocking, AcquisitionMode::Timeout}) {
    ScopedResource held = hold();
    AsyncAcquire wait(*manager_, resource_, wanted(mode));
    ASSERT_TRUE(held.release());
    ring_.finish(wait, kMine);
    EXPECT_TRUE(wait.take());
    EXPECT_FALSE(ring_.has_more());
  }
}

TEST_P(AsyncAcquireTest, ADeadlineIsASecondSubmission) {
  ScopedResource held = hold();
  AcquireOptions options = wanted(AcquisitionMode::Timeout);
  options.timeout = milliseconds(1);
  AsyncAcquire late(*manager_, resource_, options);
  ASSERT_EQ(late.submissions(), 2u);
  ring_.finish(late, kMine);
  EXPECT_EQ(late.take().error(), ErrorCode::TimedOut);

  AsyncAcquire in_time(*manager_, resource_, wanted(AcquisitionMode::Timeout));
  ASSERT_TRUE(ring_.arm(in_time, kMine));
  ASSERT_TRUE(held.release());
  const io_uring_cqe first = ring_.next();
  EXPECT_EQ(in_time.complete(&first), Step::More);
  const io_uring_cqe second = ring_.next();
  EXPECT_EQ(in_time.complete(&second), Step::Done);
  EXPECT_TRUE(in_time.take());
}

TEST_P(AsyncAcquireTest, SubmissionsThatAreNotThereAreRefused) {
  const ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted(AcquisitionMode::Timeout));
  io_uring_sqe entry{};
  entry.user_data = 99;
  std::array<io_uring_sqe*, 2> one_is_null{&entry, nullptr};
  EXPECT_EQ(wait.prepare({}, kMine).error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(wait.prepare({one_is_null.data(), 1}, kMine).error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(wait.prepare(one_is_null, kMine).error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(entry.user_data, 99u);
  ASSERT_TRUE(ring_.arm(wait, kMine));
  EXPECT_EQ(wait.prepare(one_is_null, kMine).error(), ErrorCode::InvalidArgument);
}

TEST_P(AsyncAcquireTest, OthersCompletionsAreNotItsOwn) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  io_uring_cqe completion{};
  completion.user_data = kMine;
  EXPECT_EQ(wait.complete(&completion), Step::NotMine) << "nothing is in flight";
  ASSERT_TRUE(ring_.arm(wait, kMine));
  completion.user_data = kMine + 1;
  EXPECT_EQ(wait.complete(&completion), Step::NotMine);
  EXPECT_EQ(wait.complete(nullptr), Step::NotMine);
}

TEST_P(AsyncAcquireTest, WhoIsWokenForNothingWaitsOn) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  io_uring_cqe spurious{};
  spurious.user_data = kMine;
  EXPECT_EQ(wait.complete(&spurious), Step::Rearm);
  EXPECT_EQ(wait.submissions(), 1u);
  EXPECT_FALSE(wait.check());
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(wait.check());
  EXPECT_TRUE(wait.take());
}

TEST_P(AsyncAcquireTest, CancelledIsTheOnlyOutcome) {
  ScopedResource held = hold();
  for (const bool armed : {false, true}) {
    AsyncAcquire wait(*manager_, resource_, wanted());
    if (armed) {
      ASSERT_TRUE(ring_.arm(wait, kMine));
    }
    EXPECT_TRUE(wait.cancel());
    EXPECT_EQ(wait.done(), !armed);
    if (armed) ring_.finish(wait, kMine);
    EXPECT_EQ(wait.take().error(), ErrorCode::Cancelled);
  }
  EXPECT_EQ(manager_->get_resource_stats(resource_).value().waiting, 0u);
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(is_free());
}

TEST_P(AsyncAcquireTest, AGrantThatWasFasterThanCancellingIsHad) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  ASSERT_TRUE(held.release());
  EXPECT_FALSE(wait.cancel());
  ring_.finish(wait, kMine);
  EXPECT_TRUE(wait.take());
}

TEST_P(AsyncAcquireTest, DestroyingItPassesTheGrantOn) {
  for (const bool granted : {false, true}) {
    ScopedResource held = hold();
    {
      AsyncAcquire wait(*manager_, resource_, wanted());
      ASSERT_TRUE(ring_.arm(wait, kMine));
      if (granted) {
        ASSERT_TRUE(held.release());
      }
    }
    const io_uring_cqe left_over = ring_.next();
    EXPECT_EQ(left_over.user_data, kMine);
    if (!granted) {
      ASSERT_TRUE(held.release());
    }
    EXPECT_TRUE(is_free()) << granted;
  }
}

TEST_P(AsyncAcquireTest, AContextWaitsForAResourceOnce) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  AsyncAcquire again(*manager_, resource_, wanted());
  ASSERT_TRUE(again.done());
  EXPECT_EQ(again.take().error(), ErrorCode::Deadlock);
  auto blocking = wanted();
  EXPECT_EQ(manager_->acquire_scoped_resource(resource_, blocking).error(), ErrorCode::Deadlock);
  ASSERT_TRUE(held.release());
  ring_.finish(wait, kMine);
  EXPECT_TRUE(wait.take());
}

TEST_P(AsyncAcquireTest, ACycleIsRefusedWithAllItsMembers) {
  const Handle second = add("dma0/channel/1");
  Context third = manager_->create_context().value();
  auto mine = manager_->acquire_scoped_resource(resource_, wanted()).value();
  auto theirs = manager_->acquire_scoped_resource(second, {.context = &third}).value();
  AsyncAcquire wait(*manager_, second, wanted());
  ASSERT_FALSE(wait.done());
  AsyncAcquire closing(*manager_, resource_,
                       {.mode = AcquisitionMode::Blocking, .context = &third});
  ASSERT_TRUE(closing.done());
  const auto refused = closing.take();
  ASSERT_EQ(refused.error(), ErrorCode::Deadlock);
  EXPECT_EQ(refused.error().cycle().size(), 2u);
}

// Cycles that a wait closes which is not its context's first.
TEST_P(AsyncAcquireTest, EachOfManyWaitsIsCheckedForCycles) {
  constexpr std::size_t kWaits = 20;
  Context third = manager_->create_context().value();
  std::vector<Handle> handles;
  std::vector<ScopedResource> holds;
  for (std::size_t i = 0; i < kWaits; ++i) {
    handles.push_back(add("gpu0/frame/" + std::to_string(i)));
    holds.push_back(manager_->acquire_scoped_resource(handles.back(), {.context = &third}).value());
  }
  auto wanted_by_third = manager_->acquire_scoped_resource(resource_, wanted()).value();
  std::deque<AsyncAcquire> waits;
  for (std::size_t i = 0; i + 1 < kWaits; ++i) {
    waits.emplace_back(*manager_, handles[i], wanted());
    ASSERT_FALSE(waits.back().done());
  }
  // Third waits for the other context, which waits for third with all of these.
  AsyncAcquire closing(*manager_, resource_,
                       {.mode = AcquisitionMode::Blocking, .context = &third});
  ASSERT_TRUE(closing.done());
  EXPECT_EQ(closing.take().error(), ErrorCode::Deadlock);

  // And where the younger wait is that of the context with the many.
  waits.clear();
  AsyncAcquire first(*manager_, resource_, {.mode = AcquisitionMode::Blocking, .context = &third});
  ASSERT_FALSE(first.done());
  const Handle free = add("free");
  const auto elsewhere = manager_->acquire_scoped_resource(free).value();
  AsyncAcquire harmless(*manager_, free, wanted());
  ASSERT_FALSE(harmless.done());
  AsyncAcquire last(*manager_, handles.back(), wanted());
  ASSERT_TRUE(last.done());
  EXPECT_EQ(last.take().error(), ErrorCode::Deadlock);
}

// Who overtakes another in a queue has him wait for all that it waits for.
TEST_P(AsyncAcquireTest, ACycleByOvertakingIsFound) {
  const Handle second = add("second");
  Context third = manager_->create_context().value();
  const ScopedResource held = hold();  // by this thread
  const auto theirs = manager_->acquire_scoped_resource(second, {.context = &third}).value();
  AsyncAcquire low(*manager_, resource_, {.mode = AcquisitionMode::Blocking, .context = &third});
  ASSERT_FALSE(low.done());
  AsyncAcquire waits_for_third(*manager_, second, wanted());
  ASSERT_FALSE(waits_for_third.done());
  AcquireOptions overtaking = wanted();
  overtaking.has_priority = true;
  overtaking.priority = ResourcePriority::Critical;
  AsyncAcquire high(*manager_, resource_, overtaking);
  // third waits behind high for the resource, and the other context for what third has.
  const std::uint64_t deadlocks = manager_->stats().deadlocks;
  EXPECT_EQ(deadlocks, 1u);
  EXPECT_TRUE(low.check() || high.check() || waits_for_third.check());
}

TEST_P(AsyncAcquireTest, WaitsEndInAnyOrder) {
  std::mt19937_64 random(resmgr::test::seed());
  constexpr std::size_t kWaits = 200;
  std::vector<Handle> handles;
  std::vector<ScopedResource> holds;
  std::vector<std::unique_ptr<AsyncAcquire>> waits;
  for (std::size_t i = 0; i < kWaits; ++i) {
    handles.push_back(add("gpu0/frame/" + std::to_string(i)));
    holds.push_back(manager_->acquire_scoped_resource(handles.back()).value());
    AcquireOptions options = wanted();
    options.kind = i % 3 == 0 ? HoldKind::Shared : HoldKind::Exclusive;
    waits.push_back(std::make_unique<AsyncAcquire>(*manager_, handles.back(), options));
  }
  std::vector<std::size_t> order(kWaits);
  for (std::size_t i = 0; i < kWaits; ++i) order[i] = i;
  std::ranges::shuffle(order, random);
  for (std::size_t i = 0; i < kWaits; ++i) {
    const std::size_t at = order[i];
    if (i % 2 == 0) {
      ASSERT_TRUE(waits[at]->cancel());
      EXPECT_EQ(waits[at]->take().error(), ErrorCode::Cancelled);
    } else {
      ASSERT_TRUE(holds[at].release());
      ASSERT_TRUE(waits[at]->check());
      EXPECT_TRUE(waits[at]->take());
    }
    waits[at].reset();
  }
  holds.clear();
  for (const Handle handle : handles) {
    EXPECT_TRUE(manager_->try_acquire(handle)) << "nothing is left behind";
  }
}

TEST_P(AsyncAcquireTest, ClosingTheContextEndsItsWaits) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  other_.reset();
  const io_uring_cqe seen = ring_.next();
  EXPECT_EQ(wait.complete(&seen), Step::Done);
  EXPECT_EQ(wait.take().error(), ErrorCode::Cancelled);
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(is_free());
}

TEST_P(AsyncAcquireTest, ClosingTheManagerEndsAllWaits) {
  const ScopedResource held = hold();
  AsyncAcquire armed(*manager_, resource_, wanted());
  ASSERT_TRUE(ring_.arm(armed, kMine));
  Context third = manager_->create_context().value();
  AsyncAcquire not_armed(*manager_, resource_,
                         {.mode = AcquisitionMode::Blocking, .context = &third});
  manager_->close();
  const io_uring_cqe seen = ring_.next();
  EXPECT_EQ(armed.complete(&seen), Step::Done);
  EXPECT_EQ(armed.take().error(), ErrorCode::Disconnected);
  ring_.finish(not_armed, kMine);
  EXPECT_EQ(not_armed.take().error(), ErrorCode::Disconnected);
  AsyncAcquire later(*manager_, resource_, wanted());
  EXPECT_EQ(later.take().error(), ErrorCode::Disconnected);
}

TEST_P(AsyncAcquireTest, AResourceThatGoesEndsItsWaits) {
  ScopedResource held = hold();
  AsyncAcquire wait(*manager_, resource_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  ASSERT_TRUE(held.release());
  ring_.finish(wait, kMine);
  AsyncAcquire behind(*manager_, resource_, {.mode = AcquisitionMode::Blocking});
  ASSERT_TRUE(wait.take().value().release());
  ASSERT_TRUE(behind.check());
  ASSERT_TRUE(behind.take());
  ASSERT_TRUE(manager_->unregister_resource(resource_));
  AsyncAcquire stale(*manager_, resource_, wanted());
  EXPECT_EQ(stale.take().error(), ErrorCode::StaleHandle);
}

TEST_P(AsyncAcquireTest, OptionsOutOfRangeAreTheOutcome) {
  AcquireOptions options = wanted();
  options.mode = static_cast<AcquisitionMode>(9);
  AsyncAcquire wait(*manager_, resource_, options);
  EXPECT_EQ(wait.take().error(), ErrorCode::InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Paths, AsyncAcquireTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
