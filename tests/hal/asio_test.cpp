// SPDX-License-Identifier: Apache-2.0
//
// Compiled once for Boost.Asio, and once for Asio without Boost.
#include <hal/asio.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/hal/asio_support.hpp"

namespace hal::test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST_P(AsioTest, AFreeOneIsPostedAndKeepsNothingGoing) {
  std::optional<Outcome> outcome;
  ask(outcome);
  EXPECT_FALSE(outcome) << "never from inside";
  EXPECT_EQ(ring_->pending(), 0u) << "the ring has nothing to do with it";
  run();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
  EXPECT_FALSE(is_free());
}

TEST_P(AsioTest, CallsBackWhatWasGranted) {
  for (int round = 0; round < 3; ++round) {
    ScopedResource held = hold();
    std::optional<Outcome> outcome;
    ask(outcome);
    turn();
    EXPECT_FALSE(outcome);
    EXPECT_EQ(ring_->pending(), 1u);
    net::post(*io_, [&] { held.release().value(); });
    run();
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(*outcome) << outcome->error().message();
    EXPECT_EQ(ring_->pending(), 0u);
  }
}

TEST_P(AsioTest, RunEndsWhereNothingIsWaitedFor) {
  ScopedResource held = hold();
  std::optional<Outcome> outcome;
  run();
  ask(outcome);
  ask(outcome);  // a deadlock: it is told at once, and the first waits on
  turn();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error(), ErrorCode::Deadlock);
  EXPECT_FALSE(io_->stopped()) << "one still waits";
  outcome.reset();
  ASSERT_TRUE(held.release());
  while (!outcome) io_->run_one();
  EXPECT_TRUE(*outcome);
  turn();
  EXPECT_TRUE(io_->stopped()) << "no timer, no descriptor";
}

TEST_P(AsioTest, ATimeoutNamesTheHolder) {
  const ScopedResource held = hold();
  std::optional<Outcome> outcome;
  async_acquire(*ring_, *manager_, resource_, wanted(milliseconds(1)),
                [&](Outcome had) { outcome.emplace(std::move(had)); });
  run();
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error(), ErrorCode::TimedOut);
  EXPECT_NE(outcome->error().blame().context, 0u);
  EXPECT_EQ(waiting(), 0u);
}

TEST_P(AsioTest, AFutureIsAToken) {
  ScopedResource held = hold();
  auto future = async_acquire(*ring_, *manager_, resource_, wanted(), net::use_future);
  std::thread runner([this] { io_->run(); });
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(future.get());
  runner.join();
}

TEST_P(AsioTest, ManyAreServedInTheirOrder) {
  constexpr std::size_t kWaits = 1000;
  ScopedResource held = hold();
  std::deque<Context> contexts;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < kWaits; ++i) {
    contexts.push_back(manager_->create_context().value());
    auto options = i % 2 == 0 ? wanted() : wanted(hours(1));
    options.context = &contexts.back();
    async_acquire(*ring_, *manager_, resource_, options, [&order, i](Outcome had) {
      EXPECT_TRUE(had);
      order.push_back(i);
    });
  }
  turn();
  EXPECT_EQ(ring_->pending(), kWaits);
  ASSERT_TRUE(held.release());
  run();
  ASSERT_EQ(order.size(), kWaits);
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_TRUE(is_free());
}

TEST_P(AsioTest, AHandlerIsCalledWhereItBelongs) {
  ScopedResource held = hold();
  net::io_context elsewhere;
  for (const bool at_once : {false, true}) {
    bool called = false;
    if (at_once) held = {};
    async_acquire(*ring_, *manager_, resource_, wanted(),
                  net::bind_executor(elsewhere, [&](const Outcome& had) {
                    EXPECT_TRUE(had);
                    called = true;
                  }));
    elsewhere.restart();
    EXPECT_EQ(elsewhere.poll(), at_once ? 1u : 0u);
    if (!at_once) {
      EXPECT_FALSE(elsewhere.stopped()) << "work is on its way to it";
      ASSERT_TRUE(held.release());
    }
    run();
    EXPECT_EQ(called, at_once);
    elsewhere.run();
    EXPECT_TRUE(called);
  }
}

TEST_P(AsioTest, CancelEndsAllWaits) {
  ScopedResource held = hold();
  for (const bool armed : {false, true}) {
    std::optional<Outcome> outcome;
    ask(outcome);
    if (armed) turn();
    ring_->cancel();
    EXPECT_FALSE(outcome) << "never from inside";
    run();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->error(), ErrorCode::Cancelled);
    EXPECT_EQ(waiting(), 0u);
  }
  ring_->cancel();
  ASSERT_TRUE(held.release());
  EXPECT_TRUE(is_free());
}

TEST_P(AsioTest, DestroyingTheRingCallsBack) {
  ScopedResource held = hold();
  Context third = manager_->create_context().value();
  std::optional<Outcome> granted;
  std::optional<Outcome> given_up;
  ask(granted);
  AcquireOptions behind = wanted();
  behind.context = &third;
  async_acquire(*ring_, *manager_, resource_, behind,
                [&](Outcome had) { given_up.emplace(std::move(had)); });
  turn();
  ASSERT_TRUE(held.release());
  ring_.reset();
  EXPECT_FALSE(granted);
  run();
  EXPECT_TRUE(*granted) << "it was faster";
  EXPECT_EQ(given_up->error(), ErrorCode::Cancelled);
}

TEST_P(AsioTest, WhoIsCalledBackMayDestroyTheRing) {
  ScopedResource held = hold();
  bool called = false;
  async_acquire(*ring_, *manager_, resource_, wanted(), [&](const Outcome& had) {
    EXPECT_TRUE(had);
    ring_.reset();
    called = true;
  });
  turn();
  ASSERT_TRUE(held.release());
  run();
  EXPECT_TRUE(called);
}

TEST_P(AsioTest, AnAssignedRingGivesItsOldWaitsUp) {
  const ScopedResource held = hold();
  std::optional<Outcome> outcome;
  ask(outcome);
  *ring_ = make_ring();
  run();
  EXPECT_EQ(outcome->error(), ErrorCode::Cancelled);
}

// Before it was armed, while it is in flight, and once it is granted.
TEST_P(AsioTest, DestroyingTheContextGivesAllUpAndCallsNobody) {
  for (int step = 0; step < 3; ++step) {
    ScopedResource held = hold();
    const auto of_the_handler = std::make_shared<int>();
    async_acquire(*ring_, *manager_, resource_, wanted(),
                  [of_the_handler](const Outcome&) { FAIL() << "called"; });
    if (step > 0) turn();
    if (step > 1) {
      ASSERT_TRUE(held.release());
    }
    io_.reset();
    EXPECT_EQ(of_the_handler.use_count(), 1) << "its handler is destroyed";
    EXPECT_EQ(waiting(), 0u);
    held = {};
    EXPECT_TRUE(is_free()) << step;
    ring_.reset();
    io_.emplace();
    ring_.emplace(make_ring());
  }
}

TEST_P(AsioTest, AClosedManagerEndsItsWaits) {
  const ScopedResource held = hold();
  std::optional<Outcome> outcome;
  ask(outcome);
  turn();
  manager_->close();
  run();
  EXPECT_EQ(outcome->error(), ErrorCode::Disconnected);
}

TEST_P(AsioTest, WhatAHandlerThrowsReachesRun) {
  ScopedResource held = hold();
  Context third = manager_->create_context().value();
  bool called = false;
  async_acquire(*ring_, *manager_, resource_, wanted(),
                [](const Outcome&) { throw std::runtime_error("thrown by a handler"); });
  AcquireOptions behind = wanted();
  behind.context = &third;
  async_acquire(*ring_, *manager_, resource_, behind, [&](const Outcome& had) {
    EXPECT_TRUE(had);
    called = true;
  });
  turn();
  ASSERT_TRUE(held.release());
  EXPECT_THROW(run(), std::runtime_error);
  run();
  EXPECT_TRUE(called);
}

TEST_P(AsioTest, ARingThatTheKernelRefusesFailsAllItsWaits) {
  if (GetParam() == AsyncPath::Doorbell) GTEST_SKIP() << "it has none";
  const ScopedResource held = hold();
  std::optional<Outcome> outcome;
  ask(outcome);
  turn();
  // Whatever the kernel has against it: it is no ring any more.
  int broken = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    const auto target = std::filesystem::read_symlink(entry.path(), ignored).string();
    if (target.find("io_uring") == std::string::npos) continue;
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(::dup3(null, std::stoi(entry.path().filename()), O_CLOEXEC), 0);
    ::close(null);
    ++broken;
  }
  ASSERT_EQ(broken, 1);
  run();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error().system_errno(), EOPNOTSUPP) << outcome->error().message();
  EXPECT_EQ(waiting(), 0u);
}

/// Of a handler that says how much of it is taken.
template <typename T>
struct Counting {
  using value_type = T;  // NOLINT(readability-identifier-naming): the language asks for it
  explicit Counting(std::size_t* count) : taken(count) {}
  template <typename U>
  // NOLINTNEXTLINE(google-explicit-constructor): allocators become each other
  Counting(const Counting<U>& other) : taken(other.taken) {}
  [[nodiscard]] T* allocate(std::size_t count) {
    *taken += count * sizeof(T);
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* memory, std::size_t count) {
    *taken -= count * sizeof(T);
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const Counting&, const Counting&) = default;
  std::size_t* taken;
};

struct CountedHandler {
  // NOLINTNEXTLINE(readability-identifier-naming): Asio looks for this name
  using allocator_type = Counting<std::byte>;
  [[nodiscard]] allocator_type get_allocator() const { return Counting<std::byte>(taken); }
  void operator()(const Outcome&) const { *taken_when_called = *taken; }
  std::size_t* taken;
  std::size_t* taken_when_called;
};

TEST_P(AsioTest, MemoryIsTheHandlersAndGoesBackBeforeItIsCalled) {
  std::size_t taken = 0;
  std::size_t when_called = 1;
  ScopedResource held = hold();
  async_acquire(*ring_, *manager_, resource_, wanted(), CountedHandler{&taken, &when_called});
  EXPECT_GE(taken, sizeof(AsyncAcquire));
  ASSERT_TRUE(held.release());
  run();
  EXPECT_EQ(when_called, 0u);
  EXPECT_EQ(taken, 0u);
}

TEST(AsioRing, OptionsOutOfRangeAreRefused) {
  net::io_context io;
  EXPECT_EQ(code_of(AsioRing::create(io.get_executor(), {.entries = 0})),
            ErrorCode::InvalidArgument);
}

#if defined(HAL_ASIO_HAS_SLOTS)
TEST_P(AsioTest, EachTypeOfCancellationEndsTheWait) {
  ScopedResource held = hold();
  for (const auto type : {net::cancellation_type::terminal, net::cancellation_type::partial,
                          net::cancellation_type::total}) {
    for (const bool armed : {false, true}) {
      net::cancellation_signal signal;
      std::optional<Outcome> outcome;
      async_acquire(*ring_, *manager_, resource_, wanted(),
                    net::bind_cancellation_slot(
                        signal.slot(), [&](Outcome had) { outcome.emplace(std::move(had)); }));
      if (armed) turn();
      signal.emit(net::cancellation_type::none);
      turn();
      EXPECT_FALSE(outcome);
      signal.emit(type);
      EXPECT_FALSE(outcome) << "never from inside";
      run();
      ASSERT_TRUE(outcome);
      EXPECT_EQ(outcome->error(), ErrorCode::Cancelled);
      EXPECT_EQ(waiting(), 0u);
    }
  }
}

TEST_P(AsioTest, AGrantThatWasFasterThanCancellingIsHad) {
  ScopedResource held = hold();
  net::cancellation_signal signal;
  std::optional<Outcome> outcome;
  async_acquire(*ring_, *manager_, resource_, wanted(),
                net::bind_cancellation_slot(signal.slot(),
                                            [&](Outcome had) { outcome.emplace(std::move(had)); }));
  turn();
  ASSERT_TRUE(held.release());
  signal.emit(net::cancellation_type::total);
  run();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_P(AsioTest, CancellingLateHitsNobodyElse) {
  ScopedResource held = hold();
  net::cancellation_signal signal;
  std::optional<Outcome> first;
  async_acquire(*ring_, *manager_, resource_, wanted(),
                net::bind_cancellation_slot(signal.slot(),
                                            [&](Outcome had) { first.emplace(std::move(had)); }));
  turn();
  ASSERT_TRUE(held.release());
  run();
  held = std::move(**first);
  std::optional<Outcome> second;
  Context third = manager_->create_context().value();
  AcquireOptions options = wanted();
  options.context = &third;
  async_acquire(*ring_, *manager_, resource_, options,
                [&](Outcome had) { second.emplace(std::move(had)); });
  signal.emit(net::cancellation_type::total);
  turn();
  EXPECT_FALSE(second);
  ring_.reset();
  signal.emit(net::cancellation_type::total);
  run();
  EXPECT_EQ(second->error(), ErrorCode::Cancelled);
}
#endif

INSTANTIATE_TEST_SUITE_P(Paths, AsioTest, ::testing::Values(AsyncPath::Futex, AsyncPath::Doorbell),
                         name_of_path);

}  // namespace
}  // namespace hal::test
