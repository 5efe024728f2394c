// SPDX-License-Identifier: Apache-2.0
//
// Deadlocks whose members race: rings that close at all places at once, and performers who take
// what they like until all is done.
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

#include "tests/base/shared_block.hpp"
#include "tests/lock/stage.hpp"

namespace resmgr::lock::test {
namespace {

constexpr std::uint32_t kPerformers = 8;

/// Members 0 to size-1 hold a resource each and ask, all at once, for the next one's.
struct Ring {
  std::vector<Performer*> members;
  std::vector<Handle> handles;
  std::vector<Request> requests;  ///< a deadline counts from when all of them ask
};

/// What a resource guards, written without any care but the hold's.
struct Guarded {
  std::uint64_t value = 0;  ///< a plain variable: two holders at once are a data race
  std::atomic<std::uint64_t> written = 0;
  std::atomic<int> writers = 0;
  std::atomic<int> readers = 0;
};

/// What the performers share besides the domain.
struct Common {
  std::atomic<std::size_t> ready = 0;
  std::array<Handle, kPerformers> handles;
  std::array<Guarded, kPerformers> guarded;
  std::atomic<std::uint64_t> deadlocks = 0;
  std::atomic<int> violation = 0;  ///< the line of the last
};

class DeadlockRace : public ::testing::Test {
 protected:
  DeadlockRace() {
    for (std::uint32_t i = 0; i < kPerformers; ++i) common->handles.at(i) = stage->resource(i);
    for (std::uint32_t i = 0; i < kPerformers; ++i) actors.push_back(stage->enter());
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
        ring.handles.push_back(common->handles.at(next));
        EXPECT_TRUE(actors[next]->acquire(ring.handles.back()));
      }
      rings.push_back(std::move(ring));
    }
    return rings;
  }
  void start(const std::vector<Ring>& rings) {
    common->ready = 0;
    std::size_t all = 0;
    for (const Ring& ring : rings) all += ring.members.size();
    for (const Ring& ring : rings) {
      for (std::size_t i = 0; i < ring.members.size(); ++i) {
        const Handle wanted = ring.handles[(i + 1) % ring.handles.size()];
        ring.members[i]->post([all, wanted, request = ring.requests[i], ready = &common->ready](
                                  LockEngine& engine, Context& me) {
          ++*ready;
          wait_until([&] { return ready->load() == all; });
          Request now = request;
          if (now.mode == AcquisitionMode::Timeout) now.deadline_ns += monotonic_ns();
          return engine.acquire(me, wanted, now);
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
  const resmgr::test::SharedBlock<Common> common;
  std::unique_ptr<Stage> stage = set_stage({.resources = kPerformers, .performers = kPerformers});
  std::vector<std::unique_ptr<Performer>> actors;
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
  EXPECT_EQ(stage->deadlocks(), rings_closed);
  EXPECT_EQ(stage->late(), 0u);
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
        ring.requests.push_back(blocking());
        if (i != 0) continue;
        ring.requests.back().mode = AcquisitionMode::Timeout;
        ring.requests.back().deadline_ns = static_cast<std::uint64_t>(pick(0, 60'000));
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
  const std::uint64_t late = stage->late();
  EXPECT_EQ(stage->deadlocks(), victims);
  EXPECT_LE(late, both) << "a late victim is one whose ring a timeout broke as well";
  std::cout << victims << " victims, " << both << " beside a timeout, " << late << " late"
            << std::endl;
}

class Player {
 public:
  Player(Common& common, LockEngine& engine, Context& me, std::uint64_t seed)
      : common_(common), engine_(engine), me_(me), random_(seed) {}

  /// Takes two or three of them in any order and any mode, and lets go.
  void take_any() {
    std::array<std::size_t, kResources> order{};
    for (std::size_t i = 0; i < kResources; ++i) order.at(i) = i;
    std::shuffle(order.begin(), order.end(), random_);
    const std::size_t count = 2 + roll(2);
    for (std::size_t i = 0; i < count; ++i) {
      const HoldKind kind = roll(3) == 0 ? HoldKind::Shared : HoldKind::Exclusive;
      const auto priority = static_cast<ResourcePriority>(1 + roll(3));
      Request request = blocking(kind, priority);
      if (roll(16) == 0) request = emergency(kLongNs, kind);
      const Outcome outcome = engine_.acquire(me_, common_.handles.at(order.at(i)), request);
      if (!outcome) {
        const ErrorCode code = outcome.error().code();
        check(code == ErrorCode::Deadlock || code == ErrorCode::Preempted, __LINE__);
        ++common_.deadlocks;
        break;
      }
      use(common_.guarded.at(order.at(i)), kind);
      // Or each has done all of his before another one's turn comes.
      if (roll(4) == 0) std::this_thread::yield();
    }
    let_go();
  }
  /// Takes the first three in their order, and lets go.
  Outcome take_in_order() {
    constexpr std::size_t kRow = 3;
    for (std::size_t i = 0; i < kRow; ++i) {
      const HoldKind kind = roll(4) == 0 ? HoldKind::Shared : HoldKind::Exclusive;
      const auto priority = static_cast<ResourcePriority>(roll(4));
      Outcome outcome = engine_.acquire(me_, common_.handles.at(i), blocking(kind, priority));
      if (outcome) continue;
      let_go();
      return outcome;
    }
    let_go();
    return Grant{};
  }

  static constexpr std::size_t kResources = 6;

 private:
  [[nodiscard]] std::uint64_t roll(std::uint64_t below) { return random_() % below; }
  void let_go() {
    (void)engine_.release_all(me_, [](Handle, HoldKind) {});
  }
  void check(bool good, int line) {
    if (!good) common_.violation = line;
  }
  void use(Guarded& what, HoldKind kind) {
    if (kind == HoldKind::Exclusive) {
      check(what.writers.fetch_add(1) == 0, __LINE__);
      check(what.readers.load() == 0, __LINE__);
      ++what.value;
      ++what.written;
      what.writers.fetch_sub(1);
    } else {
      what.readers.fetch_add(1);
      check(what.writers.load() == 0, __LINE__);
      check(what.value <= what.written.load(), __LINE__);
      what.readers.fetch_sub(1);
    }
  }

  Common& common_;
  LockEngine& engine_;
  Context& me_;
  std::mt19937_64 random_;
};

// Everyone takes two or three in any order and any mode: it ends, and every increment is there.
TEST_F(DeadlockRace, WhateverIsTakenItEnds) {
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 300 : 3'000);
  for (auto& actor : actors) {
    actor->post([rounds, seed = random(), shared = common.get()](LockEngine& engine,
                                                                 Context& me) -> Outcome {
      Player player(*shared, engine, me, seed);
      for (std::uint64_t round = 0; round < rounds; ++round) player.take_any();
      return Grant{};
    });
  }
  for (auto& actor : actors) EXPECT_TRUE(actor->finish());
  EXPECT_EQ(common->violation.load(), 0) << "the line";
  for (std::size_t i = 0; i < Player::kResources; ++i) {
    EXPECT_EQ(common->guarded.at(i).value, common->guarded.at(i).written.load());
    EXPECT_TRUE(is_free(stage->word(common->handles.at(i))));
  }
  EXPECT_GT(common->deadlocks.load(), 0u);
  EXPECT_EQ(stage->deadlocks(), common->deadlocks.load());
  EXPECT_EQ(stage->census().nodes_lost, 0u);
  EXPECT_EQ(stage->census().cells_in_use, 0u);
}

// Everyone takes in the same order, so nobody can wait in a circle: what a walk sees while hands
// change must never add up to one (I8).
TEST_F(DeadlockRace, OneOrderForAllIsNeverADeadlock) {
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 500 : 5'000);
  for (auto& actor : actors) {
    actor->post([rounds, seed = random(), shared = common.get()](LockEngine& engine,
                                                                 Context& me) -> Outcome {
      Player player(*shared, engine, me, seed);
      for (std::uint64_t round = 0; round < rounds; ++round) {
        if (Outcome outcome = player.take_in_order(); !outcome) return outcome;
      }
      return Grant{};
    });
  }
  for (auto& actor : actors) {
    const Outcome outcome = actor->finish();
    EXPECT_TRUE(outcome) << outcome.error().message();
  }
  EXPECT_EQ(stage->deadlocks(), 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
