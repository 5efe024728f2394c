// SPDX-License-Identifier: Apache-2.0
//
// Waiting for any of several: one outcome, one hold (I11), and a deadlock only where every
// alternative is one.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

class AnyOf : public ::testing::Test {
 protected:
  struct Asked {
    Wait wait;
    std::array<Wait, 4> members;
  };

  void TearDown() override {
    const Census census = take_census(domain);
    EXPECT_EQ(census.nodes_lost, 0u);
    EXPECT_EQ(census.cells_lost, 0u);
  }
  void hold(Context& who, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    ASSERT_TRUE(domain.engine.acquire(who, handle, trying(kind)));
  }
  void release(Context& who, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    ASSERT_TRUE(domain.engine.release(who, handle, kind));
  }
  Result<bool> begin(Context& who, std::span<const Handle> any, Asked& asked,
                     const Request& request = blocking()) {
    Grant grant;
    return domain.engine.begin_any(who, any, request, asked.wait, asked.members, grant);
  }
  ::testing::AssertionResult waits(Context& who, std::span<const Handle> any, Asked& asked,
                                   const Request& request = blocking()) {
    const auto begun = begin(who, any, asked, request);
    if (!begun) return ::testing::AssertionFailure() << begun.error().message();
    if (*begun) return ::testing::AssertionFailure() << "it was had at once";
    if (domain.engine.is_decided(asked.wait)) return ::testing::AssertionFailure() << "decided";
    return ::testing::AssertionSuccess();
  }
  Result<Grant> finish(Context& who, Asked& asked) {
    EXPECT_TRUE(domain.engine.is_decided(asked.wait));
    return domain.engine.finish(who, asked.wait);
  }
  ErrorCode refusal(Context& who, Asked& asked) {
    const auto grant = finish(who, asked);
    return grant ? ErrorCode{} : grant.error().code();
  }

  Domain domain;
  std::array<Handle, 4> r{domain.arm(1), domain.arm(2), domain.arm(3), domain.arm(4)};
  Context& a = domain.open(0, this_thread());
  Context& b = domain.open(0, this_thread());
  Context& c = domain.open(0, this_thread());
};

TEST_F(AnyOf, TheFirstThatIsFreeIsHadAtOnce) {
  hold(a, r[0]);
  Asked asked;
  ASSERT_TRUE(begin(b, r, asked).value());
  EXPECT_EQ(asked.wait.handle, r[1]);
  EXPECT_TRUE(domain.engine.held_kind(b, r[1]));
  EXPECT_FALSE(domain.engine.held_kind(b, r[2]));
}

TEST_F(AnyOf, OneIsTakenAndTheOthersAreLeftToOthers) {
  for (const Handle handle : r) hold(a, handle);
  Asked asked;
  ASSERT_TRUE(waits(b, r, asked));
  for (const Handle handle : r) EXPECT_EQ(domain.engine.count_waiters(handle), 1u);
  release(a, r[2]);
  release(a, r[1]);
  ASSERT_TRUE(finish(b, asked));
  EXPECT_EQ(asked.wait.handle, r[2]);
  EXPECT_EQ(*domain.engine.held_kind(b, r[2]), HoldKind::Exclusive);
  EXPECT_FALSE(domain.engine.held_kind(b, r[1]));
  EXPECT_TRUE(is_free(domain.word(r[1])));
  for (const Handle handle : r) EXPECT_EQ(domain.engine.count_waiters(handle), 0u);
  release(a, r[0]);
  EXPECT_TRUE(is_free(domain.word(r[0])));
}

// Before its owner looks, the other resource is free for who stands behind him.
TEST_F(AnyOf, WhatIsNotTakenGoesToTheNextInItsQueue) {
  hold(a, r[0]);
  hold(a, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
  Wait behind;
  Grant grant;
  ASSERT_FALSE(domain.engine.begin(c, r[1], blocking(), behind, grant).value());
  release(a, r[0]);
  release(a, r[1]);
  ASSERT_TRUE(domain.engine.is_decided(behind));
  ASSERT_TRUE(domain.engine.finish(c, behind));
  ASSERT_TRUE(finish(b, asked));
  EXPECT_EQ(asked.wait.handle, r[0]);
}

TEST_F(AnyOf, SharesAreOfferedLikeHolds) {
  hold(a, r[0]);
  hold(a, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked, blocking(HoldKind::Shared)));
  release(a, r[1]);
  ASSERT_TRUE(finish(b, asked));
  EXPECT_EQ(*domain.engine.held_kind(b, r[1]), HoldKind::Shared);
  EXPECT_FALSE(domain.engine.held_kind(b, r[0]));
  release(b, r[1], HoldKind::Shared);
  release(a, r[0]);
}

TEST_F(AnyOf, WhoGivesUpHasNothing) {
  for (const unsigned outcome : {RM_NODE_CANCELLED, RM_NODE_TIMED_OUT}) {
    hold(a, r[0]);
    hold(a, r[1]);
    Asked asked;
    ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
    ASSERT_TRUE(domain.engine.give_up(asked.wait, outcome));
    release(a, r[0]);
    EXPECT_EQ(refusal(b, asked),
              outcome == RM_NODE_CANCELLED ? ErrorCode::Cancelled : ErrorCode::TimedOut);
    release(a, r[1]);
    for (const Handle handle : r) EXPECT_TRUE(is_free(domain.word(handle)));
  }
}

TEST_F(AnyOf, ThreadsSleepForIt) {
  Actor holder(domain);
  Actor taker(domain);
  ASSERT_TRUE(holder.acquire(r[0]));
  ASSERT_TRUE(holder.acquire(r[1]));
  auto asked = std::make_unique<Asked>();
  for (const Request& request : {blocking(), timed(kLongNs), emergency()}) {
    taker.start([&](Context& me) {
      return domain.engine.acquire_any(me, std::span(r).first(2), request, asked->wait,
                                       asked->members);
    });
    wait_until([&] { return taker.settled(); });
    ASSERT_FALSE(taker.finished());
    ASSERT_TRUE(holder.release(r[1]));
    ASSERT_TRUE(taker.finish());
    EXPECT_TRUE(taker.holds(r[1]));
    ASSERT_TRUE(taker.release(r[1]));
    ASSERT_TRUE(holder.acquire(r[1]));
  }
  EXPECT_TRUE(fails_with(taker.run_call([&](Context& me) {
    return domain.engine.acquire_any(me, std::span(r).first(2), timed(1'000'000), asked->wait,
                                     asked->members);
  }),
                         ErrorCode::TimedOut));
}

TEST_F(AnyOf, WhatCanNotBeHadIsLeftOut) {
  domain.arm(5, 0, RM_SLOT_ATTR_EXCLUSIVE_ONLY);
  const Handle exclusive(5, 1);
  const std::array any{Handle(9, 1), Handle(1, 7), exclusive, r[0], r[0]};
  hold(a, r[0]);
  hold(b, r[1]);
  Asked asked;
  Wait wait;
  std::array<Wait, 5> members;
  Grant grant;
  const auto begun =
      domain.engine.begin_any(b, any, blocking(HoldKind::Shared), wait, members, grant);
  ASSERT_TRUE(begun && !*begun);
  EXPECT_EQ(wait.members.size(), 1u) << "neither twice";
  ASSERT_TRUE(domain.engine.give_up(wait, RM_NODE_CANCELLED));
  EXPECT_FALSE(domain.engine.finish(b, wait));
  // His own is no way either.
  const std::array own{r[1], r[0]};
  ASSERT_TRUE(waits(b, own, asked));
  EXPECT_EQ(asked.wait.members.size(), 1u);
  ASSERT_TRUE(domain.engine.give_up(asked.wait, RM_NODE_CANCELLED));
  EXPECT_EQ(refusal(b, asked), ErrorCode::Cancelled);
}

TEST_F(AnyOf, RefusesWhatCanNotBe) {
  Asked asked;
  const auto code = [&](std::span<const Handle> any, const Request& request = blocking()) {
    const auto begun = begin(b, any, asked, request);
    return begun ? ErrorCode{} : begun.error().code();
  };
  EXPECT_EQ(code({}), ErrorCode::InvalidArgument);
  const std::array stale{Handle(1, 7), Handle(9, 1)};
  EXPECT_EQ(code(stale), ErrorCode::StaleHandle);
  hold(b, r[0]);
  EXPECT_EQ(code(std::span(r).first(1)), ErrorCode::Deadlock);
  hold(a, r[1]);
  const auto refused = begin(c, std::span(r).first(2), asked, trying());
  ASSERT_EQ(refused.error().code(), ErrorCode::WouldBlock);
  EXPECT_EQ(refused.error().blame().context, b.id);
  // No room.
  Grant grant;
  const auto cramped = domain.engine.begin_any(c, std::span(r).first(2), blocking(), asked.wait,
                                               std::span(asked.members).first(1), grant);
  EXPECT_EQ(cramped.error().code(), ErrorCode::InvalidArgument);
}

class AnyOfFewNodes : public ::testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Nodes, AnyOfFewNodes, ::testing::Values(1u, 2u, 3u));

TEST_P(AnyOfFewNodes, NeedsANodeForEach) {
  Capacities few = kSmall;
  few.nodes = GetParam();
  Domain domain(few);
  const std::array r{domain.arm(1), domain.arm(2), domain.arm(3)};
  Context& a = domain.open(0, this_thread());
  Context& b = domain.open(0, this_thread());
  for (const Handle handle : r) ASSERT_TRUE(domain.engine.acquire(a, handle, trying()));
  for (const bool enough : {false, few.nodes == 3}) {
    Wait wait;
    std::array<Wait, 3> members;
    Grant grant;
    const auto begun = domain.engine.begin_any(b, std::span(r).first(enough ? 2 : 3), blocking(),
                                               wait, members, grant);
    EXPECT_EQ(begun.has_value(), enough);
    if (!begun) {
      EXPECT_EQ(begun.error().code(), ErrorCode::CapacityExceeded);
      EXPECT_EQ(wait.slot, nullptr);
    } else {
      ASSERT_TRUE(domain.engine.give_up(wait, RM_NODE_CANCELLED));
      EXPECT_FALSE(domain.engine.finish(b, wait));
    }
    EXPECT_EQ(b.waits, nullptr);
    for (const Handle handle : r) EXPECT_EQ(domain.engine.count_waiters(handle), 0u);
  }
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
}

TEST_F(AnyOf, OneThatGoesIsOneFewer) {
  hold(a, r[0]);
  hold(c, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
  ASSERT_TRUE(domain.engine.sleep_on(b, asked.wait));
  ASSERT_TRUE(domain.engine.retire(a, r[0], 0));
  EXPECT_FALSE(NodeWord{load(asked.wait.waiter.node->word)}.asleep()) << "he is to look again";
  EXPECT_FALSE(domain.engine.is_decided(asked.wait));
  ASSERT_TRUE(domain.engine.sleep_on(b, asked.wait));
  ASSERT_TRUE(domain.engine.retire(c, r[1], 0));
  EXPECT_FALSE(domain.engine.sleep_on(b, asked.wait)) << "nothing is left to wait for";
  EXPECT_EQ(refusal(b, asked), ErrorCode::StaleHandle);
}

// The other way is a cycle: now it is a deadlock.
TEST_F(AnyOf, TheLastWayMayBeACycle) {
  hold(b, r[2]);
  hold(a, r[0]);
  hold(c, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
  Wait other;
  Grant grant;
  ASSERT_FALSE(domain.engine.begin(a, r[2], blocking(), other, grant).value());
  ASSERT_FALSE(domain.engine.is_decided(other)) << "the other way is open";
  ASSERT_TRUE(domain.engine.retire(c, r[1], 0));
  domain.engine.look_again(b, asked.wait);
  ASSERT_TRUE(domain.engine.is_decided(asked.wait) || domain.engine.is_decided(other));
  ASSERT_TRUE(domain.engine.is_decided(other)) << "the youngest";
  EXPECT_EQ(domain.engine.finish(a, other).error().code(), ErrorCode::Deadlock);
  release(a, r[0]);
  EXPECT_TRUE(finish(b, asked));
}

TEST_F(AnyOf, ACycleIsNoDeadlockWhileThereIsAnotherWay) {
  hold(b, r[2]);
  hold(a, r[0]);
  hold(c, r[1]);
  Wait other;
  Grant grant;
  ASSERT_FALSE(domain.engine.begin(a, r[2], blocking(), other, grant).value());
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
  release(c, r[1]);
  ASSERT_TRUE(finish(b, asked));
  EXPECT_EQ(asked.wait.handle, r[1]);
  release(b, r[1]);
  release(b, r[2]);
  EXPECT_TRUE(domain.engine.finish(a, other));
}

TEST_F(AnyOf, ItIsADeadlockIfEveryWayIsOne) {
  hold(b, r[2]);
  hold(a, r[0]);
  hold(c, r[1]);
  Wait first;
  Wait second;
  Grant grant;
  ASSERT_FALSE(domain.engine.begin(a, r[2], blocking(), first, grant).value());
  ASSERT_FALSE(domain.engine.begin(c, r[2], blocking(), second, grant).value());
  Asked asked;
  ASSERT_FALSE(begin(b, std::span(r).first(2), asked).value());
  const auto refused = finish(b, asked);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::Deadlock) << "he is the youngest";
  ASSERT_EQ(refused.error().cycle().size(), 3u) << "all who are stuck";
  EXPECT_EQ(refused.error().cycle().front().context, b.id);
  EXPECT_EQ(load(domain.tables().region->deadlocks), 1u);
  release(b, r[2]);
  ASSERT_TRUE(domain.engine.finish(a, first));
  release(a, r[2]);
  ASSERT_TRUE(domain.engine.finish(c, second));
}

// Whoever closes it: here the last way of a group that waits already.
TEST_F(AnyOf, WhoMakesTheLastWayACycleFindsIt) {
  hold(b, r[2]);
  hold(a, r[0]);
  hold(c, r[1]);
  Asked asked;
  ASSERT_TRUE(
      waits(b, std::span(r).first(2), asked, blocking(HoldKind::Exclusive, ResourcePriority::Low)));
  Wait first;
  Wait second;
  Grant grant;
  ASSERT_FALSE(domain.engine.begin(a, r[2], blocking(), first, grant).value());
  ASSERT_FALSE(domain.engine.is_decided(asked.wait));
  ASSERT_FALSE(domain.engine.begin(c, r[2], blocking(), second, grant).value());
  ASSERT_TRUE(domain.engine.is_decided(asked.wait)) << "the lowest priority";
  EXPECT_EQ(refusal(b, asked), ErrorCode::Deadlock);
  release(b, r[2]);
  ASSERT_TRUE(domain.engine.finish(a, first));
  release(a, r[2]);
  ASSERT_TRUE(domain.engine.finish(c, second));
}

TEST_F(AnyOf, AnEmergencyWoundsAGroup) {
  hold(b, r[2]);
  hold(a, r[0]);
  hold(a, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked,
                    blocking(HoldKind::Exclusive, ResourcePriority::Critical)));
  Wait urgent;
  Grant grant;
  ASSERT_FALSE(domain.engine.begin(a, r[2], emergency(), urgent, grant).value());
  EXPECT_EQ(refusal(b, asked), ErrorCode::Preempted);
  release(b, r[2]);
  EXPECT_TRUE(domain.engine.finish(a, urgent));
}

TEST_F(AnyOf, ItsTicketIsOneInAllQueues) {
  hold(a, r[0]);
  hold(a, r[1]);
  Asked first;
  ASSERT_TRUE(waits(b, std::span(r).first(2), first));
  Asked second;
  ASSERT_TRUE(waits(c, std::span(r).first(2), second));
  release(a, r[1]);
  ASSERT_TRUE(finish(b, first)) << "he came first";
  EXPECT_FALSE(domain.engine.is_decided(second.wait));
  release(b, r[1]);
  ASSERT_TRUE(finish(c, second));
  release(a, r[0]);
}

// A context that closes gives up all of it.
TEST_F(AnyOf, EndsWithItsContext) {
  for (const bool granted : {false, true}) {
    Context& leaver = domain.open(0, this_thread());
    hold(a, r[0]);
    hold(a, r[1]);
    Asked asked;
    ASSERT_TRUE(waits(leaver, std::span(r).first(2), asked));
    if (granted) release(a, r[1]);
    domain.engine.abandon_waits(leaver, ErrorCode::Cancelled);
    EXPECT_EQ(asked.wait.slot, nullptr);
    EXPECT_EQ(leaver.waits, nullptr);
    domain.contexts.close(leaver, false);
    if (!granted) release(a, r[1]);
    release(a, r[0]);
    for (const Handle handle : r) EXPECT_TRUE(is_free(domain.word(handle)));
  }
}

// A granter who died between the two words: whoever looks completes it.
TEST_F(AnyOf, AGrantThatTheMemberDoesNotSayYetIsOne) {
  hold(a, r[0]);
  hold(a, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
  rm_node& whole = *asked.wait.waiter.node;
  rm_node& member = *asked.wait.members[1].waiter.node;
  const NodeWord word{load(whole.word)};
  store(whole.word, word.to_grant_of(domain.tables().link_of(&member)).bits);
  EXPECT_EQ(state_of(domain.tables(), member, NodeWord{load(member.word)}), RM_NODE_GRANTED + 0u);
  store(domain.slot(r[1]).word, StateWord{load(domain.slot(r[1]).word)}.with_owner(b.id).bits);
  ASSERT_TRUE(finish(b, asked));
  EXPECT_EQ(asked.wait.handle, r[1]);
  release(b, r[1]);
}

// What a peer wrote there names none of those that were asked for.
TEST_F(AnyOf, AGrantOfSomethingElseIsNone) {
  hold(a, r[0]);
  hold(a, r[1]);
  Asked asked;
  ASSERT_TRUE(waits(b, std::span(r).first(2), asked));
  rm_node& whole = *asked.wait.waiter.node;
  store(whole.word, NodeWord{load(whole.word)}.to_grant_of(200).bits);
  EXPECT_EQ(refusal(b, asked), ErrorCode::Cancelled);
  for (const Handle handle : r) EXPECT_EQ(domain.engine.count_waiters(handle), 0u);
}

TEST_F(AnyOf, ASequenceNumberIsNotUsedTwice) {
  hold(a, r[0]);
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    Asked asked;
    ASSERT_TRUE(waits(b, std::span(r).first(1), asked));
    const std::uint64_t sequence = asked.wait.waiter.word.sequence();
    EXPECT_EQ(sequence & NodeWord::kGroupLinkMask, 0u);
    EXPECT_GT(sequence, last);
    release(a, r[0]);
    ASSERT_TRUE(finish(b, asked));
    last = NodeWord{load(asked.wait.waiter.node->word)}.sequence();
    EXPECT_GT(last, sequence) << "it names who was granted";
    release(b, r[0]);
    hold(a, r[0]);
  }
}

}  // namespace
}  // namespace resmgr::lock::test
