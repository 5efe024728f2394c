// SPDX-License-Identifier: Apache-2.0
//
// Deadlocks whose members race: rings that close at all places at once, and threads that take what
// they like until all is done.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

constexpr int kThreads = 8;

/// Members 0 to size-1 hold a resource each and ask, all at once, for the next one's.
struct Ring {
  std::vector<Actor*> members;
  std::vector<Handle> handles;
  std::vector<Request> requests;
};

class DeadlockRace : public ::testing::Test {
 protected:
  DeadlockRace() {
    for (int i = 0; i < kThreads; ++i) actors.push_back(std::make_unique<Actor>(domain));
    for (std::uint32_t i = 0; i < kThreads; ++i) (void)domain.arm(i);
  }
  int pick(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); }
  /// Disjoint rings of 2 to 4 members over all actors.
  std::vector<Ring> make_rings() {
    std::shuffle(actors.begin(), actors.end(), random);
    std::vector<Ring> rings;
    for (std::size_t next = 0; next + 2 <= actors.size();) {
      const auto size = std::min(static_cast<std::size_t>(pick(2, 4)), actors.size() - next);
      Ring ring;
      for (std::size_t i = 0; i < size; ++i, ++next) {
        ring.members.push_back(actors[next].get());
        ring.handles.emplace_back(static_cast<std::uint32_t>(next), 1u);
        EXPECT_TRUE(actors[next]->acquire(ring.handles.back()));
      }
      rings.push_back(std::move(ring));
    }
    return rings;
  }
  void start(const std::vector<Ring>& rings) {
    ready = 0;
    std::size_t all = 0;
    for (const Ring& ring : rings) all += ring.members.size();
    for (const Ring& ring : rings) {
      for (std::size_t i = 0; i < ring.members.size(); ++i) {
        const Handle wanted = ring.handles[(i + 1) % ring.handles.size()];
        ring.members[i]->start([this, all, wanted, request = ring.requests[i]](Context& me) {
          ++ready;
          wait_until([&] { return ready.load() == all; });
          return domain.engine.acquire(me, wanted, request);
        });
      }
    }
  }
  /// Ends the ring: whoever has lost lets go, then the others get theirs one after another.
  std::vector<Outcome> finish(const Ring& ring) {
    const std::size_t size = ring.members.size();
    std::vector<Outcome> outcomes(size);
    std::vector<bool> done(size);
    for (std::size_t left = size; left != 0;) {
      for (std::size_t i = 0; i < size; ++i) {
        if (done[i] || !ring.members[i]->finished()) continue;
        outcomes[i] = ring.members[i]->finish();
        const Handle wanted = ring.handles[(i + 1) % size];
        if (outcomes[i]) {
          EXPECT_TRUE(ring.members[i]->release(wanted));
        }
        EXPECT_TRUE(ring.members[i]->release(ring.handles[i]));
        done[i] = true;
        --left;
      }
      std::this_thread::yield();
    }
    return outcomes;
  }

  std::mt19937_64 random{seed_from_environment()};
  Domain domain;
  std::vector<std::unique_ptr<Actor>> actors;
  std::atomic<std::size_t> ready = 0;
};

// However many members find it at the same moment: one victim a ring, the one with the lowest rank.
TEST_F(DeadlockRace, OneVictimForEachDisjointCycle) {
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 300 : 2'000);
  std::uint64_t rings_closed = 0;
  for (std::uint64_t round = 0; round < rounds && !HasFailure(); ++round) {
    std::vector<Ring> rings = make_rings();
    for (Ring& ring : rings) {
      std::array<ResourcePriority, 4> priorities{ResourcePriority::Low, ResourcePriority::Normal,
                                                 ResourcePriority::High,
                                                 ResourcePriority::Critical};
      std::shuffle(priorities.begin(), priorities.end(), random);
      for (std::size_t i = 0; i < ring.members.size(); ++i) {
        ring.requests.push_back(blocking(HoldKind::Exclusive, priorities[i]));
      }
    }
    start(rings);
    for (const Ring& ring : rings) {
      const std::vector<Outcome> outcomes = finish(ring);
      const auto lowest = std::min_element(
          ring.requests.begin(), ring.requests.end(),
          [](const Request& a, const Request& b) { return a.priority < b.priority; });
      const auto expected = static_cast<std::size_t>(lowest - ring.requests.begin());
      for (std::size_t i = 0; i < outcomes.size(); ++i) {
        if (i != expected) {
          EXPECT_TRUE(outcomes[i]) << "round " << round << ": " << outcomes[i].error().message();
          continue;
        }
        ASSERT_TRUE(fails_with(outcomes[i], ErrorCode::Deadlock)) << "round " << round;
        EXPECT_EQ(outcomes[i].error().cycle().size(), outcomes.size());
      }
      ++rings_closed;
    }
  }
  EXPECT_EQ(load(domain.tables().region->deadlocks), rings_closed);
  EXPECT_EQ(load(domain.tables().region->late_victims), 0u);
}

// One member of each ring times out at about the moment the ring closes. The ring is broken by the
// one, by a victim, or, late, by both; never by two victims, never not at all.
TEST_F(DeadlockRace, TimeoutsThatRaceCostAtMostOneLateVictim) {
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 200 : 1'000);
  std::uint64_t victims = 0;
  std::uint64_t both = 0;
  for (std::uint64_t round = 0; round < rounds && !HasFailure(); ++round) {
    std::vector<Ring> rings = make_rings();
    for (Ring& ring : rings) {
      for (std::size_t i = 0; i < ring.members.size(); ++i) {
        ring.requests.push_back(i == 0 ? timed(static_cast<std::uint64_t>(pick(0, 60'000)))
                                       : blocking());
      }
    }
    start(rings);
    for (const Ring& ring : rings) {
      int deadlocked = 0;
      int timeouts = 0;
      for (const Outcome& outcome : finish(ring)) {
        if (outcome) continue;
        deadlocked += outcome.error() == ErrorCode::Deadlock ? 1 : 0;
        timeouts += outcome.error() == ErrorCode::TimedOut ? 1 : 0;
      }
      EXPECT_LE(deadlocked, 1) << "round " << round;
      EXPECT_GE(deadlocked + timeouts, 1) << "round " << round;
      victims += static_cast<std::uint64_t>(deadlocked);
      both += deadlocked == 1 && timeouts == 1 ? 1 : 0;
    }
  }
  const std::uint64_t late = load(domain.tables().region->late_victims);
  EXPECT_EQ(load(domain.tables().region->deadlocks), victims);
  EXPECT_LE(late, both) << "a late victim is one whose ring a timeout broke as well";
  std::cout << victims << " victims, " << both << " beside a timeout, " << late << " late"
            << std::endl;
}

/// What a resource guards, written without any care but the hold's.
struct Guarded {
  std::uint64_t value = 0;  ///< a plain variable: two holders at once are a data race
  std::atomic<int> writers = 0;
  std::atomic<int> readers = 0;
};

// Everyone takes two or three in any order and any mode: it ends, and every increment is there.
TEST_F(DeadlockRace, WhateverIsTakenItEnds) {
  constexpr int kResources = 6;
  const int rounds = static_cast<int>(rounds_from_environment(kSanitized ? 300 : 3'000));
  std::array<Guarded, kResources> guarded;
  std::array<std::atomic<std::uint64_t>, kResources> written{};
  std::atomic<std::uint64_t> deadlocks = 0;
  const auto use = [&](std::size_t i, HoldKind kind) {
    Guarded& what = guarded[i];
    if (kind == HoldKind::Exclusive) {
      EXPECT_EQ(what.writers.fetch_add(1), 0);
      EXPECT_EQ(what.readers.load(), 0);
      ++what.value;
      ++written[i];
      what.writers.fetch_sub(1);
    } else {
      what.readers.fetch_add(1);
      EXPECT_EQ(what.writers.load(), 0);
      EXPECT_LE(what.value, written[i].load());
      what.readers.fetch_sub(1);
    }
  };
  const auto run = [&](Context& me, std::uint64_t seed) -> Outcome {
    std::mt19937_64 mine(seed);
    const auto roll = [&](int most) {
      return static_cast<int>(mine() % static_cast<unsigned>(most));
    };
    for (int round = 0; round < rounds; ++round) {
      std::array<std::uint32_t, kResources> order{};
      for (std::uint32_t i = 0; i < kResources; ++i) order[i] = i;
      std::shuffle(order.begin(), order.end(), mine);
      const int count = 2 + roll(2);
      for (int i = 0; i < count; ++i) {
        const Handle handle(order[static_cast<std::size_t>(i)], 1);
        const HoldKind kind = roll(3) == 0 ? HoldKind::Shared : HoldKind::Exclusive;
        const auto priority = static_cast<ResourcePriority>(1 + roll(3));
        Request request = blocking(kind, priority);
        if (roll(16) == 0) request = emergency(kLongNs, kind);
        const Outcome outcome = domain.engine.acquire(me, handle, request);
        if (!outcome) {
          const ErrorCode code = outcome.error().code();
          EXPECT_TRUE(code == ErrorCode::Deadlock || code == ErrorCode::Preempted)
              << outcome.error().message();
          ++deadlocks;
          break;
        }
        use(handle.slot(), kind);
      }
      (void)domain.engine.release_all(me, [](Handle, HoldKind) {});
    }
    return Grant{};
  };
  for (auto& actor : actors) {
    actor->start([&, seed = random()](Context& me) { return run(me, seed); });
  }
  for (auto& actor : actors) EXPECT_TRUE(actor->finish());
  for (std::size_t i = 0; i < kResources; ++i) {
    EXPECT_EQ(guarded[i].value, written[i].load());
    EXPECT_TRUE(is_free(domain.engine.word(static_cast<std::uint32_t>(i))));
  }
  EXPECT_EQ(load(domain.tables().region->deadlocks), deadlocks.load());
  EXPECT_EQ(take_census(domain).nodes_lost, 0u);
  EXPECT_EQ(take_census(domain).cells_in_use, 0u);
}

// Everyone takes in the same order, so nobody can wait in a circle: what a walk sees while hands
// change must never add up to one (I8).
TEST_F(DeadlockRace, OneOrderForAllIsNeverADeadlock) {
  const int rounds = static_cast<int>(rounds_from_environment(kSanitized ? 500 : 5'000));
  constexpr std::uint32_t kResources = 3;
  const auto run = [&](Context& me, std::uint64_t seed) -> Outcome {
    std::mt19937_64 mine(seed);
    for (int round = 0; round < rounds; ++round) {
      for (std::uint32_t i = 0; i < kResources; ++i) {
        const HoldKind kind = mine() % 4 == 0 ? HoldKind::Shared : HoldKind::Exclusive;
        const auto priority = static_cast<ResourcePriority>(mine() % 4);
        const Outcome outcome = domain.engine.acquire(me, Handle(i, 1), blocking(kind, priority));
        if (!outcome) return outcome;
      }
      (void)domain.engine.release_all(me, [](Handle, HoldKind) {});
    }
    return Grant{};
  };
  for (auto& actor : actors) {
    actor->start([&, seed = random()](Context& me) {
      Outcome outcome = run(me, seed);
      (void)domain.engine.release_all(me, [](Handle, HoldKind) {});
      return outcome;
    });
  }
  for (auto& actor : actors) {
    const Outcome outcome = actor->finish();
    EXPECT_TRUE(outcome) << outcome.error().message();
  }
  EXPECT_EQ(load(domain.tables().region->deadlocks), 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
