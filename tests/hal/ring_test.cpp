// SPDX-License-Identifier: Apache-2.0
#include <hal/ring.hpp>

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
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

class RingTest : public ManagerTest, public ::testing::WithParamInterface<AsyncPath> {
 protected:
  void SetUp() override {
    restart({.async_path = GetParam()});
    remake({.async_path = GetParam()});
    resource_ = add("dma0/channel/0");
    other_.emplace(manager_->create_context().value());
  }
  void remake(RingOptions options) {
    auto made = Ring::create(options);
    ASSERT_TRUE(made) << made.error().message();
    ring_ = std::move(*made);
  }
  [[nodiscard]] AcquireOptions wanted(AcquisitionMode mode = AcquisitionMode::Blocking) {
    return {.mode = mode, .timeout = hours(1), .context = &*other_};
  }
  [[nodiscard]] ScopedResource hold() { return manager_->try_acquire(resource_).value(); }
  [[nodiscard]] bool is_free() { return manager_->try_acquire(resource_).has_value(); }
  /// Polls until it was told so much.
  void poll(unsigned expected) {
    unsigned told = 0;
    while (told < expected) {
      const auto more = ring_->poll(hours(1));
      ASSERT_TRUE(more) << more.error().message();
      told += *more;
    }
  }

  std::unique_ptr<Ring> ring_;
  Handle resource_;
  std::optional<Context> other_;
};

TEST_P(RingTest, OptionsOutOfRangeAreRefused) {
  EXPECT_EQ(Ring::create({.entries = 0}).error(), ErrorCode::InvalidArgument);
  EXPECT_EQ(Ring::create({.entries = 4097}).error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(Ring::create({.entries = 1}));
  EXPECT_EQ(ring_->acquire(*manager_, resource_, {}, Ring::Callback()).error(),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(ring_->post({}).error(), ErrorCode::InvalidArgument);
}

TEST_P(RingTest, WhatIsFreeIsCalledBackInTheNextPoll) {
  bool called = false;
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, {}, [&](Result<ScopedResource> hold) {
    called = true;
    EXPECT_TRUE(hold);
  }));
  EXPECT_FALSE(called);
  EXPECT_EQ(ring_->pending(), 1u);
  EXPECT_EQ(ring_->poll().value(), 1u);
  EXPECT_TRUE(called);
  EXPECT_EQ(ring_->pending(), 0u);
  EXPECT_TRUE(is_free());
}

TEST_P(RingTest, CallsBackWhatWasGranted) {
  ScopedResource held = hold();
  ScopedResource taken;
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, wanted(),
                             [&](Result<ScopedResource> hold) { taken = std::move(*hold); }));
  EXPECT_EQ(ring_->poll().value(), 0u);
  ASSERT_TRUE(held.release());
  poll(1);
  EXPECT_TRUE(taken);
  EXPECT_FALSE(is_free());
}

TEST_P(RingTest, OneRingServesManyInTheirOrder) {
  remake({.entries = 2, .async_path = GetParam()});
  constexpr int kWaits = 50;
  ScopedResource held = hold();
  std::vector<Context> contexts;
  std::vector<int> order;
  for (int i = 0; i < kWaits; ++i) contexts.push_back(manager_->create_context().value());
  for (int i = 0; i < kWaits; ++i) {
    AcquireOptions options =
        wanted(i % 2 == 0 ? AcquisitionMode::Blocking : AcquisitionMode::Timeout);
    options.context = &contexts[static_cast<std::size_t>(i)];
    ASSERT_TRUE(ring_->acquire(*manager_, resource_, options, [&order, i](auto hold) {
      EXPECT_TRUE(hold);
      order.push_back(i);
    }));
  }
  ASSERT_TRUE(held.release());
  ASSERT_TRUE(ring_->run());
  ASSERT_EQ(order.size(), std::size_t{kWaits});
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_TRUE(is_free());
}

TEST_P(RingTest, ADeadlineIsKept) {
  const ScopedResource held = hold();
  AcquireOptions options = wanted(AcquisitionMode::Timeout);
  options.timeout = milliseconds(1);
  ErrorCode code{};
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, options,
                             [&](auto hold) { code = hold.error().code(); }));
  ASSERT_TRUE(ring_->run());
  EXPECT_EQ(code, ErrorCode::TimedOut);
}

TEST_P(RingTest, ATokenCancelsOnce) {
  ScopedResource held = hold();
  for (const bool armed : {false, true}) {
    ErrorCode code{};
    const auto token = ring_->acquire(*manager_, resource_, wanted(),
                                      [&](auto hold) { code = hold.error().code(); });
    if (armed) {
      EXPECT_EQ(ring_->poll().value(), 0u);
    }
    EXPECT_TRUE(ring_->cancel(*token));
    ASSERT_TRUE(ring_->run());
    EXPECT_EQ(code, ErrorCode::Cancelled);
    EXPECT_FALSE(ring_->cancel(*token));
  }
  EXPECT_FALSE(ring_->cancel({}));
  EXPECT_FALSE(ring_->cancel({.value = ~std::uint64_t{0}}));
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(is_free());
}

TEST_P(RingTest, WhoIsCalledBackMayAskAnew) {
  int rounds = 0;
  Ring::Callback again;
  const auto ask = [&](auto&& self) -> void {
    ASSERT_TRUE(ring_->acquire(*manager_, resource_, wanted(), [&, self](auto hold) {
      EXPECT_TRUE(hold);
      hold->release().value();
      if (++rounds < 10) self(self);
    }));
  };
  ask(ask);
  ASSERT_TRUE(ring_->run());
  EXPECT_EQ(rounds, 10);
}

TEST_P(RingTest, WhatACallbackThrowsReachesTheCaller) {
  int called = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(ring_->acquire(*manager_, resource_, {}, [&](auto) {
      if (++called == 1) throw std::runtime_error("thrown by a callback");
    }));
  }
  EXPECT_THROW((void)ring_->poll(), std::runtime_error);
  EXPECT_EQ(called, 1);
  EXPECT_EQ(ring_->poll().value(), 2u);
  EXPECT_EQ(called, 3);
  EXPECT_TRUE(is_free());
}

TEST_P(RingTest, PostedWorkRunsInThePoll) {
  int done = 0;
  std::thread poster([&] { ASSERT_TRUE(ring_->post([&] { ++done; })); });
  poll(1);
  poster.join();
  EXPECT_EQ(done, 1);
}

TEST_P(RingTest, AnotherThreadStopsIt) {
  const ScopedResource held = hold();
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, wanted(), [](auto) { FAIL(); }));
  std::thread stopper([&] { ring_->stop(); });
  ASSERT_TRUE(ring_->run());
  stopper.join();
  EXPECT_EQ(ring_->pending(), 1u);
  ring_.reset();
  EXPECT_EQ(manager_->get_resource_stats(resource_).value().waiting, 0u) << "the wait was given up";
}

TEST_P(RingTest, ItsDescriptorSaysWhenThereIsSomethingToTell) {
  ScopedResource held = hold();
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, wanted(), [](auto) {}));
  EXPECT_EQ(ring_->poll().value(), 0u);
  pollfd readable{.fd = ring_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 0);
  ASSERT_TRUE(held.release());
  EXPECT_EQ(::poll(&readable, 1, -1), 1);
  EXPECT_EQ(ring_->poll().value(), 1u);
}

TEST_P(RingTest, PatienceEndsWhereItsDescriptorTellsNothing) {
  const bool is_kernels = GetParam() == AsyncPath::Futex;
  constexpr milliseconds kBound(100);
  EXPECT_EQ(ring_->patience(), std::chrono::nanoseconds::max());
  ScopedResource held = hold();
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, wanted(), [](auto) {}));
  EXPECT_EQ(ring_->patience(), is_kernels ? milliseconds(0) : kBound) << "poll() submits";
  EXPECT_EQ(ring_->poll().value(), 0u);
  EXPECT_EQ(ring_->patience(), kBound);
  Context third = manager_->create_context().value();
  AcquireOptions soon = wanted(AcquisitionMode::Timeout);
  soon.timeout = kBound / 2;
  soon.context = &third;
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, soon, [](auto) {}));
  (void)ring_->poll().value();
  if (ring_->pending() == 2) {
    EXPECT_LE(ring_->patience(), is_kernels ? kBound : kBound / 2);
  }
  ASSERT_TRUE(ring_->acquire(*manager_, add("free"), {}, [](auto) {}));
  EXPECT_EQ(ring_->patience(), milliseconds(0)) << "somebody is to be told";
}

TEST_P(RingTest, AClosedManagerEndsItsWaits) {
  const ScopedResource held = hold();
  ErrorCode code{};
  ASSERT_TRUE(ring_->acquire(*manager_, resource_, wanted(),
                             [&](auto hold) { code = hold.error().code(); }));
  EXPECT_EQ(ring_->poll().value(), 0u);
  manager_->close();
  ASSERT_TRUE(ring_->run());
  EXPECT_EQ(code, ErrorCode::Disconnected);
}

// By value: what was passed is gone when a task begins.
Task<int> take_twice(Ring& ring, ResourceManager& manager, Handle handle, AcquireOptions options) {
  int had = 0;
  for (int i = 0; i < 2; ++i) {
    const auto hold = co_await ring.acquire(manager, handle, options);
    had += hold ? 1 : 0;
  }
  co_return had;
}

Task<int> sum_of_two(Ring& ring, ResourceManager& manager, Handle handle, AcquireOptions options) {
  const int first = co_await take_twice(ring, manager, handle, options);
  co_return first + co_await take_twice(ring, manager, handle, options);
}

TEST_P(RingTest, ACoroutineNeedsNoLoopForWhatIsFree) {
  auto task = sum_of_two(*ring_, *manager_, resource_, {});
  task.start();
  ASSERT_TRUE(task.done());
  EXPECT_EQ(task.result(), 4);
}

TEST_P(RingTest, ACoroutineGoesOnWhenItIsGranted) {
  ScopedResource held = hold();
  auto task = sum_of_two(*ring_, *manager_, resource_, wanted());
  task.start();
  EXPECT_FALSE(task.done());
  ASSERT_TRUE(ring_->post([&] { held.release().value(); }));
  ASSERT_TRUE(ring_->run());
  ASSERT_TRUE(task.done());
  EXPECT_EQ(task.result(), 4);
}

Task<bool> lets_go_before_it_awaits(Ring& ring, ResourceManager& manager, Handle handle,
                                    AcquireOptions options, ScopedResource held) {
  auto wait = ring.acquire(manager, handle, options);
  held.release().value();
  const auto hold = co_await wait;
  co_return hold.has_value();
}

TEST_P(RingTest, WhatWasGrantedBeforeTheRingListensIsToldInTheNextPoll) {
  auto task = lets_go_before_it_awaits(*ring_, *manager_, resource_, wanted(), hold());
  task.start();
  EXPECT_FALSE(task.done());
  EXPECT_EQ(ring_->poll().value(), 1u);
  ASSERT_TRUE(task.done());
  EXPECT_TRUE(task.result());
}

TEST_P(RingTest, DestroyingACoroutineGivesItsWaitUp) {
  for (const bool granted : {false, true}) {
    ScopedResource held = hold();
    {
      auto task = take_twice(*ring_, *manager_, resource_, wanted());
      task.start();
      EXPECT_EQ(ring_->poll().value(), 0u);
      if (granted) {
        ASSERT_TRUE(held.release());
      }
    }
    EXPECT_EQ(ring_->pending(), 0u);
    EXPECT_EQ(ring_->poll().value(), 0u) << "its completion finds nobody";
    held = {};
    EXPECT_TRUE(is_free()) << granted;
  }
}

Task<> fails() {
  throw std::runtime_error("thrown by a coroutine");
  co_return;
}

TEST_P(RingTest, WhatACoroutineThrowsReachesItsAwaiter) {
  const auto awaits = [](Ring&) -> Task<bool> {
    try {
      co_await fails();
    } catch (const std::runtime_error&) {
      co_return true;
    }
    co_return false;
  };
  EXPECT_TRUE(run(*ring_, awaits(*ring_)).value());
  EXPECT_THROW((void)run(*ring_, fails()), std::runtime_error);
}

INSTANTIATE_TEST_SUITE_P(Paths, RingTest, ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell),
                         name_of_path);

}  // namespace
}  // namespace hal::test
