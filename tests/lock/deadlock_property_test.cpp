// SPDX-License-Identifier: Apache-2.0
//
// Deadlock detection against an oracle that knows the whole history (I6 to I9): no cycle is missed,
// none is invented, the victim is the one that the rule names. Contexts move one at a time, so that
// the history is one line; rings whose members race are in deadlock_race_test.cpp.
//
// RESMGR_SEED repeats a run, RESMGR_ROUNDS says how many graphs.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/lock/cast.hpp"
#include "tests/lock/wait_oracle.hpp"

namespace resmgr::lock::test {
namespace {

constexpr int kContexts = 7;
constexpr int kResources = 5;

class Game : public Cast {
 public:
  explicit Game(std::uint64_t seed) : Cast(kContexts, seed) {}

  void play() {
    oracle_ = WaitOracle(kContexts, kResources);
    const int moves = pick(8, 28);
    for (int i = 0; i < moves && !::testing::Test::HasFailure(); ++i) move();
    unwind();
  }
  /// Victims whose cycle was broken before they could name it.
  [[nodiscard]] std::uint64_t dissolved() const { return dissolved_; }

 private:
  void move() {
    const int context = pick(0, kContexts - 1);
    const int resource = pick(0, kResources - 1);
    if (oracle_.wish(context)) return;
    const auto held = oracle_.held(context, resource);
    if (!held) {
      request(context, resource);
    } else if (*held == HoldKind::Shared && pick(0, 3) == 0) {
      upgrade(context, resource);
    } else if (*held == HoldKind::Exclusive && pick(0, 3) == 0) {
      ASSERT_TRUE(actor(context).downgrade(handle(resource)));
      oracle_.downgrade(context, resource);
      settle(oracle_.grant(resource));
    } else if (pick(0, 2) == 0) {
      release(context, resource, *held);
    }
  }
  void request(int context, int resource) {
    const bool shared = pick(0, 2) == 0;
    const bool is_emergency = pick(0, 15) == 0;
    const auto priority = static_cast<ResourcePriority>(pick(1, 3));
    Request wanted = blocking(shared ? HoldKind::Shared : HoldKind::Exclusive, priority);
    Wish wish{.resource = resource,
              .mode = static_cast<std::uint8_t>(shared ? RM_WAIT_SHARED : RM_WAIT_EXCLUSIVE),
              .asked = static_cast<std::uint16_t>(priority),
              .emergency = is_emergency};
    if (is_emergency) {
      wanted.mode = AcquisitionMode::Emergency;
      wish.asked = static_cast<std::uint16_t>(wish.asked + kEmergencyRank);
    }
    oracle_.enqueue(context, wish);
    actor(context).begin(handle(resource), wanted);
    arrive(context, resource);
  }
  void upgrade(int context, int resource) {
    const auto priority = static_cast<ResourcePriority>(pick(1, 3));
    oracle_.enqueue(context, {.resource = resource,
                              .mode = RM_WAIT_UPGRADE,
                              .asked = static_cast<std::uint16_t>(priority)});
    actor(context).begin_upgrade(handle(resource), blocking(HoldKind::Exclusive, priority));
    arrive(context, resource);
  }
  void release(int context, int resource, HoldKind kind) {
    ASSERT_TRUE(actor(context).release(handle(resource), kind));
    oracle_.release(context, resource);
    settle(oracle_.grant(resource));
  }

  /// A request has been made: what must have become of it, and of others because of it.
  void arrive(int context, int resource) {
    const std::uint16_t rank = oracle_.wish(context)->rank.priority;
    const std::vector<int> granted = oracle_.grant(resource);
    const auto cycles = oracle_.cycles_through(context);
    wait_until_settled();
    std::vector<int> victims;
    for (int i = 0; i < kContexts; ++i) {
      if (!oracle_.wish(i) || !actor(i).finished()) continue;
      const Outcome outcome = actor(i).finish();
      // Who is granted because a victim withdrew is looked at in settle().
      if (outcome) {
        early_.insert(i);
        continue;
      }
      victims.push_back(i);
      check_victim(context, i, outcome.error());
    }
    ASSERT_EQ(cycles.empty(), victims.empty())
        << (cycles.empty() ? "a false cycle" : "a missed cycle") << at();
    if (cycles.size() == 1) {
      EXPECT_EQ(victims.size(), 1u) << at();
    }
    std::vector<int> due = granted;
    std::set<int> changed;
    for (const int victim : victims) {
      changed.insert(oracle_.wish(victim)->resource);
      oracle_.withdraw(victim);
    }
    for (const int of : changed) {
      for (const int who : oracle_.grant(of)) due.push_back(who);
    }
    victims_ += victims.size();
    settle(due, rank);
    EXPECT_FALSE(oracle_.has_cycle()) << "a cycle is left" << at();
  }
  /// I8, I9: every edge of the reported cycle is real, and the victim is the right one.
  void check_victim(int context, int victim, const Error& error) {
    std::vector<int> cycle;
    for (const Participant& who : error.cycle()) cycle.push_back(number_of(who.context));
    if (cycle.empty()) {
      // Chosen by another, who went on before this one looked back: a second victim, or somebody
      // served past this one's place in a queue, has broken the cycle by then. Counted as late.
      EXPECT_NE(victim, context) << at();
      ++dissolved_;
      return;
    }
    EXPECT_EQ(cycle.front(), victim) << at();
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      ASSERT_TRUE(cycle[i] >= 0 && oracle_.wish(cycle[i])) << at();
      const std::vector<int> blockers = oracle_.blockers(cycle[i]);
      const int next = cycle[(i + 1) % cycle.size()];
      EXPECT_TRUE(std::find(blockers.begin(), blockers.end(), next) != blockers.end())
          << cycle[i] << " does not wait for " << next << at();
      EXPECT_EQ(error.cycle()[i].handle, handle(oracle_.wish(cycle[i])->resource)) << at();
    }
    // On several cycles, who looks back may name another one than he was chosen for.
    std::vector<std::vector<int>> all{cycle};
    if (victim != context) all = oracle_.cycles_through(victim);
    EXPECT_TRUE(std::any_of(all.begin(), all.end(),
                            [&](const std::vector<int>& one) {
                              return oracle_.victim_of(one) == victim &&
                                     verdict_for(one, victim) == error.code();
                            }))
        << "victim " << victim << ": " << error.message() << at();
  }
  [[nodiscard]] ErrorCode verdict_for(const std::vector<int>& cycle, int victim) const {
    const bool urgent = std::any_of(cycle.begin(), cycle.end(),
                                    [&](int member) { return oracle_.wish(member)->emergency; });
    const bool wounded = urgent && !oracle_.wish(victim)->emergency;
    return wounded ? ErrorCode::Preempted : ErrorCode::Deadlock;
  }
  /// Those who are due have been granted, all others still wait. `lent` is the rank of a request
  /// that came: whoever it waits for may have moved up, and have been served because of it.
  void settle(std::vector<int> due, std::uint16_t lent = 0) {
    wait_until_settled();
    read_ranks();
    for (const int context : early_) {
      if (!oracle_.wish(context)) continue;
      oracle_.set_priority(context, std::max(lent, oracle_.wish(context)->rank.priority));
      for (const int who : oracle_.grant(oracle_.wish(context)->resource)) due.push_back(who);
    }
    for (const int context : due) {
      if (early_.erase(context) != 0) continue;
      ASSERT_TRUE(actor(context).finished()) << "context " << context << " was not served" << at();
      const Outcome outcome = actor(context).finish();
      EXPECT_TRUE(outcome) << outcome.error().message() << at();
    }
    EXPECT_TRUE(early_.empty()) << "somebody got what was not his" << at();
    early_.clear();
    for (int i = 0; i < kContexts; ++i) {
      if (!oracle_.wish(i)) continue;
      EXPECT_FALSE(actor(i).finished()) << "context " << i << " should wait" << at();
    }
  }
  void read_ranks() {
    for (int i = 0; i < kContexts; ++i) {
      if (!oracle_.wish(i)) continue;
      stage_->engine().graph().for_each_wait(actor(i).id(), [&](const Waiter& waiter) {
        EXPECT_GE(waiter.rank.priority, oracle_.wish(i)->rank.priority) << at();
        oracle_.set_priority(i, waiter.rank.priority);
        return false;
      });
    }
  }
  void unwind() {
    for (bool left = true; left && !::testing::Test::HasFailure();) {
      left = false;
      for (int context = 0; context < kContexts; ++context) {
        left = left || oracle_.wish(context).has_value();
        for (int resource = 0; resource < kResources; ++resource) {
          const auto held = oracle_.held(context, resource);
          if (oracle_.wish(context) || !held) continue;
          release(context, resource, *held);
        }
      }
    }
    for (int i = 0; i < kResources; ++i) EXPECT_TRUE(is_free(stage_->word(handle(i)))) << at();
  }
  WaitOracle oracle_{kContexts, kResources};
  std::set<int> early_;
  std::uint64_t dissolved_ = 0;
};

TEST(DeadlockProperty, NothingIsMissedAndNothingInvented) {
  const std::uint64_t seed = seed_from_environment();
  Game game(seed);
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 250 : 5'000);
  for (std::uint64_t round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    game.play();
  }
  EXPECT_EQ(game.stage().deadlocks(), game.victims());
  EXPECT_EQ(game.stage().late(), game.dissolved());
  EXPECT_LE(game.dissolved(), game.victims() / 10);
  EXPECT_GT(game.victims(), rounds / 10) << "too few deadlocks to say anything";
  EXPECT_EQ(game.stage().census().nodes_lost, 0u);
  EXPECT_EQ(game.stage().census().cells_in_use, 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
