// SPDX-License-Identifier: Apache-2.0
//
// Several at once, and any of several, as an operation of Asio's. Compiled once for Boost.Asio, and
// once for Asio without Boost.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "tests/hal/asio_support.hpp"

namespace hal::test {
namespace {

using std::chrono::milliseconds;
using Holds = Result<std::vector<ScopedResource>>;

/// resource_, and another one that is asked for after it.
class AsioAllTest : public AsioTest {
 protected:
  void SetUp() override {
    AsioTest::SetUp();
    second_ = add("dma0/channel/1");
    ASSERT_LT(resource_.slot(), second_.slot());
    both_ = {Wanted(resource_), Wanted(second_, HoldKind::Shared)};
  }
  [[nodiscard]] ScopedResource hold_second() { return manager_->try_acquire(second_).value(); }
  [[nodiscard]] std::uint64_t waiting_for_second() {
    return manager_->get_resource_stats(second_).value().waiting;
  }
  /// Begins it with what becomes of it in `outcome`. The list of what is wanted is gone then.
  void ask_for_both(std::optional<Holds>& outcome, const AcquireOptions& options) {
    const std::vector<Wanted> wanted(both_.begin(), both_.end());
    async_acquire_all(*ring_, *manager_, wanted, options,
                      [&outcome](Holds had) { outcome.emplace(std::move(had)); });
  }

  Handle second_;
  std::array<Wanted, 2> both_{Handle(), Handle()};
};

TEST_P(AsioAllTest, WhatIsFreeIsPosted) {
  std::optional<Holds> outcome;
  ask_for_both(outcome, wanted());
  EXPECT_FALSE(outcome) << "never from inside";
  EXPECT_EQ(ring_->pending(), 0u);
  run();
  ASSERT_TRUE(outcome && *outcome);
  ASSERT_EQ((*outcome)->size(), 2u);
  EXPECT_EQ((**outcome)[1].kind(), HoldKind::Shared);
  EXPECT_FALSE(is_free());
}

TEST_P(AsioAllTest, EachIsWaitedForInTurn) {
  auto first = hold();
  auto second = hold_second();
  std::optional<Holds> outcome;
  ask_for_both(outcome, wanted());
  turn();
  ASSERT_TRUE(first.release());
  while (waiting_for_second() == 0) io_->run_one();
  EXPECT_FALSE(outcome);
  EXPECT_FALSE(is_free()) << "it is kept meanwhile";
  EXPECT_EQ(ring_->pending(), 1u);
  net::post(*io_, [&] { second.release().value(); });
  run();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome) << outcome->error().message();
}

TEST_P(AsioAllTest, ADeadlineLeavesNothingHeld) {
  const auto second = hold_second();
  std::optional<Holds> outcome;
  ask_for_both(outcome, wanted(milliseconds(1)));
  run();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(code_of(*outcome), ErrorCode::TimedOut);
  EXPECT_TRUE(is_free());
  EXPECT_EQ(waiting_for_second(), 0u);
}

TEST_P(AsioAllTest, WhatIsWrongIsTheOutcome) {
  both_[1] = both_[0];
  std::optional<Holds> outcome;
  ask_for_both(outcome, wanted());
  run();
  EXPECT_EQ(code_of(*outcome), ErrorCode::InvalidArgument);
}

TEST_P(AsioAllTest, AnyOfThemIsWaitedForAtOnce) {
  auto first = hold();
  auto second = hold_second();
  Selection any = manager_->select({}).value();
  std::optional<Result<ScopedResource>> outcome;
  async_acquire_any(*ring_, *manager_, any, wanted(),
                    [&outcome](Result<ScopedResource> had) { outcome.emplace(std::move(had)); });
  turn();
  EXPECT_FALSE(outcome);
  EXPECT_EQ(waiting_for_second(), 1u);
  net::post(*io_, [&] { second.release().value(); });
  run();
  ASSERT_TRUE(outcome && *outcome);
  EXPECT_EQ((*outcome)->handle(), second_);
  EXPECT_EQ(waiting_for_second(), 0u);
}

TEST_P(AsioAllTest, AFutureIsAToken) {
  auto second = hold_second();
  auto future = async_acquire_all(*ring_, *manager_, both_, wanted(), net::use_future);
  std::thread runner([this] { io_->run(); });
  ASSERT_TRUE(second.release());
  const Holds had = future.get();
  EXPECT_TRUE(had);
  runner.join();
}

TEST_P(AsioAllTest, ACoroutineAwaitsIt) {
  auto second = hold_second();
  std::optional<Holds> outcome;
  const auto await_it = [&]() -> net::awaitable<void> {
    outcome.emplace(
        co_await async_acquire_all(*ring_, *manager_, both_, wanted(), net::use_awaitable));
  };
  net::co_spawn(*io_, await_it(), [](const std::exception_ptr& thrown) {
    if (thrown) std::rethrow_exception(thrown);
  });
  turn();
  EXPECT_FALSE(outcome);
  ASSERT_TRUE(second.release());
  run();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_P(AsioAllTest, CancelEndsItBetweenTwo) {
  for (const bool first_was_granted : {false, true}) {
    auto first = hold();
    const auto second = hold_second();
    std::optional<Holds> outcome;
    ask_for_both(outcome, wanted());
    turn();
    if (first_was_granted) {
      ASSERT_TRUE(first.release());
    }
    ring_->cancel();
    EXPECT_FALSE(outcome) << "never from inside";
    run();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(code_of(*outcome), ErrorCode::Cancelled);
    EXPECT_EQ(waiting_for_second(), 0u);
    first = {};
    EXPECT_TRUE(is_free());
  }
}

TEST_P(AsioAllTest, DestroyingTheRingCallsBack) {
  const auto second = hold_second();
  std::optional<Holds> outcome;
  ask_for_both(outcome, wanted());
  turn();
  ring_.reset();
  run();
  EXPECT_EQ(code_of(*outcome), ErrorCode::Cancelled);
  EXPECT_TRUE(is_free());
}

TEST_P(AsioAllTest, DestroyingTheContextCallsNobodyAndLetsGo) {
  auto second = hold_second();
  const auto of_the_handler = std::make_shared<int>();
  async_acquire_all(*ring_, *manager_, both_, wanted(),
                    [of_the_handler](const Holds&) { FAIL() << "called"; });
  turn();
  EXPECT_FALSE(is_free());
  io_.reset();
  EXPECT_EQ(of_the_handler.use_count(), 1) << "its handler is destroyed";
  EXPECT_TRUE(is_free());
  EXPECT_EQ(waiting_for_second(), 0u);
  ring_.reset();
}

#if defined(HAL_ASIO_HAS_SLOTS)
// Whichever of the two it waits for, it is the whole that is given up.
TEST_P(AsioAllTest, ASlotCancelsIt) {
  for (const bool at_the_second : {false, true}) {
    auto first = hold();
    const auto second = hold_second();
    net::cancellation_signal signal;
    std::optional<Holds> outcome;
    async_acquire_all(*ring_, *manager_, both_, wanted(),
                      net::bind_cancellation_slot(
                          signal.slot(), [&](Holds had) { outcome.emplace(std::move(had)); }));
    turn();
    if (at_the_second) {
      ASSERT_TRUE(first.release());
      while (waiting_for_second() == 0) io_->run_one();
    }
    signal.emit(net::cancellation_type::total);
    EXPECT_FALSE(outcome) << "never from inside";
    run();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(code_of(*outcome), ErrorCode::Cancelled);
    EXPECT_EQ(waiting_for_second(), 0u);
    first = {};
    EXPECT_TRUE(is_free());
    signal.emit(net::cancellation_type::total);
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(Paths, AsioAllTest,
                         ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell), name_of_path);

}  // namespace
}  // namespace hal::test
