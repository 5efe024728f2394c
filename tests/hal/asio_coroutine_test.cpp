// SPDX-License-Identifier: Apache-2.0
//
// Compiled once for Boost.Asio, and once for Asio without Boost.
#include <hal/asio.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "tests/hal/asio_support.hpp"

#if defined(HAL_ASIO_HAS_SLOTS) && defined(HAL_STANDALONE_ASIO)
#include <asio/experimental/awaitable_operators.hpp>
#elif defined(HAL_ASIO_HAS_SLOTS)
#include <boost/asio/experimental/awaitable_operators.hpp>
#endif

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

class AsioCoroutineTest : public AsioTest {
 protected:
  /// A coroutine that acquires once, or a few times.
  net::awaitable<void> take(AcquireOptions options, int times, int& had) {
    for (int i = 0; i < times; ++i) {
      const auto hold =
          co_await async_acquire(*ring_, *manager_, resource_, options, net::use_awaitable);
      EXPECT_TRUE(hold) << hold.error().message();
      ++had;
    }
  }
  net::awaitable<void> see(AcquireOptions options, std::optional<Outcome>& outcome) {
    outcome.emplace(
        co_await async_acquire(*ring_, *manager_, resource_, options, net::use_awaitable));
  }
  template <typename Coroutine>
  void spawn(Coroutine coroutine) {
    net::co_spawn(*io_, std::move(coroutine), [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
};

TEST_P(AsioCoroutineTest, WhatIsFreeIsGrantedAtOnce) {
  int had = 0;
  spawn(take({}, 3, had));
  run();
  EXPECT_EQ(had, 3);
  EXPECT_TRUE(is_free());
}

TEST_P(AsioCoroutineTest, GoesOnWhenItIsGranted) {
  ScopedResource held = hold();
  int had = 0;
  spawn(take(wanted(), 3, had));
  turn();
  EXPECT_EQ(had, 0);
  ASSERT_TRUE(held.release());
  run();
  EXPECT_EQ(had, 3);
}

TEST_P(AsioCoroutineTest, ADeadlineEndsTheWait) {
  const ScopedResource held = hold();
  std::optional<Outcome> outcome;
  spawn(see(wanted(milliseconds(1)), outcome));
  run();
  EXPECT_EQ(outcome->error(), ErrorCode::TimedOut);
}

TEST_P(AsioCoroutineTest, WhoBeginsWhenTheRingIsGoneIsCancelled) {
  auto later = async_acquire(*ring_, *manager_, resource_, wanted(), net::use_awaitable);
  ring_.reset();
  std::optional<Outcome> outcome;
  const auto await_it = [&]() -> net::awaitable<void> {
    outcome.emplace(co_await std::move(later));
  };
  spawn(await_it());
  run();
  EXPECT_EQ(outcome->error(), ErrorCode::Cancelled);
  EXPECT_TRUE(is_free());
}

// The frame owns the ring, and what it acquires with.
net::awaitable<void> wait_on_a_ring_of_its_own(AsioRing ring, ResourceManager& manager,
                                               Handle handle, std::shared_ptr<int> witness) {
  Context context = manager.create_context().value();
  const AcquireOptions options{.mode = AcquisitionMode::Blocking, .context = &context};
  const auto hold = co_await async_acquire(ring, manager, handle, options, net::use_awaitable);
  ADD_FAILURE() << "it went on with " << *witness;
}

TEST_P(AsioCoroutineTest, DestroyingTheContextDestroysWhoWaits) {
  for (const bool granted : {false, true}) {
    ScopedResource held = hold();
    const auto witness = std::make_shared<int>(0);
    spawn(wait_on_a_ring_of_its_own(make_ring(), *manager_, resource_, witness));
    turn();
    EXPECT_EQ(waiting(), 1u);
    EXPECT_GT(witness.use_count(), 1);
    if (granted) {
      ASSERT_TRUE(held.release());
    }
    ring_.reset();
    io_.reset();
    EXPECT_EQ(witness.use_count(), 1);
    EXPECT_EQ(waiting(), 0u);
    held = {};
    EXPECT_TRUE(is_free()) << granted;
    io_.emplace();
  }
}

// A ring on a strand, and a task with a context of its own for each wait: exclusion, and nobody
// lost, whichever thread polls.
TEST_P(AsioCoroutineTest, AStrandServesThreads) {
  constexpr std::size_t kTasks = 8;
  constexpr int kTurns = 200;
  const auto strand = net::make_strand(*io_);
  ring_.emplace(AsioRing::create(strand, {.async_path = GetParam()}).value());
  std::vector<Context> contexts;
  for (std::size_t i = 0; i < kTasks; ++i) {
    contexts.push_back(manager_->create_context().value());
  }
  std::atomic<int> inside{0};
  std::atomic<int> turns{0};
  const auto task = [&](Context& context) -> net::awaitable<void> {
    const AcquireOptions options{.mode = AcquisitionMode::Blocking, .context = &context};
    for (int i = 0; i < kTurns; ++i) {
      const auto hold =
          co_await async_acquire(*ring_, *manager_, resource_, options, net::use_awaitable);
      EXPECT_TRUE(hold) << hold.error().message();
      EXPECT_EQ(inside.fetch_add(1), 0);
      co_await net::post(*io_, net::use_awaitable);  // others get a turn meanwhile
      inside.fetch_sub(1);
      turns.fetch_add(1);
    }
  };
  for (Context& context : contexts) {
    net::co_spawn(strand, task(context), [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([this] { io_->run(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(turns.load(), static_cast<int>(kTasks) * kTurns);
  EXPECT_TRUE(is_free());
}

#if defined(HAL_ASIO_HAS_SLOTS)
// NOLINTNEXTLINE(misc-unused-using-decls): the races use it
using net::experimental::awaitable_operators::operator||;

TEST_P(AsioCoroutineTest, ATimerThatWinsARaceCancelsTheWait) {
  ScopedResource held = hold();
  bool timer_won = false;
  const auto race = [&]() -> net::awaitable<void> {
    net::steady_timer timer(*io_, milliseconds(1));
    const auto first =
        co_await (async_acquire(*ring_, *manager_, resource_, wanted(), net::use_awaitable) ||
                  timer.async_wait(net::use_awaitable));
    timer_won = first.index() == 1;
  };
  spawn(race());
  run();
  EXPECT_TRUE(timer_won);
  EXPECT_EQ(waiting(), 0u);
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(is_free());
}

TEST_P(AsioCoroutineTest, AGrantThatWinsARaceIsHad) {
  ScopedResource held = hold();
  bool had = false;
  const auto race = [&]() -> net::awaitable<void> {
    net::steady_timer timer(*io_, hours(1));
    const auto first =
        co_await (async_acquire(*ring_, *manager_, resource_, wanted(), net::use_awaitable) ||
                  timer.async_wait(net::use_awaitable));
    had = first.index() == 0 && std::get<0>(first);
    EXPECT_FALSE(is_free());
  };
  spawn(race());
  turn();
  ASSERT_TRUE(held.release());
  run();
  EXPECT_TRUE(had);
  EXPECT_TRUE(is_free());
}

// Both are granted; the one that the race lets fall is let go of.
TEST_P(AsioCoroutineTest, WhatARaceLetsFallIsFree) {
  const Handle second = add("dma0/channel/1");
  ScopedResource held = hold();
  ScopedResource held_too = manager_->try_acquire(second).value();
  Context third = manager_->create_context().value();
  AcquireOptions options = wanted();
  options.context = &third;
  const auto race = [&]() -> net::awaitable<void> {
    const auto first =
        co_await (async_acquire(*ring_, *manager_, resource_, wanted(), net::use_awaitable) ||
                  async_acquire(*ring_, *manager_, second, options, net::use_awaitable));
    EXPECT_TRUE(first.index() == 0 ? std::get<0>(first) : std::get<1>(first));
  };
  spawn(race());
  turn();
  ASSERT_TRUE(held.release());
  ASSERT_TRUE(held_too.release());
  run();
  EXPECT_TRUE(is_free());
  EXPECT_TRUE(manager_->try_acquire(second));
}
#endif

INSTANTIATE_TEST_SUITE_P(Paths, AsioCoroutineTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
