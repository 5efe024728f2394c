// SPDX-License-Identifier: Apache-2.0
//
// Requests that no thread sleeps for: an exclusive holder sorts them in when he lets go.
#include <gtest/gtest.h>

#include <cstdint>

#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kOtherClient = 3;

class Leave : public ::testing::Test {
 protected:
  void hold(Context& who, HoldKind kind = HoldKind::Exclusive) {
    ASSERT_TRUE(domain.engine.acquire(who, r, trying(kind)));
  }
  void ask(Context& who, Wait& wait, ResourcePriority priority = ResourcePriority::Normal) {
    Grant grant;
    const auto request = blocking(HoldKind::Exclusive, priority);
    const auto at_once = domain.engine.begin(who, r, request, wait, grant);
    ASSERT_TRUE(at_once && !*at_once);
  }
  [[nodiscard]] bool is_decided(const Wait& wait) const { return domain.engine.is_decided(wait); }
  /// Nobody has taken the latch since they asked.
  [[nodiscard]] bool is_left() const {
    return load(domain.slot(r).inbox_link) != 0 && load(domain.slot(r).queue_head_link) == 0;
  }

  Domain domain;
  Handle r = domain.arm(1);
  Context& a = domain.open();
  Context& b = domain.open();
  Context& c = domain.open();
  Wait first;
  Wait second;
};

TEST_F(Leave, TheHolderSortsItInWhenHeLetsGo) {
  hold(a);
  ask(b, first);
  EXPECT_TRUE(is_left());
  EXPECT_TRUE(domain.word(r).has(RM_WORD_WAITERS));
  EXPECT_EQ(domain.word(r).latch(), 0);
  EXPECT_EQ(domain.engine.count_waiters(r), 1u);
  ASSERT_TRUE(domain.engine.release(a, r, HoldKind::Exclusive));
  EXPECT_FALSE(is_left());
  ASSERT_TRUE(is_decided(first));
  ASSERT_TRUE(domain.engine.finish(b, first));
  EXPECT_EQ(domain.engine.counters(r)->contended, 1u);
}

// So that no hand-off has many to sort.
TEST_F(Leave, WhoFindsOneThatWasLeftSortsBothIn) {
  hold(a);
  ask(b, first, ResourcePriority::Low);
  ask(c, second, ResourcePriority::High);
  EXPECT_FALSE(is_left());
  EXPECT_EQ(domain.word(r).latch(), 0);
  ASSERT_TRUE(domain.engine.release(a, r, HoldKind::Exclusive));
  EXPECT_FALSE(is_left());
  EXPECT_FALSE(is_decided(first));
  ASSERT_TRUE(is_decided(second)) << "it has more priority";
  ASSERT_TRUE(domain.engine.finish(c, second));
  ASSERT_TRUE(domain.engine.release(c, r, HoldKind::Exclusive));
  ASSERT_TRUE(domain.engine.finish(b, first));
  EXPECT_EQ(domain.engine.counters(r)->contended, 2u);
}

TEST_F(Leave, WhoIsGrantedItIsTheNextHolder) {
  hold(a);
  ask(b, first);
  ASSERT_TRUE(domain.engine.release(a, r, HoldKind::Exclusive));
  // Granted, and not taken: he serves who asks now.
  ask(c, second);
  ASSERT_TRUE(domain.engine.finish(b, first));
  ASSERT_TRUE(domain.engine.release(b, r, HoldKind::Exclusive));
  EXPECT_TRUE(is_decided(second));
}

TEST_F(Leave, WhoGivesUpIsSweptOut) {
  hold(a);
  ask(b, first);
  ASSERT_TRUE(domain.engine.give_up(first, RM_NODE_CANCELLED));
  EXPECT_FALSE(domain.engine.finish(b, first));
  EXPECT_EQ(domain.engine.count_waiters(r), 0u);
  EXPECT_FALSE(domain.word(r).has(RM_WORD_WAITERS));
  ASSERT_TRUE(domain.engine.release(a, r, HoldKind::Exclusive));
  EXPECT_TRUE(is_free(domain.word(r)));
}

TEST_F(Leave, ReadersLeaveTheWordToNobody) {
  hold(a, HoldKind::Shared);
  ask(b, first);
  EXPECT_FALSE(is_left()) << "whoever of them goes last may not look";
  ASSERT_TRUE(domain.engine.release(a, r, HoldKind::Shared));
  EXPECT_TRUE(is_decided(first));
}

TEST_F(Leave, WhoAsksForWhatIsPoisonedIsToldAtOnce) {
  hold(a);
  Recovery recovery(domain.engine);
  recovery.bar(r);
  Grant grant;
  const auto begun = domain.engine.begin(b, r, blocking(), first, grant);
  EXPECT_TRUE(!begun || is_decided(first));
}

TEST_F(Leave, WhoBuriesTheHolderServesThem) {
  Context& dead = *domain.contexts.open(kOtherClient, 0, 0, nullptr).value();
  hold(dead);
  ask(b, first);
  EXPECT_TRUE(is_left());
  Recovery recovery(domain.engine);
  (void)recovery.mark_dead(kOtherClient);
  // Also who asks between the two.
  ask(c, second);
  (void)recovery.run(domain.tables().slot_count);
  ASSERT_TRUE(is_decided(first));
  const auto grant = domain.engine.finish(b, first);
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent);
  ASSERT_TRUE(domain.engine.release(b, r, HoldKind::Exclusive));
  EXPECT_TRUE(is_decided(second));
}

}  // namespace
}  // namespace resmgr::lock::test
