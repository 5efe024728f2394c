// SPDX-License-Identifier: Apache-2.0
#include <hal/async_acquire_all.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/base/seed.hpp"
#include "tests/hal/async_support.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using Step = AsyncAcquireAll::Step;

constexpr std::uint64_t kMine = 7;

class AsyncAcquireAllTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    ASSERT_TRUE(ring_.is_open());
    x_ = add("x");
    y_ = add("y");
    ASSERT_LT(x_.slot(), y_.slot()) << "x is asked for first";
    both_ = {Wanted(x_), Wanted(y_, HoldKind::Shared)};
    other_.emplace(manager_->create_context().value());
  }
  /// A request of the other context.
  [[nodiscard]] AcquireOptions wanted(AcquisitionMode mode = AcquisitionMode::Blocking) {
    return {.mode = mode, .timeout = hours(1), .context = &*other_};
  }
  [[nodiscard]] ScopedResource hold(Handle handle) { return manager_->try_acquire(handle).value(); }
  [[nodiscard]] bool is_free(Handle handle) { return manager_->try_acquire(handle).has_value(); }
  [[nodiscard]] std::uint64_t waiting(Handle handle) {
    return manager_->get_resource_stats(handle).value().waiting;
  }
  /// Tells it the next completion.
  Step complete(AsyncAcquireAll& wait) {
    const io_uring_cqe seen = ring_.next();
    return wait.complete(&seen);
  }

  AuthorsRing ring_;
  Handle x_;
  Handle y_;
  std::array<Wanted, 2> both_{Handle(), Handle()};
  std::optional<Context> other_;
};

TEST_P(AsyncAcquireAllTest, WhatIsFreeIsHadAtOnce) {
  AsyncAcquireAll wait(*manager_, both_, wanted());
  EXPECT_TRUE(wait.done());
  EXPECT_EQ(wait.submissions(), 0u);
  EXPECT_FALSE(wait.cancel());
  auto all = wait.take();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].kind(), HoldKind::Exclusive);
  EXPECT_EQ((*all)[1].kind(), HoldKind::Shared);
  EXPECT_FALSE(is_free(x_));
  EXPECT_EQ(code_of(wait.take()), ErrorCode::InvalidArgument);
  all->clear();
  EXPECT_TRUE(is_free(x_));
}

TEST_P(AsyncAcquireAllTest, EachIsWaitedForInTurn) {
  for (const auto mode : {AcquisitionMode::Blocking, AcquisitionMode::Timeout}) {
    const unsigned each = mode == AcquisitionMode::Timeout ? 2 : 1;
    auto first = hold(x_);
    auto second = hold(y_);
    AsyncAcquireAll wait(*manager_, both_, wanted(mode));
    EXPECT_EQ(code_of(wait.take()), ErrorCode::WouldBlock);
    EXPECT_EQ(wait.submissions(), each);
    ASSERT_TRUE(ring_.arm(wait, kMine));
    EXPECT_EQ(wait.submissions(), 0u);
    ASSERT_TRUE(first.release());
    if (each == 2) {
      EXPECT_EQ(complete(wait), Step::More);
    }
    EXPECT_EQ(complete(wait), Step::Rearm);
    EXPECT_FALSE(wait.done());
    EXPECT_EQ(waiting(y_), 1u);
    EXPECT_FALSE(is_free(x_)) << "it is kept meanwhile";
    EXPECT_EQ(wait.submissions(), each);
    ASSERT_TRUE(ring_.arm(wait, kMine));
    ASSERT_TRUE(second.release());
    ring_.finish(wait, kMine);
    EXPECT_TRUE(wait.take());
    EXPECT_FALSE(ring_.has_more());
  }
}

TEST_P(AsyncAcquireAllTest, WhatIsWrongIsTheOutcome) {
  const std::array twice{Wanted(x_), Wanted(x_)};
  AsyncAcquireAll wrong(*manager_, twice, wanted());
  EXPECT_EQ(code_of(wrong.take()), ErrorCode::InvalidArgument);
  const auto held = hold(y_);
  AsyncAcquireAll busy(*manager_, both_, wanted(AcquisitionMode::NonBlocking));
  EXPECT_EQ(code_of(busy.take()), ErrorCode::WouldBlock);
  EXPECT_TRUE(is_free(x_));
  manager_->close();
  AsyncAcquireAll late(*manager_, both_, wanted());
  EXPECT_EQ(code_of(late.take()), ErrorCode::Disconnected);
}

TEST_P(AsyncAcquireAllTest, OthersCompletionsAreNotItsOwn) {
  const auto held = hold(y_);
  AsyncAcquireAll wait(*manager_, both_, wanted());
  io_uring_cqe completion{};
  completion.user_data = kMine;
  EXPECT_EQ(wait.complete(&completion), Step::NotMine) << "nothing is in flight";
  ASSERT_TRUE(ring_.arm(wait, kMine));
  completion.user_data = kMine + 1;
  EXPECT_EQ(wait.complete(&completion), Step::NotMine);
  EXPECT_EQ(wait.complete(nullptr), Step::NotMine);
}

TEST_P(AsyncAcquireAllTest, TheDeadlineIsThatOfTheWhole) {
  auto first = hold(x_);
  const auto second = hold(y_);
  AcquireOptions options = wanted(AcquisitionMode::Timeout);
  options.timeout = milliseconds(1);
  AsyncAcquireAll wait(*manager_, both_, options);
  ASSERT_TRUE(first.release()) << "perhaps in time: then y is what was not had";
  ring_.finish(wait, kMine);
  EXPECT_EQ(code_of(wait.take()), ErrorCode::TimedOut);
  EXPECT_TRUE(is_free(x_));
  EXPECT_EQ(waiting(y_), 0u);
}

TEST_P(AsyncAcquireAllTest, CancelledItLeavesNothingHeld) {
  const auto held = hold(y_);
  for (const bool armed : {false, true}) {
    AsyncAcquireAll wait(*manager_, both_, wanted());
    if (armed) {
      ASSERT_TRUE(ring_.arm(wait, kMine));
    }
    EXPECT_FALSE(is_free(x_));
    EXPECT_TRUE(wait.cancel());
    EXPECT_EQ(wait.done(), !armed);
    if (armed) ring_.finish(wait, kMine);
    EXPECT_EQ(code_of(wait.take()), ErrorCode::Cancelled);
    EXPECT_TRUE(is_free(x_));
    EXPECT_FALSE(wait.cancel());
  }
  EXPECT_EQ(waiting(y_), 0u);
}

// The first was granted already, and nothing of the whole is.
TEST_P(AsyncAcquireAllTest, CancelledBetweenTwoItAsksForNoMore) {
  for (const bool armed : {false, true}) {
    auto first = hold(x_);
    const auto second = hold(y_);
    AsyncAcquireAll wait(*manager_, both_, wanted());
    if (armed) {
      ASSERT_TRUE(ring_.arm(wait, kMine));
    }
    ASSERT_TRUE(first.release());
    EXPECT_TRUE(wait.cancel());
    if (armed) {
      EXPECT_EQ(complete(wait), Step::Done);
    }
    EXPECT_EQ(code_of(wait.take()), ErrorCode::Cancelled);
    EXPECT_TRUE(is_free(x_));
    EXPECT_EQ(waiting(y_), 0u);
  }
}

TEST_P(AsyncAcquireAllTest, AGrantOfTheLastThatWasFasterThanCancellingIsHad) {
  auto held = hold(y_);
  AsyncAcquireAll wait(*manager_, both_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  ASSERT_TRUE(held.release());
  (void)wait.cancel();
  ring_.finish(wait, kMine);
  EXPECT_TRUE(wait.take());
}

TEST_P(AsyncAcquireAllTest, DestroyingItPassesAllOn) {
  for (const bool granted : {false, true}) {
    auto held = hold(y_);
    {
      AsyncAcquireAll wait(*manager_, both_, wanted());
      ASSERT_TRUE(ring_.arm(wait, kMine));
      if (granted) {
        ASSERT_TRUE(held.release());
      }
    }
    EXPECT_EQ(ring_.next().user_data, kMine) << "what is left over is the author's";
    held = {};
    EXPECT_TRUE(is_free(x_));
    EXPECT_TRUE(is_free(y_));
  }
}

// What it looks for without a completion may be the first of two: the completion of that is still
// to come, under user_data that the next one is asked for with.
TEST_P(AsyncAcquireAllTest, WhatIsLeftOverOfOneIsNoCompletionOfTheNext) {
  for (const auto mode : {AcquisitionMode::Blocking, AcquisitionMode::Timeout}) {
    auto first = hold(x_);
    auto second = hold(y_);
    AsyncAcquireAll wait(*manager_, both_, wanted(mode));
    ASSERT_TRUE(ring_.arm(wait, kMine));
    ASSERT_TRUE(first.release());
    EXPECT_FALSE(wait.check()) << "it waits for y";
    EXPECT_EQ(waiting(y_), 1u);
    EXPECT_EQ(wait.submissions(), 0u);
    io_uring_sqe entry{};
    std::array<io_uring_sqe*, 2> entries{&entry, &entry};
    EXPECT_EQ(code_of(wait.prepare(entries, kMine)), ErrorCode::InvalidArgument);
    if (mode == AcquisitionMode::Timeout) {
      EXPECT_EQ(complete(wait), Step::More);
    }
    EXPECT_EQ(complete(wait), Step::Rearm);
    ASSERT_NE(wait.submissions(), 0u);
    ASSERT_TRUE(ring_.arm(wait, kMine));
    ASSERT_TRUE(second.release());
    ring_.finish(wait, kMine);
    EXPECT_TRUE(wait.take());
    EXPECT_FALSE(ring_.has_more());
  }
}

TEST_P(AsyncAcquireAllTest, WhatIsLeftOverWhenItIsDoneIsNobodys) {
  auto first = hold(x_);
  const auto second = hold(y_);
  AsyncAcquireAll wait(*manager_, both_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  ASSERT_TRUE(first.release());
  EXPECT_FALSE(wait.check());
  EXPECT_TRUE(wait.cancel());
  EXPECT_TRUE(wait.done());
  EXPECT_EQ(complete(wait), Step::NotMine);
  EXPECT_EQ(code_of(wait.take()), ErrorCode::Cancelled);
}

// Who has y and asks for x, with more priority: the task lets go of x, and comes back.
TEST_P(AsyncAcquireAllTest, WhereWaitingIsADeadlockItLetsGo) {
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
  AsyncAcquireAll wait(*manager_, both_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  EXPECT_EQ(waiting(y_), 1u);
  is_waited_for.set_value();
  ring_.finish(wait, kMine);
  const auto all = wait.take();
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->size(), 2u);
}

TEST_P(AsyncAcquireAllTest, AClosedContextEndsIt) {
  const auto held = hold(y_);
  AsyncAcquireAll wait(*manager_, both_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  other_.reset();
  ring_.finish(wait, kMine);
  EXPECT_EQ(code_of(wait.take()), ErrorCode::Cancelled);
  EXPECT_TRUE(is_free(x_));
}

TEST_P(AsyncAcquireAllTest, AClosedManagerEndsIt) {
  const auto held = hold(y_);
  AsyncAcquireAll wait(*manager_, both_, wanted());
  ASSERT_TRUE(ring_.arm(wait, kMine));
  manager_->close();
  ring_.finish(wait, kMine);
  EXPECT_EQ(code_of(wait.take()), ErrorCode::Disconnected);
}

// Random sets, some of them cancelled, timed out or destroyed half-way, each thread on a ring of
// its own: everybody has an outcome, nobody meets another inside, and nothing is left behind.
TEST_P(AsyncAcquireAllTest, SetsThatOverlapAllHaveTheirTurn) {
  constexpr unsigned kResources = 5;
  constexpr unsigned kThreads = 3;
  constexpr unsigned kRounds = 300;
  std::array<Handle, kResources> handles;
  for (unsigned i = 0; i < kResources; ++i) handles[i] = add("r" + std::to_string(i));
  std::array<std::atomic<int>, kResources> users{};
  std::array<std::atomic<unsigned>, 3> outcomes{};  // had; timed out or cancelled; destroyed
  const std::uint64_t seed = resmgr::test::seed();
  const auto work = [&](unsigned thread) {
    std::mt19937_64 random(seed + thread);
    AuthorsRing ring;
    Context context = manager_->create_context().value();
    for (unsigned round = 1; round <= kRounds; ++round) {
      std::array<unsigned, kResources> order{};
      for (unsigned i = 0; i < kResources; ++i) order[i] = i;
      std::ranges::shuffle(order, random);
      const auto chosen = std::span(order).first(1 + random() % kResources);
      std::vector<Wanted> set;
      for (const unsigned i : chosen) set.emplace_back(handles[i]);
      const std::uint64_t what = random() % 8;
      const AcquireOptions options{
          .mode = what == 0 ? AcquisitionMode::Timeout : AcquisitionMode::Blocking,
          .has_priority = true,
          .priority = static_cast<ResourcePriority>(random() % 3),
          .timeout = std::chrono::microseconds(random() % 100),
          .context = &context};
      std::optional<AsyncAcquireAll> wait;
      wait.emplace(*manager_, set, options);
      if (wait->submissions() != 0) {
        ASSERT_TRUE(ring.arm(*wait, round));
      }
      if (what == 1) (void)wait->cancel();
      if (what == 2) {
        const bool in_flight = !wait->done();
        wait.reset();
        while (in_flight && ring.next().user_data != round) {
        }
        ++outcomes[2];
        continue;
      }
      if (what == 3) (void)wait->check();
      while (!wait->done()) {
        if (wait->submissions() != 0) {
          ASSERT_TRUE(ring.arm(*wait, round));
        }
        // Of a round before it may be what check() left over.
        const io_uring_cqe seen = ring.next();
        ASSERT_EQ(wait->complete(&seen) == Step::NotMine, seen.user_data != round);
      }
      const auto all = wait->take();
      if (!all) {
        ASSERT_EQ(all.error(), what == 0 ? ErrorCode::TimedOut : ErrorCode::Cancelled)
            << all.error().message();
        ++outcomes[1];
        continue;
      }
      for (const unsigned i : chosen) EXPECT_EQ(users[i]++, 0);
      std::this_thread::yield();
      for (const unsigned i : chosen) EXPECT_EQ(users[i]--, 1);
      ++outcomes[0];
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  threads.clear();
  EXPECT_EQ(outcomes[0] + outcomes[1] + outcomes[2], kThreads * kRounds);
  EXPECT_GT(outcomes[0], 0u);
  EXPECT_TRUE(manager_->holds()->empty());
  for (const Handle handle : handles) EXPECT_TRUE(is_free(handle));
}

INSTANTIATE_TEST_SUITE_P(Paths, AsyncAcquireAllTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
