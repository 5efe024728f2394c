// SPDX-License-Identifier: Apache-2.0
//
// What a hold is stamped with, and which holds are timed.
#include <gtest/gtest.h>

#include "resmgr/base/clock.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class Stamp : public ::testing::Test {
 protected:
  [[nodiscard]] std::uint64_t stamp_of_next_hold() {
    EXPECT_TRUE(domain.engine.acquire(me, h, {}));
    const std::uint64_t stamp = load(domain.slot(h).acquired_at);
    EXPECT_TRUE(domain.engine.release(me, h, HoldKind::Exclusive));
    return stamp;
  }

  Domain domain;
  Handle h = domain.arm(1);
  Context& me = domain.open(0, this_thread());
};

TEST_F(Stamp, OneHoldOfEachTickIsTimed) {
  domain.engine.tick().set(Clock::stamp(Clock::now()));
  EXPECT_FALSE(take_fast(domain.engine, me, h, HoldKind::Exclusive)) << "it has to be timed";
  EXPECT_TRUE(Clock::is_exact(stamp_of_next_hold()));
  EXPECT_GT(load(domain.slot(h).sampled_hold_ns), 0u);
  EXPECT_EQ(stamp_of_next_hold(), domain.engine.tick().ns());
  ASSERT_TRUE(take_fast(domain.engine, me, h, HoldKind::Exclusive));
  EXPECT_EQ(load(domain.slot(h).acquired_at), domain.engine.tick().ns());
  ASSERT_TRUE(give_fast(domain.engine, me, h, HoldKind::Exclusive));
  domain.engine.tick().set(domain.engine.tick().ns() + 2);
  EXPECT_FALSE(take_fast(domain.engine, me, h, HoldKind::Exclusive)) << "a new tick";
}

TEST_F(Stamp, ATimedHoldIsReleasedWhereItsTimeIsTaken) {
  domain.engine.tick().set(Clock::stamp(Clock::now()));
  ASSERT_TRUE(domain.engine.acquire(me, h, {}));
  EXPECT_FALSE(give_fast(domain.engine, me, h, HoldKind::Exclusive));
  EXPECT_TRUE(domain.engine.release(me, h, HoldKind::Exclusive));
}

TEST_F(Stamp, ATickThatIsLateIsNotBelieved) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const std::uint64_t late = Clock::stamp(Clock::now() - kSecond);
  domain.engine.tick().set(late);
  EXPECT_GT(stamp_of_next_hold(), late);
  EXPECT_EQ(domain.engine.tick().ns(), 0u);
  EXPECT_GT(stamp_of_next_hold(), late) << "from the clock";
}

TEST_F(Stamp, WithoutATickTheClockIsReadAndABusyContextAsksForOne) {
  make_plain(domain.engine, me);
  domain.engine.tick().stop();
  EXPECT_FALSE(take_fast(domain.engine, me, h, HoldKind::Exclusive));
  const std::uint64_t before = Clock::coarse();
  EXPECT_GE(stamp_of_next_hold() | 1, before);
  // A machine that is slower than that asks for no tick: a thousand holds take ten milliseconds.
  wait_until([&] {
    (void)stamp_of_next_hold();
    return domain.names.busy_calls() != 0;
  });
}

TEST_F(Stamp, WhereEverythingIsRecordedEveryHoldIsTimed) {
  domain.engine.tick().set(Clock::stamp(Clock::now()));
  store_relaxed(domain.tables().region->trace_level, static_cast<std::uint32_t>(RM_TRACE_ALL));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Clock::is_exact(stamp_of_next_hold()));
  }
  EXPECT_EQ(load(me.record->trace_head), 6u) << "an acquisition and a release each";
}

// Who read the clock for a deadline read it for the wait as well.
TEST_F(Stamp, AWaitBeganWhenItWasAskedFor) {
  ASSERT_TRUE(domain.engine.acquire(me, h, {}));
  Context& other = domain.open(0, this_thread());
  const std::uint64_t before = Clock::now();
  for (const std::uint64_t asked_at : {std::uint64_t{0}, before - 1000}) {
    Request request = timed(kLongNs);
    request.asked_at = asked_at;
    Wait wait;
    Grant grant;
    ASSERT_FALSE(domain.engine.begin(other, h, request, wait, grant).value());
    if (asked_at != 0) {
      EXPECT_EQ(wait.waiter.enqueued_at, asked_at);
    } else {
      EXPECT_GE(wait.waiter.enqueued_at, before);
    }
    ASSERT_TRUE(domain.engine.give_up(wait, RM_NODE_CANCELLED));
    EXPECT_FALSE(domain.engine.finish(other, wait));
  }
}

}  // namespace
}  // namespace resmgr::lock::test
