// SPDX-License-Identifier: Apache-2.0
//
// Several at once: acquire_all(), and who lets go where two of them meet.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <hal/resource_manager.hpp>

#include "tests/base/seed.hpp"
#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::milliseconds;

constexpr AcquireOptions kBlocking{.mode = AcquisitionMode::Blocking};
constexpr AcquireOptions kUrgent{
    .mode = AcquisitionMode::Blocking, .has_priority = true, .priority = ResourcePriority::High};

class AcquireAllTest : public ManagerTest {
 protected:
  using Holds = Result<std::vector<ScopedResource>>;

  void SetUp() override {
    ManagerTest::SetUp();
    x_ = add("x");
    y_ = add("y");
    ASSERT_LT(x_.slot(), y_.slot()) << "x is asked for first";
  }
  void await_waiters(Handle handle, std::uint32_t count) {
    while (manager_->get_resource_stats(handle)->waiting != count) std::this_thread::yield();
  }
  /// On a thread of its own.
  [[nodiscard]] std::future<Holds> begin(std::vector<Wanted> wanted,
                                         AcquireOptions options = kBlocking) {
    return std::async(std::launch::async, [this, wanted = std::move(wanted), options] {
      return manager_->acquire_all(wanted, options);
    });
  }
  [[nodiscard]] bool is_free(Handle handle) { return manager_->try_acquire(handle).has_value(); }

  Handle x_;
  Handle y_;
};

TEST_F(AcquireAllTest, EachIsHeldAsItWasWanted) {
  auto all = manager_->acquire_all({y_, {x_, HoldKind::Shared}});
  ASSERT_TRUE(all) << all.error().message();
  ASSERT_EQ(all->size(), 2u);
  std::thread([&] {
    EXPECT_EQ(code_of(manager_->try_acquire_shared(y_)), ErrorCode::WouldBlock);
    EXPECT_TRUE(manager_->try_acquire_shared(x_));
  }).join();
  all->clear();
  EXPECT_TRUE(is_free(x_));
  EXPECT_TRUE(is_free(y_));
}

TEST_F(AcquireAllTest, WhatIsNotHadInTimeLeavesNothingHeld) {
  auto hold = manager_->try_acquire(y_);
  ASSERT_TRUE(hold);
  std::thread([&] {
    const auto late = manager_->acquire_all(
        {x_, y_}, {.mode = AcquisitionMode::Timeout, .timeout = milliseconds(1)});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error(), ErrorCode::TimedOut);
    EXPECT_EQ(late.error().blame().handle.slot(), y_.slot());
    EXPECT_EQ(code_of(manager_->acquire_all({x_, y_})), ErrorCode::WouldBlock);
  }).join();
  EXPECT_TRUE(is_free(x_));
}

TEST_F(AcquireAllTest, WhoWaitsForOneKeepsTheOthers) {
  auto hold = manager_->try_acquire(y_);
  auto all = begin({x_, y_});
  await_waiters(y_, 1);
  EXPECT_FALSE(is_free(x_));
  ASSERT_TRUE(hold->release());
  EXPECT_TRUE(all.get());
}

// Who has y and asks for x comes before those of lower priority: they let go of x, wait for y with
// nothing in hand, and have both in the end.
TEST_F(AcquireAllTest, WhereThatIsADeadlockTheyLetGo) {
  auto hold = manager_->try_acquire(y_);
  auto all = begin({x_, y_});
  await_waiters(y_, 1);
  {
    const auto urgent = manager_->acquire_scoped_resource(x_, kUrgent);
    ASSERT_TRUE(urgent) << urgent.error().message();
    await_waiters(y_, 1);
  }
  EXPECT_TRUE(is_free(x_)) << "it is not waited for before y is had";
  ASSERT_TRUE(hold->release());
  const auto had = all.get();
  ASSERT_TRUE(had) << had.error().message();
  EXPECT_EQ(had->size(), 2u);
}

// Of one priority it is the latest who gives way, and that is not who began first.
TEST_F(AcquireAllTest, WhoCameFirstNeedNot) {
  auto hold = manager_->try_acquire(y_);
  auto all = begin({x_, y_});
  await_waiters(y_, 1);
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(x_, kBlocking)), ErrorCode::Deadlock);
  EXPECT_FALSE(is_free(x_));
  ASSERT_TRUE(hold->release());
  EXPECT_TRUE(all.get());
}

// Who let go comes back to the place that he had, before those who queued in between.
TEST_F(AcquireAllTest, WhoLetsGoKeepsHisTurn) {
  auto hold = manager_->try_acquire(y_);
  std::atomic<unsigned> turns{0};
  const auto turn_of = [&](std::vector<Wanted> wanted) {
    return std::async(std::launch::async, [&, wanted = std::move(wanted)] {
      const auto had = manager_->acquire_all(wanted, kBlocking);
      EXPECT_TRUE(had);
      return ++turns;
    });
  };
  auto first = turn_of({x_, y_});
  await_waiters(y_, 1);
  auto second = turn_of({y_});
  await_waiters(y_, 2);
  ASSERT_TRUE(manager_->acquire_scoped_resource(x_, kUrgent)) << "the first lets go";
  await_waiters(y_, 2);
  ASSERT_TRUE(hold->release());
  EXPECT_EQ(first.get(), 1u);
  EXPECT_EQ(second.get(), 2u);
}

TEST_F(AcquireAllTest, WhatTheContextHeldBeforeItIsNotLetGoOf) {
  const Handle z = add("z");
  auto of_main = manager_->try_acquire(x_);
  std::promise<void> holds_z;
  auto refused = std::async(std::launch::async, [&] {
    const auto before = manager_->try_acquire(z);
    holds_z.set_value();
    return code_of(manager_->acquire_all({x_, y_}, kBlocking));
  });
  holds_z.get_future().get();
  await_waiters(x_, 1);
  ASSERT_TRUE(manager_->acquire_scoped_resource(z, kUrgent));
  EXPECT_EQ(refused.get(), ErrorCode::Deadlock);
}

TEST_F(AcquireAllTest, TheSetTeachesNoOrderButLearnsThatOfWhatIsHeld) {
  ASSERT_TRUE(manager_->set_order_policy(OrderPolicy::Refuse));
  const Handle buffer = add("buffer", {.class_name = "buffer"});
  const Handle timer = add("timer", {.class_name = "timer"});
  const Handle outer = add("outer", {.class_name = "outer"});
  {
    const auto hold = manager_->try_acquire(outer);
    ASSERT_TRUE(manager_->acquire_all({buffer, timer}, kBlocking));
  }
  {
    const auto hold = manager_->try_acquire(timer);
    EXPECT_TRUE(manager_->acquire_scoped_resource(buffer, kBlocking));
    EXPECT_EQ(code_of(manager_->acquire_all({outer}, kBlocking)), ErrorCode::OrderViolation);
  }
  const auto hold = manager_->try_acquire(buffer);
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(timer, kBlocking)), ErrorCode::OrderViolation)
      << "timer before buffer was seen";
}

TEST_F(AcquireAllTest, TheCallerMayBringTheRoom) {
  const std::array wanted{Wanted(y_), Wanted(x_, HoldKind::Shared)};
  std::array<ScopedResource, 2> holds;
  ASSERT_TRUE(manager_->acquire_all_into(holds, wanted));
  EXPECT_TRUE(holds[0]);
  EXPECT_TRUE(holds[1]);
  EXPECT_EQ(code_of(manager_->acquire_all_into(holds, wanted)), ErrorCode::InvalidArgument)
      << "they are not empty";
  EXPECT_TRUE(holds[0]) << "and stay what they are";
  for (ScopedResource& hold : holds) ASSERT_TRUE(hold.release());
  EXPECT_EQ(code_of(manager_->acquire_all_into(std::span(holds).first(1), wanted)),
            ErrorCode::InvalidArgument);
  const auto busy = manager_->try_acquire_shared(x_);
  EXPECT_EQ(code_of(manager_->acquire_all_into(holds, std::array{Wanted(y_), Wanted(x_)})),
            ErrorCode::Deadlock)
      << "this context holds it";
  EXPECT_FALSE(holds[0]);
  EXPECT_TRUE(is_free(y_));
}

TEST_F(AcquireAllTest, AKindOutOfRangeIsRefused) {
  const std::array wanted{Wanted(x_), Wanted(y_, static_cast<HoldKind>(2))};
  EXPECT_EQ(code_of(manager_->acquire_all(wanted)), ErrorCode::InvalidArgument);
  EXPECT_TRUE(is_free(x_));
}

// Sets that overlap, in all orders, and some who take what they want one by one and let go where
// they are told to: everybody's turn comes, and nobody of the sets hears of a deadlock.
TEST_F(AcquireAllTest, SetsThatOverlapAllHaveTheirTurn) {
  constexpr unsigned kResources = 6;
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRounds = 400;
  std::array<Handle, kResources> handles;
  for (unsigned i = 0; i < kResources; ++i) {
    handles[i] = add("r" + std::to_string(i), {.class_name = "class" + std::to_string(i % 3)});
  }
  ASSERT_TRUE(manager_->set_order_policy(OrderPolicy::Off));
  std::array<std::atomic<int>, kResources> users{};
  std::atomic<unsigned> rounds{0};
  std::atomic<unsigned> refused{0};
  const std::uint64_t seed = resmgr::test::seed();
  const auto work = [&](unsigned thread) {
    std::mt19937_64 random(seed + thread);
    for (unsigned round = 0; round < kRounds; ++round) {
      std::array<unsigned, kResources> order{};
      for (unsigned i = 0; i < kResources; ++i) order[i] = i;
      std::ranges::shuffle(order, random);
      const std::size_t count = 1 + random() % (kResources - 1);
      const auto chosen = std::span(order).first(count);
      std::vector<ScopedResource> had;
      const auto priority = static_cast<ResourcePriority>(random() % 3);
      const AcquireOptions options{
          .mode = AcquisitionMode::Blocking, .has_priority = true, .priority = priority};
      if (thread % 2 == 0) {
        std::vector<Wanted> wanted;
        for (const unsigned i : chosen) wanted.emplace_back(handles[i]);
        auto all = manager_->acquire_all(wanted, options);
        ASSERT_TRUE(all) << all.error().message();
        had = std::move(*all);
      } else {
        for (const unsigned i : chosen) {
          auto one = manager_->acquire_scoped_resource(handles[i], options);
          if (!one) break;
          had.push_back(std::move(*one));
        }
        if (had.size() != count) {
          ++refused;
          continue;
        }
      }
      for (const unsigned i : chosen) EXPECT_EQ(users[i]++, 0);
      std::this_thread::yield();
      for (const unsigned i : chosen) EXPECT_EQ(users[i]--, 1);
      ++rounds;
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  threads.clear();
  EXPECT_EQ(rounds + refused, kThreads * kRounds);
  EXPECT_TRUE(manager_->holds()->empty());
}

}  // namespace
}  // namespace hal::test
