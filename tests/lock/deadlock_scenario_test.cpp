// SPDX-License-Identifier: Apache-2.0
//
// Deadlocks one at a time (I7 to I9), whatever the performers are: threads of one process, or
// processes of a served domain.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/lock/stage.hpp"

namespace resmgr::lock::test {
namespace {

class DeadlockScenario : public ::testing::Test {
 protected:
  /// Each member waits for what the next one holds.
  static std::vector<std::uint32_t> contexts(const Error& error) {
    std::vector<std::uint32_t> ids;
    for (const Participant& who : error.cycle()) ids.push_back(who.context);
    return ids;
  }
  /// All that a cycle says of a member, who may be in another process.
  static ::testing::AssertionResult is_told_of(const Participant& told, const Performer& who,
                                               const char* driver, Handle handle,
                                               const char* resource) {
    const bool same = told.context == who.id() && told.pid == who.pid() &&
                      std::string(told.driver.data()) == driver && told.handle == handle &&
                      std::string(told.resource.data()) == resource;
    if (same && told.held_ns > 0 && told.held_ns < kLongNs) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << told.driver.data() << ", pid " << told.pid << ", context " << told.context << ", "
           << told.resource.data() << ", for " << told.held_ns << " ns";
  }

  std::unique_ptr<Stage> stage = set_stage();
  std::array<Handle, 3> r{stage->resource(0), stage->resource(1), stage->resource(2)};
  std::unique_ptr<Performer> a = stage->enter(1);
  std::unique_ptr<Performer> b = stage->enter(2);
  std::unique_ptr<Performer> c = stage->enter(3);
};

TEST_F(DeadlockScenario, TheYoungestOfTwoIsRefusedWithTheWholeCycle) {
  ASSERT_TRUE(a->acquire(r[0]));
  ASSERT_TRUE(b->acquire(r[1]));
  a->begin(r[1], blocking());
  const Outcome refused = b->acquire(r[0], blocking());
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  EXPECT_EQ(contexts(refused.error()), (std::vector<std::uint32_t>{b->id(), a->id()}));
  const auto& cycle = refused.error().cycle();
  EXPECT_TRUE(is_told_of(cycle[0], *b, "driver-2", r[0], "resource-0"));
  EXPECT_TRUE(is_told_of(cycle[1], *a, "driver-1", r[1], "resource-1"));
  EXPECT_EQ(refused.error().blame().context, a->id());
  EXPECT_EQ(refused.error().blame().pid, a->pid());
  EXPECT_EQ(stage->deadlocks(), 1u);
  EXPECT_FALSE(a->finished());
  ASSERT_TRUE(b->release(r[1]));
  EXPECT_TRUE(a->finish());
  EXPECT_EQ(stage->late(), 0u);
}

TEST_F(DeadlockScenario, TheLowestPriorityIsTheVictimWhoeverFindsIt) {
  ASSERT_TRUE(a->acquire(r[0]));
  ASSERT_TRUE(b->acquire(r[1]));
  a->begin(r[1], blocking(HoldKind::Exclusive, ResourcePriority::Low));
  b->begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::High));
  const Outcome refused = a->finish();
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock)) << "woken though he slept";
  EXPECT_EQ(contexts(refused.error()), (std::vector<std::uint32_t>{a->id(), b->id()}));
  EXPECT_FALSE(b->finished());
  ASSERT_TRUE(a->release(r[0]));
  EXPECT_TRUE(b->finish());
  EXPECT_EQ(stage->late(), 0u);
}

// A lent priority moves one up in the queue; as a victim he is worth what he asked for.
TEST_F(DeadlockScenario, ALoanDoesNotChangeTheVictim) {
  const auto patron = stage->enter();
  ASSERT_TRUE(a->acquire(r[0]));
  ASSERT_TRUE(b->acquire(r[1]));
  a->begin(r[1], blocking(HoldKind::Exclusive, ResourcePriority::Low));
  patron->begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::Critical));
  b->begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::Normal));
  EXPECT_TRUE(fails_with(a->finish(), ErrorCode::Deadlock));
  ASSERT_TRUE(a->release(r[0]));
  ASSERT_TRUE(patron->finish());
  ASSERT_TRUE(patron->release(r[0]));
  EXPECT_TRUE(b->finish());
}

TEST_F(DeadlockScenario, AnEmergencyWoundsTheOthers) {
  ASSERT_TRUE(a->acquire(r[0]));
  ASSERT_TRUE(b->acquire(r[1]));
  a->begin(r[1], blocking(HoldKind::Exclusive, ResourcePriority::Critical));
  b->begin(r[0], emergency());
  EXPECT_TRUE(fails_with(a->finish(), ErrorCode::Preempted));
  ASSERT_TRUE(a->release(r[0]));
  EXPECT_TRUE(b->finish());
}

TEST_F(DeadlockScenario, AmongEmergenciesTheYoungestIsTheVictim) {
  ASSERT_TRUE(a->acquire(r[0]));
  ASSERT_TRUE(b->acquire(r[1]));
  a->begin(r[1], emergency());
  EXPECT_TRUE(fails_with(b->acquire(r[0], emergency()), ErrorCode::Deadlock));
  ASSERT_TRUE(b->release(r[1]));
  EXPECT_TRUE(a->finish());
}

TEST_F(DeadlockScenario, EverySharedHolderIsFollowed) {
  ASSERT_TRUE(a->share(r[0]));
  ASSERT_TRUE(b->share(r[0]));
  ASSERT_TRUE(c->acquire(r[1]));
  // Whichever of the two stands first in the chain.
  for (Performer* holder : {a.get(), b.get()}) {
    holder->begin(r[1], blocking());
    ASSERT_FALSE(holder->finished());
    EXPECT_TRUE(fails_with(c->acquire(r[0], blocking()), ErrorCode::Deadlock));
    ASSERT_TRUE(c->release(r[1]));
    ASSERT_TRUE(holder->finish());
    ASSERT_TRUE(holder->release(r[1]));
    ASSERT_TRUE(c->acquire(r[1]));
  }
}

// a holds R shared; b queues for it exclusively; c, who wants to share R and would, waits for b.
TEST_F(DeadlockScenario, EarlierWaitersAreFollowed) {
  ASSERT_TRUE(a->share(r[0]));
  ASSERT_TRUE(c->acquire(r[1]));
  b->begin(r[0], blocking());
  a->begin(r[1], blocking());
  const Outcome refused = c->acquire(r[0], blocking(HoldKind::Shared));
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  EXPECT_EQ(contexts(refused.error()), (std::vector<std::uint32_t>{c->id(), b->id(), a->id()}));
  ASSERT_TRUE(c->release(r[1]));
  ASSERT_TRUE(a->finish());
  ASSERT_TRUE(a->release(r[0], HoldKind::Shared));
  EXPECT_TRUE(b->finish());
}

TEST_F(DeadlockScenario, SharingWithoutConflictIsNone) {
  ASSERT_TRUE(a->share(r[0]));
  ASSERT_TRUE(b->share(r[1]));
  EXPECT_TRUE(a->acquire(r[1], blocking(HoldKind::Shared)));
  EXPECT_TRUE(b->acquire(r[0], blocking(HoldKind::Shared)));
  EXPECT_EQ(stage->deadlocks(), 0u);
}

TEST_F(DeadlockScenario, AChainOfAnyDepthIsFollowed) {
  constexpr std::uint32_t kDepth = 100;
  const auto deep = set_stage({.resources = kDepth, .performers = kDepth});
  std::vector<std::unique_ptr<Performer>> chain;
  for (std::uint32_t i = 0; i < kDepth; ++i) {
    chain.push_back(deep->enter());
    ASSERT_TRUE(chain[i]->acquire(deep->resource(i)));
  }
  for (std::uint32_t i = 0; i + 1 < kDepth; ++i) chain[i]->begin(deep->resource(i + 1), blocking());
  const Outcome refused = chain[kDepth - 1]->acquire(deep->resource(0), blocking());
  ASSERT_TRUE(fails_with(refused, ErrorCode::Deadlock));
  EXPECT_EQ(refused.error().cycle().size(), kDepth);
  for (std::uint32_t i = kDepth - 1; i > 0; --i) {
    ASSERT_TRUE(chain[i]->release(deep->resource(i)));
    ASSERT_TRUE(chain[i - 1]->finish());
    ASSERT_TRUE(chain[i - 1]->release(deep->resource(i)));
  }
}

TEST_F(DeadlockScenario, OneRequestMayCloseTwoCycles) {
  ASSERT_TRUE(a->share(r[0]));
  ASSERT_TRUE(b->share(r[0]));
  ASSERT_TRUE(c->acquire(r[1]));
  ASSERT_TRUE(c->acquire(r[2]));
  a->begin(r[1], blocking(HoldKind::Exclusive, ResourcePriority::Low));
  b->begin(r[2], blocking(HoldKind::Exclusive, ResourcePriority::Low));
  c->begin(r[0], blocking(HoldKind::Exclusive, ResourcePriority::High));
  EXPECT_TRUE(fails_with(a->finish(), ErrorCode::Deadlock));
  EXPECT_TRUE(fails_with(b->finish(), ErrorCode::Deadlock));
  EXPECT_EQ(stage->deadlocks(), 2u);
  ASSERT_TRUE(a->release(r[0], HoldKind::Shared));
  ASSERT_TRUE(b->release(r[0], HoldKind::Shared));
  EXPECT_TRUE(c->finish());
}

}  // namespace
}  // namespace resmgr::lock::test
