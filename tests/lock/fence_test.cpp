// SPDX-License-Identifier: Apache-2.0
//
// Taking from the living: who is fenced, what becomes of the hold, and of those who wait (I1, I10).
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "resmgr/lock/fence.hpp"
#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint8_t kLastTenure = std::numeric_limits<std::uint8_t>::max();

class FenceTest : public ::testing::Test {
 protected:
  FenceTest() { ended_.reserve(8); }

  /// All three steps, as if the owner had made it quiet.
  Fence::Outcome take(Handle handle) {
    ended_.clear();
    if (!fence_.close(handle)) return Fence::Outcome::NotNeeded;
    const Fence::Outcome outcome = fence_.end_holds(handle, ended_);
    fence_.open(handle);
    return outcome;
  }
  [[nodiscard]] Handle held(const Outcome& grant) const { return h_.with_tenure(grant->tenure); }
  [[nodiscard]] std::uint8_t tenure() const { return load(domain_.slot(h_).tenure); }
  [[nodiscard]] static std::uint64_t entries(const Actor& actor) {
    return HoldList(actor.context()).bitmap();
  }

  Domain domain_;
  Fence fence_{domain_.engine};
  Handle h_ = domain_.arm(1);
  std::vector<Participant> ended_;
};

TEST_F(FenceTest, TheEmergencyIsServedAndTheOldHoldIsRevoked) {
  Actor holder(domain_), urgent(domain_);
  const Outcome old = holder.acquire(h_);
  ASSERT_TRUE(old);
  urgent.begin(h_, emergency());
  ASSERT_FALSE(urgent.finished());
  EXPECT_EQ(take(h_), Fence::Outcome::Done);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(ended_[0].context, holder.id());
  EXPECT_EQ(ended_[0].kind, HoldKind::Exclusive);
  const Outcome grant = urgent.finish();
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->inconsistent) << "he was cut off in the middle";
  EXPECT_EQ(grant->tenure, old->tenure + 1);
  EXPECT_TRUE(urgent.consistent(held(grant)));

  EXPECT_EQ(entries(holder), 1u);
  EXPECT_TRUE(fails_with(holder.release(held(old)), ErrorCode::Revoked));
  EXPECT_EQ(entries(holder), 0u) << "the list of holds is right again";
  EXPECT_EQ(domain_.word(h_).owner(), urgent.id());
  EXPECT_TRUE(fails_with(holder.release(held(old)), ErrorCode::Revoked)) << "as often as he likes";
  EXPECT_TRUE(fails_with(holder.release(held(grant)), ErrorCode::NotPermitted));
  ASSERT_TRUE(urgent.release(held(grant)));
  const Outcome next = holder.acquire(h_);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->tenure, grant->tenure);
  EXPECT_TRUE(holder.release(held(next)));
}

TEST_F(FenceTest, AllReadersAreFenced) {
  Actor a(domain_), b(domain_), urgent(domain_);
  const Outcome first = a.share(h_);
  const Outcome second = b.share(h_);
  ASSERT_TRUE(first && second);
  urgent.begin(h_, emergency());
  EXPECT_EQ(take(h_), Fence::Outcome::Done);
  EXPECT_EQ(ended_.size(), 2u);
  const Outcome grant = urgent.finish();
  ASSERT_TRUE(grant);
  EXPECT_FALSE(grant->inconsistent) << "who reads changes nothing";
  for (Actor* reader : {&a, &b}) {
    EXPECT_EQ(reader->holds(h_), std::nullopt);
    EXPECT_TRUE(fails_with(reader->release(held(first), HoldKind::Shared), ErrorCode::Revoked));
    EXPECT_EQ(entries(*reader), 0u);
  }
  ASSERT_TRUE(urgent.release(held(grant)));
  for (Actor* reader : {&a, &b}) EXPECT_TRUE(reader->share(h_));
  EXPECT_EQ(take_census(domain_).cells_in_use, 2u);
}

// State unchanged, whatever he tries; and all that he tries says the same.
TEST_F(FenceTest, WhateverTheOldHolderTriesIsRevoked) {
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    Actor holder(domain_), urgent(domain_);
    const Outcome old = holder.acquire(h_, trying(kind));
    ASSERT_TRUE(old);
    urgent.begin(h_, emergency());
    ASSERT_EQ(take(h_), Fence::Outcome::Done);
    const Outcome grant = urgent.finish();
    ASSERT_TRUE(grant);
    const auto all_is_revoked = [&] {
      EXPECT_TRUE(fails_with(holder.downgrade(held(old)), ErrorCode::Revoked));
      EXPECT_TRUE(fails_with(holder.upgrade(held(old)), ErrorCode::Revoked));
      EXPECT_TRUE(fails_with(holder.upgrade(held(old), blocking()), ErrorCode::Revoked));
      EXPECT_TRUE(fails_with(holder.consistent(held(old)), ErrorCode::Revoked));
      for (const HoldKind wanted : {HoldKind::Exclusive, HoldKind::Shared}) {
        EXPECT_TRUE(fails_with(holder.acquire(h_, trying(wanted)), ErrorCode::Revoked));
        EXPECT_TRUE(fails_with(holder.acquire(h_, timed(0, wanted)), ErrorCode::Revoked));
        (void)holder.run_call([&](Context& me) -> Outcome {
          make_plain(domain_.engine, me);
          EXPECT_FALSE(give_fast(domain_.engine, me, held(old), wanted));
          EXPECT_FALSE(take_fast(domain_.engine, me, h_, wanted));
          Grant none;
          EXPECT_FALSE(domain_.engine.try_shared(me, h_, true, {}, none));
          EXPECT_FALSE(domain_.engine.try_exclusive(me, h_, true, {}, none));
          return Grant{};
        });
      }
    };
    const StateWord word = domain_.word(h_);
    all_is_revoked();
    EXPECT_EQ(domain_.word(h_), word);
    ASSERT_TRUE(urgent.release(held(grant)));
    const StateWord free = domain_.word(h_);
    all_is_revoked();
    EXPECT_EQ(domain_.word(h_), free);
    EXPECT_TRUE(fails_with(holder.release(held(old), kind), ErrorCode::Revoked));
    EXPECT_TRUE(holder.acquire(h_));
  }
}

TEST_F(FenceTest, AReleaseFromAnotherThreadActsOnNothing) {
  Actor holder(domain_), urgent(domain_);
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    const Outcome old = holder.acquire(h_, trying(kind));
    ASSERT_TRUE(old);
    urgent.begin(h_, emergency());
    ASSERT_EQ(take(h_), Fence::Outcome::Done);
    const Outcome grant = urgent.finish();
    ASSERT_TRUE(grant);
    ASSERT_TRUE(urgent.release(held(grant)));
    const auto stale = domain_.engine.release(holder.context(), held(old), kind);
    ASSERT_FALSE(stale);
    EXPECT_EQ(stale.error(), ErrorCode::Revoked);
    const Outcome next = holder.acquire(h_, trying(kind));
    ASSERT_TRUE(next);
    for (const HoldKind wrong : {HoldKind::Exclusive, HoldKind::Shared}) {
      EXPECT_FALSE(domain_.engine.release(holder.context(), held(old), wrong));
    }
    EXPECT_EQ(holder.holds(h_), kind);
    EXPECT_TRUE(holder.release(held(next), kind));
    EXPECT_EQ(entries(holder), 0u);
  }
  EXPECT_EQ(take_census(domain_).cells_lost, 0u);
}

TEST_F(FenceTest, OnlyForAnEmergencyThatTheHoldersAreInTheWayOf) {
  Actor holder(domain_), waiter(domain_);
  EXPECT_EQ(take(h_), Fence::Outcome::NotNeeded) << "nobody waits, or holds";
  const Outcome hold = holder.acquire(h_);
  ASSERT_TRUE(hold);
  EXPECT_EQ(take(h_), Fence::Outcome::NotNeeded) << "nobody waits";
  waiter.begin(h_, timed(kLongNs));
  EXPECT_EQ(take(h_), Fence::Outcome::NotNeeded) << "he is in no emergency";
  EXPECT_EQ(holder.holds(h_), HoldKind::Exclusive);
  waiter.cancel();
  (void)waiter.finish();
  ASSERT_TRUE(holder.release(held(hold)));

  // Where the gate is closed, who would read beside readers waits.
  const Outcome reading = holder.share(h_);
  ASSERT_TRUE(fence_.close(h_));
  waiter.begin(h_, emergency(kLongNs, HoldKind::Shared));
  EXPECT_FALSE(waiter.finished());
  EXPECT_EQ(fence_.end_holds(h_, ended_), Fence::Outcome::NotNeeded);
  fence_.open(h_);
  EXPECT_TRUE(waiter.finish());
  EXPECT_EQ(holder.holds(h_), HoldKind::Shared);
  EXPECT_EQ(tenure(), 0u);
}

// He would lose what he has with the others.
TEST_F(FenceTest, AnUpgradeFencesNobody) {
  Actor a(domain_), b(domain_);
  ASSERT_TRUE(a.share(h_));
  ASSERT_TRUE(b.share(h_));
  a.begin_upgrade(h_, emergency());
  EXPECT_EQ(fence_.end_holds(h_, ended_), Fence::Outcome::NotNeeded);
  EXPECT_FALSE(a.finished());
  ASSERT_TRUE(b.release(h_, HoldKind::Shared));
  EXPECT_TRUE(a.finish());
}

TEST_F(FenceTest, NobodyGetsItWhileItIsMadeQuiet) {
  Actor holder(domain_), urgent(domain_), other(domain_);
  const Outcome hold = holder.acquire(h_);
  ASSERT_TRUE(hold);
  urgent.begin(h_, emergency());
  ASSERT_TRUE(fence_.close(h_));
  EXPECT_FALSE(fence_.close(h_)) << "it is closed already";
  ASSERT_TRUE(holder.release(held(hold))) << "a hold that goes on ends as any other";
  EXPECT_FALSE(urgent.finished());
  EXPECT_TRUE(fails_with(other.acquire(h_), ErrorCode::Quarantined));
  EXPECT_EQ(fence_.end_holds(h_, ended_), Fence::Outcome::NotNeeded);
  EXPECT_FALSE(urgent.finished());
  fence_.open(h_);
  const Outcome grant = urgent.finish();
  ASSERT_TRUE(grant);
  EXPECT_FALSE(grant->inconsistent);
  EXPECT_EQ(grant->tenure, 0u);
}

TEST_F(FenceTest, ALatchHolderIsNotPushedAside) {
  Actor holder(domain_), urgent(domain_);
  ASSERT_TRUE(holder.acquire(h_));
  urgent.begin(h_, emergency());
  ASSERT_TRUE(fence_.close(h_));
  const std::uint16_t stopped = domain_.open().id;
  store(domain_.slot(h_).word, domain_.word(h_).with_latch(stopped).bits);
  EXPECT_EQ(fence_.end_holds(h_, ended_), Fence::Outcome::LatchTaken);
  EXPECT_EQ(domain_.word(h_).owner(), holder.id());
  fence_.open(h_);
  EXPECT_TRUE(domain_.word(h_).has(RM_WORD_WORK)) << "he is told";
  store(domain_.slot(h_).word, domain_.word(h_).with_latch(0).bits);
  EXPECT_EQ(take(h_), Fence::Outcome::Done);
  EXPECT_TRUE(urgent.finish());
}

// I10, for good: a tenure never comes round.
TEST_F(FenceTest, NoTenureIsUsedTwice) {
  Actor holder(domain_), urgent(domain_);
  std::vector<Handle> fenced;
  for (unsigned i = 0; i < kLastTenure; ++i) {
    const Outcome old = holder.acquire(h_);
    ASSERT_TRUE(old);
    ASSERT_EQ(old->tenure, i);
    urgent.begin(h_, emergency());
    ASSERT_EQ(take(h_), Fence::Outcome::Done);
    const Outcome grant = urgent.finish();
    ASSERT_TRUE(grant);
    ASSERT_TRUE(urgent.release(held(grant)));
    fenced.push_back(held(old));
    ASSERT_TRUE(fails_with(holder.release(fenced.back()), ErrorCode::Revoked));
  }
  const Outcome last = holder.acquire(h_);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->tenure, kLastTenure);
  urgent.begin(h_, emergency());
  EXPECT_EQ(take(h_), Fence::Outcome::UsedUp);
  for (const Handle old : fenced) {
    ASSERT_TRUE(fails_with(holder.release(old), ErrorCode::Revoked));
  }
  EXPECT_EQ(holder.holds(h_), HoldKind::Exclusive);
  EXPECT_FALSE(urgent.finished()) << "the wait goes on";
  ASSERT_TRUE(holder.release(held(last)));
  EXPECT_TRUE(urgent.finish());
}

TEST_F(FenceTest, ANewTenantBeginsAnew) {
  Actor holder(domain_), urgent(domain_);
  const Outcome old = holder.acquire(h_);
  ASSERT_TRUE(old);
  urgent.begin(h_, emergency());
  ASSERT_EQ(take(h_), Fence::Outcome::Done);
  const Outcome grant = urgent.finish();
  ASSERT_TRUE(grant);
  ASSERT_TRUE(urgent.retire(held(grant)));
  EXPECT_TRUE(fails_with(holder.release(held(old)), ErrorCode::StaleHandle));
  const Handle next = domain_.arm(h_.slot(), 0, 0, h_.generation() + 1);
  const Outcome fresh = holder.acquire(next);
  ASSERT_TRUE(fresh) << "what was fenced was the old tenant's";
  EXPECT_EQ(fresh->tenure, 0u);
  EXPECT_FALSE(domain_.word(next).has(RM_WORD_REVOKED));
}

// His list could not keep him from acquiring anew while a release of his is under way.
TEST_F(FenceTest, AHoldThatIsInNoListIsNotFenced) {
  Actor holder(domain_), urgent(domain_);
  ASSERT_TRUE(holder.run_call([&](Context& me) -> Outcome {
    for (std::uint32_t slot = 0; slot < RM_CONTEXT_HOLDS; ++slot) {
      // Entries as if of others.
      (void)HoldList(me).add(Handle(slot + 100, 1), 0, false, {});
    }
    return domain_.engine.acquire(me, h_, trying());
  }));
  urgent.begin(h_, emergency());
  EXPECT_EQ(take(h_), Fence::Outcome::Unlisted);
  EXPECT_EQ(holder.holds(h_), HoldKind::Exclusive);
  ASSERT_TRUE(holder.release(h_));
  EXPECT_TRUE(urgent.finish());
}

// Who was granted it, and did not come to take it.
TEST_F(FenceTest, AGrantThatNobodyTookIsTakenBack) {
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    Actor holder(domain_), urgent(domain_);
    Context& slow = domain_.open(0, this_thread());
    const Outcome first = holder.acquire(h_);
    ASSERT_TRUE(first);
    Wait wait;
    Grant grant;
    const auto at_once = domain_.engine.begin(slow, h_, blocking(kind), wait, grant);
    ASSERT_TRUE(at_once && !*at_once);
    ASSERT_TRUE(holder.release(held(first)));
    ASSERT_TRUE(domain_.engine.is_decided(wait));
    urgent.begin(h_, emergency());
    ASSERT_EQ(take(h_), Fence::Outcome::Done);
    const auto outcome = domain_.engine.finish(slow, wait);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error(), ErrorCode::Preempted);
    const Outcome taken = urgent.finish();
    ASSERT_TRUE(taken);
    EXPECT_FALSE(taken->inconsistent) << "he never began";
    EXPECT_EQ(load(domain_.tables().region->late_victims), 0u) << "no victim of a deadlock";
    ASSERT_TRUE(urgent.release(held(taken)));
    EXPECT_TRUE(domain_.engine.acquire(slow, h_, trying(kind))) << "he has nothing to let go of";
    EXPECT_EQ(domain_.engine.release_all(slow, [](Handle, HoldKind) {}), 1u);
    domain_.contexts.close(slow, false);
  }
  EXPECT_EQ(take_census(domain_).nodes_lost, 0u);
  EXPECT_EQ(take_census(domain_).cells_lost, 0u);
}

// The same, of one who would have been content with any.
TEST_F(FenceTest, AGrantOfAGroupThatNobodyTookIsTakenBack) {
  const Handle other = domain_.arm(2);
  Actor holder(domain_), urgent(domain_);
  Context& slow = domain_.open(0, this_thread());
  const Outcome first = holder.acquire(h_);
  ASSERT_TRUE(first);
  ASSERT_TRUE(holder.acquire(other));
  Wait wait;
  std::array<Wait, 2> members;
  Grant grant;
  const std::array candidates{other, h_};
  const auto at_once = domain_.engine.begin_any(slow, candidates, blocking(), wait, members, grant);
  ASSERT_TRUE(at_once && !*at_once);
  ASSERT_TRUE(holder.release(held(first)));
  ASSERT_TRUE(domain_.engine.is_decided(wait));
  urgent.begin(h_, emergency());
  ASSERT_EQ(take(h_), Fence::Outcome::Done);
  const auto outcome = domain_.engine.finish(slow, wait);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error(), ErrorCode::Preempted);
  const Outcome taken = urgent.finish();
  ASSERT_TRUE(taken);
  EXPECT_FALSE(taken->inconsistent) << "he never began";
  ASSERT_TRUE(urgent.release(held(taken)));
  ASSERT_TRUE(holder.release(other));
  EXPECT_TRUE(domain_.engine.acquire(slow, h_, trying()));
  EXPECT_EQ(domain_.engine.release_all(slow, [](Handle, HoldKind) {}), 1u);
  domain_.contexts.close(slow, false);
  EXPECT_EQ(take_census(domain_).nodes_lost, 0u);
}

// What is taken after the fence ended it is labelled as what it was.
TEST_F(FenceTest, AHoldTakenJustBeforeIsLabelledSo) {
  Actor holder(domain_), urgent(domain_);
  Context& quick = domain_.open(0, this_thread());
  const Outcome first = holder.acquire(h_);
  ASSERT_TRUE(first);
  Wait wait;
  Grant grant;
  const auto at_once = domain_.engine.begin(quick, h_, blocking(), wait, grant);
  ASSERT_TRUE(at_once && !*at_once);
  ASSERT_TRUE(holder.release(held(first)));
  const auto mine = domain_.engine.finish(quick, wait);
  ASSERT_TRUE(mine);
  urgent.begin(h_, emergency());
  ASSERT_EQ(take(h_), Fence::Outcome::Done);
  const auto stale =
      domain_.engine.release(quick, h_.with_tenure(mine->tenure), HoldKind::Exclusive);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error(), ErrorCode::Revoked);
  EXPECT_TRUE(urgent.finish());
}

// One who queued past the gate; the gate sends away those who were there when it closed.
TEST_F(FenceTest, WhoWaitsToUpgradeWhatWasFencedIsSentAway) {
  Actor reader(domain_), other(domain_), urgent(domain_);
  const Outcome share = reader.share(h_);
  ASSERT_TRUE(share);
  ASSERT_TRUE(other.share(h_));
  reader.begin_upgrade(held(share));
  urgent.begin(h_, emergency());
  ASSERT_FALSE(reader.finished());
  ASSERT_EQ(fence_.end_holds(h_, ended_), Fence::Outcome::Done);
  EXPECT_TRUE(fails_with(reader.finish(), ErrorCode::Revoked));
  EXPECT_TRUE(urgent.finish());
  EXPECT_TRUE(fails_with(reader.release(held(share), HoldKind::Shared), ErrorCode::Revoked));
}

// Of a wait without a thread, whose cell is not kept.
TEST_F(FenceTest, ATemporaryCellIsGivenBack) {
  Actor holder(domain_), urgent(domain_);
  Context& task = domain_.open(0, this_thread());
  const Outcome first = holder.acquire(h_);
  ASSERT_TRUE(first);
  Wait wait;
  Grant grant;
  const auto at_once = domain_.engine.begin(task, h_, blocking(HoldKind::Shared), wait, grant);
  ASSERT_TRUE(at_once && !*at_once);
  ASSERT_TRUE(holder.release(held(first)));
  const Outcome mine = domain_.engine.finish(task, wait);
  ASSERT_TRUE(mine);
  const std::uint32_t owned = take_census(domain_).cells_owned;
  urgent.begin(h_, emergency());
  ASSERT_EQ(take(h_), Fence::Outcome::Done);
  const auto stale = domain_.engine.release(task, held(mine), HoldKind::Shared);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error(), ErrorCode::Revoked);
  ASSERT_TRUE(urgent.finish());
  EXPECT_EQ(take_census(domain_).cells_in_use, 0u);
  EXPECT_EQ(take_census(domain_).cells_owned, owned) << "nobody's, as after any release";
  EXPECT_EQ(take_census(domain_).cells_lost, 0u);
}

// I3: he who fenced died after he had begun.
TEST_F(FenceTest, IsCompletedByWhoeverTakesTheLatchOver) {
  Actor holder(domain_), urgent(domain_);
  const Outcome old = holder.acquire(h_);
  ASSERT_TRUE(old);
  urgent.begin(h_, emergency());
  domain_.slot(h_).attributes |= RM_SLOT_ATTR_FENCING;
  store(domain_.slot(h_).word, domain_.word(h_).with_latch(RM_AUTHORITY_CONTEXT).bits);
  Recovery recovery(domain_.engine);
  EXPECT_TRUE(recovery.mend(h_).offer);
  EXPECT_TRUE(urgent.finish());
  EXPECT_EQ(tenure(), 1u);
  EXPECT_FALSE(Fence::was_begun(domain_.slot(h_)));
  EXPECT_TRUE(fails_with(holder.release(held(old)), ErrorCode::Revoked));
}

TEST_F(FenceTest, ASecondOneTakesFromTheFirst) {
  Actor holder(domain_), first(domain_), second(domain_);
  const Outcome old = holder.acquire(h_);
  ASSERT_TRUE(old);
  first.begin(h_, emergency());
  ASSERT_EQ(take(h_), Fence::Outcome::Done);
  const Outcome one = first.finish();
  ASSERT_TRUE(one);
  second.begin(h_, emergency());
  ASSERT_EQ(take(h_), Fence::Outcome::Done);
  const Outcome two = second.finish();
  ASSERT_TRUE(two);
  EXPECT_TRUE(fails_with(holder.release(held(old)), ErrorCode::Revoked));
  EXPECT_TRUE(fails_with(first.release(held(one)), ErrorCode::Revoked));
  EXPECT_TRUE(second.release(held(two)));
  EXPECT_TRUE(first.acquire(h_));
}

}  // namespace
}  // namespace resmgr::lock::test
