// SPDX-License-Identifier: Apache-2.0
//
// What is counted of requests, against what their callers were told.
#include "resmgr/lock/wait_ledger.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "resmgr/lock/wait.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kRow = 7;

class Ledger : public ::testing::Test {
 protected:
  Ledger() {
    domain.names.row_of_slot = [](std::uint32_t) { return kRow; };
  }
  [[nodiscard]] WaitTotals totals(std::uint32_t row = kRow) const {
    return read_wait_row(domain.tables(), row);
  }
  [[nodiscard]] SlotWaits waits_of(Handle handle) const {
    return read_slot_waits(domain.tables(), handle);
  }

  Domain domain;
};

TEST_F(Ledger, WhatIsFreeCountsNothing) {
  const Handle h = domain.arm(1);
  Actor one(domain);
  ASSERT_TRUE(one.acquire(h));
  ASSERT_TRUE(one.release(h));
  EXPECT_EQ(totals().granted(), 0u);
  EXPECT_EQ(totals().failed(), 0u);
  EXPECT_EQ(waits_of(h).waits, 0u);
}

TEST_F(Ledger, AGrantedWaitIsCountedWithItsTimeAndWhoHeld) {
  const Handle h = domain.arm(1);
  Actor holder(domain, 3);
  Actor waiter(domain, 4);
  ASSERT_TRUE(holder.acquire(h));
  waiter.begin(h, blocking());
  ASSERT_TRUE(holder.release(h));
  ASSERT_TRUE(waiter.finish());
  const WaitTotals t = totals();
  EXPECT_EQ(t.granted(), 1u);
  EXPECT_EQ(t.failed(), 0u);
  EXPECT_GT(t.granted_ns, 0u);
  EXPECT_EQ(t.longest_ns, t.granted_ns);
  EXPECT_EQ(t.percentile_ns(500), t.granted_ns) << "no longer than the longest";
  const SlotWaits s = waits_of(h);
  EXPECT_EQ(s.waits, 1u);
  EXPECT_EQ(s.waited_ns, t.granted_ns);
  EXPECT_EQ(s.longest_ns, t.granted_ns);
  EXPECT_EQ(s.blamed_driver, 3u);
  EXPECT_EQ(s.blamed_pid, Domain::kPid);
}

TEST_F(Ledger, EachOutcomeHasItsCount) {
  const Handle h = domain.arm(1, 0, RM_SLOT_ATTR_EXCLUSIVE_ONLY);
  Actor holder(domain);
  Actor other(domain);
  ASSERT_TRUE(holder.acquire(h));
  EXPECT_TRUE(fails_with(other.acquire(h, trying()), ErrorCode::WouldBlock));
  EXPECT_TRUE(fails_with(other.acquire(h, timed(1000)), ErrorCode::TimedOut));
  EXPECT_TRUE(fails_with(holder.acquire(h, trying()), ErrorCode::Deadlock));
  EXPECT_TRUE(fails_with(other.acquire(h, trying(HoldKind::Shared)), ErrorCode::NotShareable));
  other.begin(h, blocking());
  other.cancel();
  EXPECT_TRUE(fails_with(other.finish(), ErrorCode::Cancelled));
  other.begin(h, blocking());
  const Outcome retired = holder.run_call([&](Context& me) {
    return without_grant(domain.engine.retire(me, h, monotonic_ns() + kLongNs));
  });
  ASSERT_TRUE(retired);
  EXPECT_TRUE(fails_with(other.finish(), ErrorCode::StaleHandle));
  const std::array<std::uint64_t, RM_OUTCOMES> expected{1, 1, 1, 0, 1, 1, 1};
  EXPECT_EQ(totals().outcomes, expected);
  EXPECT_EQ(totals().granted(), 0u);
  EXPECT_GT(totals().failed_ns, 0u);
}

TEST_F(Ledger, ADeadlockAmongResourcesIsTheVictims) {
  const Handle a = domain.arm(1);
  const Handle b = domain.arm(2);
  domain.names.row_of_slot = [](std::uint32_t slot) { return slot; };
  Actor one(domain);
  Actor two(domain);
  ASSERT_TRUE(one.acquire(a));
  ASSERT_TRUE(two.acquire(b));
  one.begin(b, blocking());
  EXPECT_TRUE(fails_with(two.acquire(a, blocking()), ErrorCode::Deadlock));
  EXPECT_EQ(totals(a.slot()).outcomes[RM_OUTCOME_DEADLOCK], 1u);
  EXPECT_EQ(totals(b.slot()).failed(), 0u);
  ASSERT_TRUE(two.release(b));
  ASSERT_TRUE(one.finish());
  EXPECT_EQ(totals(b.slot()).granted(), 1u);
}

// The record of a slot is the present resource's alone.
TEST_F(Ledger, ALaterResourceBeginsWithNothing) {
  Handle h = domain.arm(1);
  Actor holder(domain);
  Actor other(domain);
  std::uint64_t acquired = 0;
  std::uint64_t waited_ns = 0;
  for (int tenant = 1; tenant <= 3; ++tenant) {
    EXPECT_EQ(waits_of(h).waits, 0u);
    ASSERT_TRUE(holder.acquire(h));
    for (int i = 0; i < tenant; ++i) {
      EXPECT_TRUE(fails_with(other.acquire(h, timed(1000)), ErrorCode::TimedOut));
    }
    EXPECT_EQ(waits_of(h).waits, static_cast<std::uint32_t>(tenant));
    EXPECT_LE(waits_of(h).longest_ns, waits_of(h).waited_ns);
    waited_ns += waits_of(h).waited_ns;
    ++acquired;
    ASSERT_TRUE(holder.release(h));
    ASSERT_TRUE(holder.acquire(h));  // as who unregisters does
    ASSERT_TRUE(holder.run_call([&](Context& me) {
      return without_grant(domain.engine.retire(me, h, monotonic_ns() + kLongNs));
    }));
    EXPECT_EQ(waits_of(h).waits, static_cast<std::uint32_t>(tenant));
    EXPECT_EQ(totals().retired, acquired);
    h = domain.arm(1, 0, 0, h.generation() + 1);
  }
  EXPECT_EQ(totals().failed_ns, waited_ns) << "a tenant has what others waited before";
}

TEST_F(Ledger, NobodysRowIsNoRow) {
  const Handle h = domain.arm(1);
  domain.names.row_of_slot = [](std::uint32_t) { return Names::kNoRow; };
  Actor holder(domain);
  Actor other(domain);
  ASSERT_TRUE(holder.acquire(h));
  EXPECT_TRUE(fails_with(other.acquire(h, trying()), ErrorCode::WouldBlock));
  EXPECT_TRUE(fails_with(other.acquire(h, timed(1000)), ErrorCode::TimedOut));
  domain.names.row_of_slot = [&](std::uint32_t) { return domain.tables().wait_row_count; };
  EXPECT_TRUE(fails_with(other.acquire(h, trying()), ErrorCode::WouldBlock));
  EXPECT_EQ(waits_of(h).waits, 1u) << "the resource's own record needs none";
  EXPECT_EQ(totals().failed(), 0u);
}

// What anybody may have written there stays a number.
TEST_F(Ledger, NoiseIsRead) {
  const Handle h = domain.arm(1);
  std::memset(domain.tables().wait_row(kRow), 0xff, sizeof(rm_wait_row));
  std::memset(domain.tables().waits_of_slot(1), 0xff, sizeof(rm_slot_waits));
  WaitTotals sum = totals();
  sum += totals();
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(sum.granted(), kMost);
  EXPECT_EQ(sum.failed(), kMost);
  EXPECT_EQ(waits_of(h).waits, 0u) << "not this resource's";
  Actor holder(domain);
  Actor other(domain);
  ASSERT_TRUE(holder.acquire(h));
  EXPECT_TRUE(fails_with(other.acquire(h, timed(1000)), ErrorCode::TimedOut));
  EXPECT_EQ(read_wait_row(domain.tables(), ~0u).granted(), 0u);
  EXPECT_EQ(read_slot_waits(domain.tables(), Handle(~0u, 1)).waits, 0u);
}

// Random requests without threads, and what each of them was told.
class Oracle {
 public:
  static constexpr std::uint32_t kSlots = 3;
  static constexpr std::size_t kContexts = 5;

  explicit Oracle(std::uint64_t seed) : random_(seed) {
    domain_.names.row_of_slot = [](std::uint32_t slot) { return slot; };
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) handles_[slot] = domain_.arm(slot);
    for (std::size_t i = 0; i < kContexts; ++i) contexts_.push_back(&domain_.open());
  }

  void step() {
    Context& context = *contexts_[random_() % kContexts];
    const auto slot = static_cast<std::uint32_t>(random_() % kSlots);
    const Handle handle = handles_[slot];
    switch (random_() % 8) {
      case 0:
      case 1:
        return try_it(context, handle);
      case 2:
      case 3:
        return begin(context, handle);
      case 4:
        return end_one(random_() % 2 == 0 ? RM_NODE_TIMED_OUT : RM_NODE_CANCELLED);
      case 5:
        if (random_() % 8 == 0) return retire(context, slot);
        [[fallthrough]];
      default:
        return let_go(context, handle);
    }
  }
  void finish() {
    while (!waits_.empty()) end_one(RM_NODE_CANCELLED);
  }
  void check() const {
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      const WaitTotals t = read_wait_row(domain_.tables(), slot);
      const Counts& expected = counts_[slot];
      ASSERT_EQ(t.outcomes, expected.outcomes) << "slot " << slot;
      ASSERT_EQ(t.granted(), expected.granted) << "slot " << slot;
      ASSERT_EQ(t.retired, expected.retired) << "slot " << slot;
      const auto counters = domain_.engine.counters(handles_[slot]);
      ASSERT_TRUE(counters);
      ASSERT_EQ(counters->exclusive_acquisitions + counters->shared_acquisitions,
                expected.acquired);
      const SlotWaits s = read_slot_waits(domain_.tables(), handles_[slot]);
      ASSERT_EQ(s.waits, expected.waits) << "slot " << slot;
      ASSERT_LE(s.longest_ns, s.waited_ns);
      ASSERT_LE(s.waited_ns, t.granted_ns + t.failed_ns);
    }
  }
  [[nodiscard]] std::uint64_t granted() const {
    std::uint64_t sum = 0;
    for (const Counts& each : counts_) sum += each.granted;
    return sum;
  }

 private:
  struct Counts {
    std::array<std::uint64_t, RM_OUTCOMES> outcomes{};
    std::uint64_t granted = 0;
    std::uint64_t acquired = 0;  ///< of the present tenant, as the next
    std::uint32_t waits = 0;
    std::uint64_t retired = 0;
  };
  struct Waiting {
    Context* context;
    Wait wait;
  };
  [[nodiscard]] Request request(AcquisitionMode mode) {
    return {.kind = random_() % 3 == 0 ? HoldKind::Shared : HoldKind::Exclusive, .mode = mode};
  }
  void try_it(Context& context, Handle handle) {
    const auto done =
        domain_.engine.acquire(context, handle, request(AcquisitionMode::NonBlocking));
    if (done) {
      ++counts_[handle.slot()].acquired;
    } else {
      ++counts_[handle.slot()].outcomes[outcome_of(done.error().code())];
    }
  }
  void begin(Context& context, Handle handle) {
    auto waiting = std::make_unique<Waiting>(Waiting{.context = &context, .wait = {}});
    Grant grant;
    const auto begun = domain_.engine.begin(context, handle, request(AcquisitionMode::Blocking),
                                            waiting->wait, grant);
    if (!begun) {
      ++counts_[handle.slot()].outcomes[outcome_of(begun.error().code())];
    } else if (*begun) {
      ++counts_[handle.slot()].acquired;
    } else {
      waits_.push_back(std::move(waiting));
    }
  }
  void end_one(unsigned outcome) {
    if (waits_.empty()) return;
    const std::size_t which = random_() % waits_.size();
    const std::unique_ptr<Waiting> waiting = std::move(waits_[which]);
    waits_.erase(waits_.begin() + static_cast<std::ptrdiff_t>(which));
    Wait& wait = waiting->wait;
    const bool is_present = wait.handle == handles_[wait.handle.slot()];
    (void)domain_.engine.give_up(wait, outcome);
    const auto grant = domain_.engine.finish(*waiting->context, wait);
    Counts& counts = counts_[wait.handle.slot()];
    if (grant) {
      ++counts.granted;
      ++counts.acquired;
    } else {
      ++counts.outcomes[outcome_of(grant.error().code())];
    }
    if (is_present) ++counts.waits;
  }
  void let_go(Context& context, Handle handle) {
    const auto kind = domain_.engine.held_kind(context, handle);
    if (kind) (void)domain_.engine.release(context, handle, *kind);
  }
  void retire(Context& context, std::uint32_t slot) {
    const Handle handle = handles_[slot];
    // Those who were granted it and have not taken it yet would be told that it is gone.
    for (const auto& each : waits_) {
      if (each->wait.handle == handle && domain_.engine.is_decided(each->wait)) return;
    }
    const bool holds = domain_.engine.held_kind(context, handle) == HoldKind::Exclusive;
    if (!holds && !domain_.engine.acquire(
                      context, handle, {.mode = AcquisitionMode::NonBlocking, .authority = true})) {
      return;
    }
    ASSERT_TRUE(domain_.engine.retire(context, handle, monotonic_ns() + kLongNs));
    Counts& counts = counts_[slot];
    // The last hold is that of who unregisters.
    counts.retired += counts.acquired - (holds ? 1 : 0);
    counts.acquired = 0;
    counts.waits = 0;
    handles_[slot] = domain_.arm(slot, 0, 0, handle.generation() + 1);
  }

  std::mt19937_64 random_;
  Domain domain_;
  std::array<Handle, kSlots> handles_{};
  std::vector<Context*> contexts_;
  std::vector<std::unique_ptr<Waiting>> waits_;
  std::array<Counts, kSlots> counts_{};
};

TEST(LedgerProperty, CountsAddUpToWhatCallersWereTold) {
  const std::uint64_t seed = seed_from_environment();
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 20 : 100);
  std::uint64_t granted = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE("RESMGR_SEED=" + std::to_string(seed + round));
    Oracle oracle(seed + round);
    for (int i = 0; i < 500; ++i) {
      oracle.step();
      if (i % 50 == 0) oracle.check();
      if (::testing::Test::HasFatalFailure()) return;
    }
    oracle.finish();
    oracle.check();
    if (::testing::Test::HasFatalFailure()) return;
    granted += oracle.granted();
  }
  EXPECT_GT(granted, rounds) << "the rounds hardly ever waited";
}

// Many at once: each wait that ended is in the row and in the record, and none twice.
TEST_F(Ledger, ThreadsLoseNothing) {
  const Handle h = domain.arm(1);
  constexpr int kThreads = 4;
  constexpr int kTimes = 100;
  Actor holder(domain);
  ASSERT_TRUE(holder.acquire(h));
  std::deque<Actor> actors;
  for (int i = 0; i < kThreads; ++i) {
    actors.emplace_back(domain).start([&](Context& me) -> Outcome {
      for (int turn = 0; turn < kTimes; ++turn) {
        auto grant = domain.engine.acquire(me, h, blocking());
        if (!grant) return grant;
        std::this_thread::yield();
        auto done = domain.engine.release(me, h.with_tenure(grant->tenure), HoldKind::Exclusive);
        if (!done) return std::unexpected(std::move(done.error()));
      }
      return Grant{};
    });
  }
  for (Actor& actor : actors) wait_until([&] { return actor.settled(); });
  ASSERT_TRUE(holder.release(h));
  for (Actor& actor : actors) EXPECT_TRUE(actor.finish());
  EXPECT_EQ(domain.engine.counters(h)->exclusive_acquisitions,
            static_cast<std::uint64_t>(kThreads) * kTimes + 1);
  const std::uint32_t ended = load(domain.slot(h).waits_ended);
  EXPECT_GE(ended, static_cast<std::uint32_t>(kThreads)) << "each waits for the first holder";
  EXPECT_EQ(totals().granted(), ended);
  EXPECT_EQ(waits_of(h).waits, ended);
  EXPECT_EQ(waits_of(h).waited_ns, totals().granted_ns);
}

}  // namespace
}  // namespace resmgr::lock::test
