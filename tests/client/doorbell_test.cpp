// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/doorbell.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "resmgr/base/atomic.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::client {
namespace {

using lock::test::wait_until;

constexpr std::size_t kMost = 32;

/// Remembers what it is told, and keeps the thread that tells it if it is to. (It may be told more
/// than once: it did not unwatch.)
class Listener final : public DoorbellListener {
 public:
  void ready(std::uint64_t cookie) noexcept override {
    told_.at(cookie).store(true);
    while (keeps_.load()) std::this_thread::yield();
  }
  [[nodiscard]] bool told(std::size_t cookie) const { return told_.at(cookie).load(); }
  void keep(bool keeps) { keeps_.store(keeps); }

 private:
  std::array<std::atomic<bool>, kMost> told_{};
  std::atomic<bool> keeps_{false};
};

/// Waits for resources that somebody else holds, each for a doorbell.
class Waits {
 public:
  explicit Waits(std::size_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      handles_.push_back(domain_.arm(i + 1));
      EXPECT_TRUE(domain_.engine.acquire(holder_, handles_[i], lock::test::trying()));
    }
  }
  /// Of the resource of that number, watched. Its cookie is the number.
  void begin(Doorbell& doorbell, DoorbellListener& listener) {
    const std::size_t i = waits_.size();
    lock::Wait& wait = waits_.emplace_back();
    wait.wake_target = doorbell.target();
    lock::Grant grant;
    const auto at_once =
        domain_.engine.begin(waiter_, handles_[i], lock::test::blocking(), wait, grant);
    ASSERT_TRUE(at_once && !*at_once);
    ASSERT_TRUE(doorbell.watch(wait, listener, i));
    ASSERT_TRUE(domain_.engine.sleep_on(waiter_, wait));
  }
  /// Its holder lets go of it: it is decided, and whoever does that calls.
  void grant(std::size_t i) {
    ASSERT_TRUE(domain_.engine.release(holder_, handles_[i], HoldKind::Exclusive));
    ASSERT_TRUE(domain_.engine.is_decided(waits_[i]));
  }
  /// Decides it as one who is killed before he calls.
  void grant_and_die(std::size_t i) {
    rm_node& node = *waits_[i].waiter.node;
    store(node.word, lock::NodeWord{load(node.word)}.to(RM_NODE_CANCELLED).bits);
  }
  void finish(std::size_t i) { (void)domain_.engine.finish(waiter_, waits_[i]); }
  [[nodiscard]] const lock::Wait& operator[](std::size_t i) const { return waits_[i]; }
  [[nodiscard]] const lock::LockTables& tables() const { return domain_.tables(); }
  [[nodiscard]] bool says_asleep(std::uint32_t client = 0) const {
    return (load(tables().client(client)->doorbell) & RM_DOORBELL_ASLEEP) != 0;
  }

 private:
  lock::test::Domain domain_;
  lock::Context& holder_ = domain_.open(0, lock::this_thread());
  lock::Context& waiter_ = domain_.open(0, lock::this_thread());
  std::deque<Handle> handles_;
  std::deque<lock::Wait> waits_;
};

/// By how many doorbells a thread sleeps for: with one it does without futex_waitv.
class DoorbellTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    if (GetParam() != 1 && !has_futex_wait_any()) GTEST_SKIP() << "no futex_waitv here";
  }

  const std::shared_ptr<DoorbellThreads> threads_ = std::make_shared<DoorbellThreads>(GetParam());
};

TEST_P(DoorbellTest, WhoListensIsTold) {
  Waits waits(3);
  Listener listener;
  Doorbell doorbell(waits.tables(), 0, threads_);
  for (int i = 0; i < 3; ++i) waits.begin(doorbell, listener);
  waits.grant(1);
  wait_until([&] { return listener.told(1); });
  doorbell.unwatch(waits[0], listener);
  waits.grant(0);
  waits.grant(2);
  wait_until([&] { return listener.told(2); });
  doorbell.look();
  EXPECT_FALSE(listener.told(0)) << "it is watched no more";
}

// Each decision that found it asleep would have cost a call of the kernel.
TEST_P(DoorbellTest, WhoDecidesWhileItIsAwakeWakesNobody) {
  Waits waits(kMost);
  Listener listener;
  Doorbell doorbell(waits.tables(), 0, threads_);
  for (std::size_t i = 0; i < kMost; ++i) waits.begin(doorbell, listener);
  wait_until([&] { return waits.says_asleep(); });
  listener.keep(true);
  waits.grant(0);
  wait_until([&] { return listener.told(0); });
  unsigned wakes = 0;
  for (std::size_t i = 1; i < kMost; ++i) {
    if (waits.says_asleep()) ++wakes;
    waits.grant(i);
  }
  EXPECT_EQ(wakes, 0u);
  listener.keep(false);
  for (std::size_t i = 1; i < kMost; ++i) wait_until([&] { return listener.told(i); });
  wait_until([&] { return waits.says_asleep(); });
}

TEST_P(DoorbellTest, WhatNobodyRangForIsFoundAfterABoundedSleep) {
  Waits waits(2);
  Listener listener;
  Doorbell doorbell(waits.tables(), 0, threads_);
  waits.begin(doorbell, listener);
  waits.begin(doorbell, listener);
  wait_until([&] { return waits.says_asleep(); });
  waits.grant_and_die(0);
  wait_until([&] { return listener.told(0); });
  EXPECT_FALSE(listener.told(1));
}

// It has nothing to look at, and sleeps for ever, until there is something again.
TEST_P(DoorbellTest, ItLooksAroundAgainWhenSomethingIsWatchedAgain) {
  Waits waits(2);
  Listener listener;
  Doorbell doorbell(waits.tables(), 0, threads_);
  waits.begin(doorbell, listener);
  waits.grant(0);
  wait_until([&] { return listener.told(0); });
  doorbell.unwatch(waits[0], listener);
  waits.finish(0);
  waits.begin(doorbell, listener);
  waits.grant_and_die(1);
  wait_until([&] { return listener.told(1); });
}

TEST_P(DoorbellTest, StoppedItTellsAllAndWatchesNothingMore) {
  Waits waits(2);
  Listener listener;
  Doorbell doorbell(waits.tables(), 0, threads_);
  waits.begin(doorbell, listener);
  waits.begin(doorbell, listener);
  doorbell.stop();
  EXPECT_TRUE(listener.told(0) && listener.told(1));
  EXPECT_FALSE(waits.says_asleep());
  doorbell.stop();
  const auto again = doorbell.watch(waits[0], listener, 0);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error(), ErrorCode::Disconnected);
}

TEST_P(DoorbellTest, ThereIsNoThreadWhileNothingIsWatched) {
  Waits waits(1);
  Listener listener;
  Doorbell doorbell(waits.tables(), 0, threads_);
  EXPECT_EQ(threads_->count(), 0u);
  waits.begin(doorbell, listener);
  EXPECT_EQ(threads_->count(), 1u);
  doorbell.stop();
  EXPECT_EQ(threads_->count(), 0u);
}

// Each is told of its own, by as few threads as it takes, whoever comes and goes meanwhile.
TEST_P(DoorbellTest, SeveralShareAThread) {
  constexpr std::size_t kDomains = 5;
  const std::size_t expected = (kDomains + GetParam() - 1) / GetParam();
  std::deque<Waits> waits;
  std::array<Listener, kDomains> listeners;
  std::deque<Doorbell> doorbells;
  for (std::size_t i = 0; i < kDomains; ++i) {
    waits.emplace_back(2);
    doorbells.emplace_back(waits[i].tables(), 0, threads_);
    waits[i].begin(doorbells[i], listeners[i]);
    wait_until([&] { return waits[i].says_asleep(); });
  }
  EXPECT_EQ(threads_->count(), expected);
  for (std::size_t i = 0; i < kDomains; i += 2) {
    waits[i].grant(0);
    wait_until([&] { return listeners.at(i).told(0); });
    EXPECT_FALSE(listeners.at(1).told(0));
  }
  for (std::size_t i = 0; i < kDomains; i += 2) doorbells[i].stop();
  EXPECT_EQ(threads_->count(), std::min<std::size_t>(expected, 2));
  // Of those that stayed, and of one that nobody rang for.
  waits[1].grant(0);
  waits[3].grant_and_die(0);
  wait_until([&] { return listeners[1].told(0) && listeners[3].told(0); });
}

// A thread that has nothing to look at sleeps for ever, until something is watched at any of its
// doorbells.
TEST_P(DoorbellTest, ItLooksAroundForWhoeverHasSomethingToWatch) {
  if (GetParam() == 1) GTEST_SKIP() << "it never sleeps for ever";
  Waits idle(1);
  Waits busy(1);
  Listener listener;
  Doorbell first(idle.tables(), 0, threads_);
  Doorbell second(busy.tables(), 0, threads_);
  for (Doorbell* const doorbell : {&first, &second}) {
    Waits& waits = doorbell == &first ? idle : busy;
    waits.begin(*doorbell, listener);
    doorbell->unwatch(waits[0], listener);
    wait_until([&] { return threads_->idle() == 1; });
  }
  ASSERT_TRUE(second.watch(busy[0], listener, 0));
  busy.grant_and_die(0);
  wait_until([&] { return listener.told(0); });
}

INSTANTIATE_TEST_SUITE_P(OfAThread, DoorbellTest, ::testing::Values(1, 2, DoorbellThreads::kMost));

TEST(DoorbellThreadsTest, AProcessHasOneWhileSomebodyUsesThem) {
  auto threads = DoorbellThreads::of_this_process();
  EXPECT_EQ(DoorbellThreads::of_this_process(), threads);
  const std::weak_ptr<DoorbellThreads> old = threads;
  threads.reset();
  EXPECT_TRUE(old.expired());
}

// Sets come and go while others are told.
TEST(DoorbellThreadsTest, DoorbellsComeAndGoAtOnce) {
  constexpr int kRounds = 200;
  const auto threads = std::make_shared<DoorbellThreads>(has_futex_wait_any() ? 3 : 1);
  std::vector<std::jthread> users;
  for (int user = 0; user < 4; ++user) {
    users.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        Waits waits(2);
        Listener listener;
        Doorbell doorbell(waits.tables(), 0, threads);
        waits.begin(doorbell, listener);
        waits.begin(doorbell, listener);
        waits.grant(1);
        wait_until([&] { return listener.told(1); });
      }
    });
  }
  users.clear();
  EXPECT_EQ(threads->count(), 0u);
}

}  // namespace
}  // namespace resmgr::client
