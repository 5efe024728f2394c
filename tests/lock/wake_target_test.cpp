// SPDX-License-Identifier: Apache-2.0
//
// Where whoever decides a wait calls: its own futex, or a doorbell.
#include <gtest/gtest.h>

#include <cstdint>

#include "resmgr/lock/wait.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class WakeTarget : public ::testing::Test {
 protected:
  /// Whether somebody called at the client's doorbell for this wait.
  [[nodiscard]] bool rang(const Wait& wait) const {
    const std::uint32_t index = domain.tables().link_of(wait.waiter.node) - 1;
    const bool is_ready = (load(domain.tables().nodes_ready[index / 64]) >> index % 64 & 1) != 0;
    EXPECT_EQ(load(domain.tables().client(0)->doorbell) != 0, is_ready);
    return is_ready;
  }

  Domain domain;
  Handle r = domain.arm(1);
  Context& holder = domain.open(0, this_thread());
  Context& waiter = domain.open(0, this_thread());
};

TEST_F(WakeTarget, WhoDecidesCallsWhereItWasLastSaid) {
  for (const bool elsewhere : {false, true}) {
    ASSERT_TRUE(domain.engine.acquire(holder, r, trying()));
    Wait wait;
    Grant grant;
    ASSERT_FALSE(domain.engine.begin(waiter, r, blocking(), wait, grant).value());
    ASSERT_TRUE(domain.engine.sleep_on(waiter, wait));
    if (elsewhere) {
      wait.call_at(1);
      ASSERT_TRUE(domain.engine.sleep_on(waiter, wait));
    }
    ASSERT_TRUE(domain.engine.release(holder, r, HoldKind::Exclusive));
    EXPECT_EQ(rang(wait), elsewhere);
    ASSERT_TRUE(domain.engine.is_decided(wait));
    ASSERT_TRUE(domain.engine.finish(waiter, wait));
    ASSERT_TRUE(domain.engine.release(waiter, r, HoldKind::Exclusive));
  }
}

}  // namespace
}  // namespace resmgr::lock::test
