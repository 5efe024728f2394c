// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/ticker.hpp"

#include <gtest/gtest.h>

#include "resmgr/base/clock.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::client {
namespace {

using lock::test::wait_until;

class TickerTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::uint64_t ns() const { return domain.engine.tick().ns(); }

  mutable lock::test::Domain domain;
  Ticker ticker{domain.engine};
};

TEST_F(TickerTest, KeepsTheTimeOnceItIsWoken) {
  ASSERT_TRUE(ticker.start());
  EXPECT_EQ(ns(), 0u) << "asleep";
  const std::uint64_t before = Clock::stamp(Clock::now());
  ticker.wake();
  wait_until([&] { return ns() != 0; });
  const std::uint64_t first = ns();
  EXPECT_GE(first, before);
  EXPECT_FALSE(Clock::is_exact(first));
  wait_until([&] { return ns() > first; });
  ticker.stop();
  EXPECT_EQ(ns(), 0u);
}

TEST_F(TickerTest, FallsAsleepByItselfAndWakesAgain) {
  ASSERT_TRUE(ticker.start());
  for (int i = 0; i < 2; ++i) {
    // Woken until it ticks: a wake that meets the end of the last round is lost, and repeated by
    // those who ask for the time.
    wait_until([&] {
      ticker.wake();
      return ns() != 0;
    });
    wait_until([&] { return ns() == 0; });
  }
}

TEST_F(TickerTest, DoesNotTickWhileEverythingIsRecorded) {
  ASSERT_TRUE(ticker.start());
  ticker.wake();
  wait_until([&] { return ns() != 0; });
  store_relaxed(domain.tables().region->trace_level, static_cast<std::uint32_t>(RM_TRACE_ALL));
  wait_until([&] { return ns() == 0; });
}

TEST_F(TickerTest, StopsFromAnyState) {
  ticker.stop();
  ASSERT_TRUE(ticker.start());
  ticker.wake();
  ticker.stop();
  ticker.stop();
  ticker.wake();
  EXPECT_EQ(ns(), 0u);
}

}  // namespace
}  // namespace resmgr::client
