// SPDX-License-Identifier: Apache-2.0
//
// Holders come and go, by their own threads and by others, while one who is in an emergency takes
// from them time and again: whoever was not fenced had the resource as he was told, from beginning
// to end (I1, I10).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/lock/fence.hpp"
#include "tests/lock/fast.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

/// A hold that was let go of without being revoked, in the order of what all of them did.
struct Interval {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  HoldKind kind = HoldKind::Exclusive;
};

class FenceRace : public ::testing::Test {
 protected:
  struct Stale {
    Handle handle;
    HoldKind kind = HoldKind::Exclusive;
    std::uint64_t begin = 0;
  };
  /// One context, and the thread that lets go of half of what it acquires.
  struct Party {
    Context* context = nullptr;
    std::mutex mutex;
    std::vector<Stale> given;
    std::vector<Interval> held;  ///< by the first thread
    std::vector<Interval> let_go;
  };

  std::uint64_t moment() { return clock_.fetch_add(1); }

  void let_go(Party& party, const Stale& hold, std::vector<Interval>& log, bool own) {
    const std::uint64_t end = moment();
    bool done = own && give_fast(domain_.engine, *party.context, hold.handle, hold.kind);
    if (!done) {
      const auto released = domain_.engine.release(*party.context, hold.handle, hold.kind);
      done = released.has_value();
      if (!done) {
        ASSERT_EQ(released.error(), ErrorCode::Revoked);
        ++revoked_;
      }
    }
    if (done) log.push_back({hold.begin, end, hold.kind});
  }
  void hold_and_let_go(Party& party, std::uint64_t seed) {
    Context& me = domain_.open(0, this_thread());
    party.context = &me;
    ready_.fetch_add(1);
    std::mt19937_64 random(seed);
    while (!over_) {
      const HoldKind kind = random() % 3 == 0 ? HoldKind::Shared : HoldKind::Exclusive;
      const bool waits = random() % 2 == 0;
      const auto grant =
          domain_.engine.acquire(me, h_, waits ? timed(1'000'000, kind) : trying(kind));
      if (!grant) {
        std::this_thread::yield();  // the other thread has it, or is about to let go of it
        continue;
      }
      Stale hold{h_.with_tenure(grant->tenure), kind, moment()};
      begun_.fetch_add(1);
      if (kind == HoldKind::Exclusive && random() % 4 == 0) {
        if (domain_.engine.downgrade(me, hold.handle)) hold.kind = HoldKind::Shared;
      }
      // Until somebody is fenced, perhaps.
      for (auto pause = random() % 64; pause != 0; --pause) std::this_thread::yield();
      if (random() % 2 == 0) {
        const std::lock_guard lock(party.mutex);
        party.given.push_back(hold);
      } else {
        let_go(party, hold, party.held, true);
      }
    }
  }
  void let_go_for(Party& party) {
    for (bool last = false; !last;) {
      last = over_and_joined_;
      std::vector<Stale> given;
      {
        const std::lock_guard lock(party.mutex);
        given.swap(party.given);
      }
      for (const Stale& hold : given) let_go(party, hold, party.let_go, false);
      std::this_thread::yield();
    }
  }

  Domain domain_;
  const Handle h_ = domain_.arm(1);
  std::atomic<std::uint64_t> clock_ = 1;
  std::atomic<std::uint64_t> revoked_ = 0;
  std::atomic<std::uint64_t> begun_ = 0;
  std::atomic<int> ready_ = 0;
  std::atomic<bool> over_ = false;
  std::atomic<bool> over_and_joined_ = false;
};

TEST_F(FenceRace, WhoWasNotFencedHadIt) {
  // No more than there are tenures.
  const std::uint64_t rounds = std::min<std::uint64_t>(rounds_from_environment(200), 250);
  std::array<Party, 2> parties;
  std::vector<std::thread> holders;
  std::vector<std::thread> others;
  std::uint64_t seed = seed_from_environment();
  for (Party& party : parties) {
    holders.emplace_back([this, &party, seed] { hold_and_let_go(party, seed); });
    ++seed;
  }
  wait_until([&] { return ready_ == 2; });
  for (Party& party : parties) others.emplace_back([this, &party] { let_go_for(party); });

  Actor urgent(domain_);
  Fence fence(domain_.engine);
  std::vector<Interval> intervals;
  std::vector<Participant> ended;
  ended.reserve(8);
  std::uint64_t fenced = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    // Not before the others had their turns.
    wait_until([&, before = begun_.load()] { return begun_ >= before + 4; });
    urgent.post(
        [h = h_](LockEngine& engine, Context& me) { return engine.acquire(me, h, emergency()); });
    while (!urgent.finished()) {
      if (!fence.close(h_)) {
        std::this_thread::yield();
        continue;
      }
      if (fence.end_holds(h_, ended) == Fence::Outcome::Done) ++fenced;
      fence.open(h_);
    }
    const Outcome grant = urgent.finish();
    ASSERT_TRUE(grant) << grant.error().message();
    const std::uint64_t begin = moment();
    if (grant->inconsistent) {
      EXPECT_TRUE(urgent.consistent(h_.with_tenure(grant->tenure)));
    }
    const std::uint64_t end = moment();
    ASSERT_TRUE(urgent.release(h_.with_tenure(grant->tenure)));
    intervals.push_back({begin, end, HoldKind::Exclusive});
  }
  over_ = true;
  for (std::thread& thread : holders) thread.join();
  over_and_joined_ = true;
  for (std::thread& thread : others) thread.join();
  for (const Party& party : parties) {
    intervals.insert(intervals.end(), party.held.begin(), party.held.end());
    intervals.insert(intervals.end(), party.let_go.begin(), party.let_go.end());
  }

  std::ranges::sort(intervals, {}, &Interval::begin);
  std::uint64_t last_exclusive = 0;
  std::uint64_t last_of_all = 0;
  for (const Interval& each : intervals) {
    const std::uint64_t before = each.kind == HoldKind::Exclusive ? last_of_all : last_exclusive;
    ASSERT_LT(before, each.begin) << "two had it at once";
    last_of_all = std::max(last_of_all, each.end);
    if (each.kind == HoldKind::Exclusive) last_exclusive = std::max(last_exclusive, each.end);
  }
  EXPECT_EQ(load(domain_.slot(h_).tenure), fenced);
  const Census census = take_census(domain_);
  EXPECT_EQ(census.cells_in_use, 0u);
  EXPECT_EQ(census.nodes_lost, 0u);
  EXPECT_EQ(census.cells_lost, 0u);
  for (const Party& party : parties) EXPECT_EQ(HoldList(*party.context).bitmap(), 0u);
  Actor newcomer(domain_);
  EXPECT_TRUE(newcomer.acquire(h_, timed(kLongNs)));
  std::cout << intervals.size() << " holds, " << fenced << " fences, " << revoked_ << " revoked\n";
}

}  // namespace
}  // namespace resmgr::lock::test
