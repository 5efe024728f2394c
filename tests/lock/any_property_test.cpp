// SPDX-License-Identifier: Apache-2.0
//
// Random graphs of waits for one and for any of several, against what the definition of a deadlock
// says of them (I7, I11): who is stuck is computed from what the region says, the slow way, without
// a look at how the engine does it. One move at a time.
//
// RESMGR_SEED repeats a run, RESMGR_ROUNDS says how many graphs.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "resmgr/lock/wait.hpp"
#include "tests/lock/cast.hpp"

namespace resmgr::lock::test {
namespace {

constexpr int kContexts = 7;
constexpr int kResources = 6;
constexpr std::size_t kMost = 4;

/// What a context asks for: any of these.
struct Wish {
  std::vector<int> any;
  bool shared = false;
};

/// Blockers of a wait, by the number of their context.
using Blockers = std::set<int>;
/// Of a context: for each resource that it waits for any of, who is in the way there.
using Graph = std::map<int, std::vector<Blockers>>;

/// The definition: stuck is who waits, and has somebody stuck in every way.
std::set<int> stuck_in(const Graph& graph) {
  std::set<int> stuck;
  for (const auto& [context, ways] : graph) stuck.insert(context);
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [context, ways] : graph) {
      const bool is_stuck = std::ranges::all_of(ways, [&](const Blockers& way) {
        return std::ranges::any_of(way, [&](int other) { return stuck.contains(other); });
      });
      if (!is_stuck && stuck.erase(context) != 0) changed = true;
    }
  }
  return stuck;
}

class AnyGame : public Cast {
 public:
  AnyGame(std::uint64_t seed, bool priorities) : Cast(kContexts, seed), priorities_(priorities) {}

  void play() {
    const int moves = pick(8, 32);
    for (int i = 0; i < moves && !::testing::Test::HasFailure(); ++i) move();
    unwind();
  }
  [[nodiscard]] std::uint64_t spared() const { return spared_; }

 private:
  void move() {
    const int context = pick(0, kContexts - 1);
    if (wishes_.contains(context)) return;
    if (!holds_[context].empty() && pick(0, 3) == 0) return release_one(context);
    Wish wish{.any = {}, .shared = pick(0, 3) == 0};
    const auto most = pick(0, 1) == 0 ? 1 : pick(2, static_cast<int>(kMost));
    std::vector<int> all;
    for (int i = 0; i < kResources; ++i) {
      if (!holds_[context].contains(i)) all.push_back(i);
    }
    std::ranges::shuffle(all, random_);
    all.resize(std::min(all.size(), static_cast<std::size_t>(most)));
    wish.any = all;
    if (!all.empty()) request(context, wish);
  }

  // The same call for one and for several: both ways of waiting are met.
  void request(int context, const Wish& wish) {
    const HoldKind kind = wish.shared ? HoldKind::Shared : HoldKind::Exclusive;
    const auto priority =
        priorities_ ? static_cast<ResourcePriority>(pick(1, 3)) : ResourcePriority::Normal;
    const Request asked = blocking(kind, priority);
    const bool waits = std::ranges::none_of(wish.any, [&](int r) { return is_free_for(r, kind); });
    const auto as_it_would_be = waits ? with(context, wish) : Graph{};
    wishes_[context] = wish;
    if (wish.any.size() == 1) {
      actor(context).begin(handle(wish.any.front()), asked);
    } else {
      std::array<std::uint64_t, kMost> any{};
      for (std::size_t i = 0; i < wish.any.size(); ++i) any[i] = handle(wish.any[i]).bits();
      const auto count = static_cast<std::uint32_t>(wish.any.size());
      actor(context).begin_call([any, count, asked](LockEngine& engine, Context& me) -> Outcome {
        std::array<Handle, kMost> handles{};
        for (std::size_t i = 0; i < count; ++i) handles[i] = Handle::from_bits(any[i]);
        Wait wait;
        std::array<Wait, kMost> members;
        return engine.acquire_any(me, std::span(handles).first(count), asked, wait, members);
      });
    }
    const std::set<int> refused = settle();
    if (!priorities_) check_verdict(context, as_it_would_be, refused);
    check_nobody_is_stuck();
  }
  // Of one priority, who comes last stands last everywhere, and is the victim.
  void check_verdict(int context, const Graph& graph, const std::set<int>& refused) {
    const std::set<int> stuck = stuck_in(graph);
    if (stuck.empty()) {
      EXPECT_TRUE(refused.empty()) << "a false deadlock" << at();
      if (graph.contains(context) && graph.at(context).size() > 1) ++spared_;
      return;
    }
    EXPECT_TRUE(stuck.contains(context)) << at();
    EXPECT_EQ(refused, (std::set<int>{context})) << "the youngest, and no other" << at();
  }
  void check_nobody_is_stuck() {
    const std::set<int> stuck = stuck_in(graph());
    EXPECT_TRUE(stuck.empty()) << stuck.size() << " are stuck" << at();
  }

  /// Waits until nobody moves. Who was refused is returned, who was granted has it.
  std::set<int> settle() {
    std::set<int> refused;
    for (bool moved = true; moved;) {
      moved = false;
      wait_until_settled();
      for (int i = 0; i < kContexts; ++i) {
        if (!wishes_.contains(i) || !actor(i).finished()) continue;
        moved = true;
        const Outcome outcome = actor(i).finish();
        if (outcome) {
          note_hold(i);
        } else {
          refused.insert(i);
          ++victims_;
          EXPECT_EQ(outcome.error().code(), ErrorCode::Deadlock) << at();
          if (!priorities_) {
            EXPECT_FALSE(outcome.error().cycle().empty()) << at();
          }
        }
        wishes_.erase(i);
      }
    }
    return refused;
  }
  void note_hold(int context) {
    const Wish& wish = wishes_.at(context);
    int had = 0;
    for (const int resource : wish.any) {
      if (!holders(resource).contains(context)) continue;
      holds_[context][resource] = wish.shared ? HoldKind::Shared : HoldKind::Exclusive;
      ++had;
    }
    EXPECT_EQ(had, 1) << "I11" << at();
  }
  void release_one(int context) {
    auto& held = holds_[context];
    const auto which = std::next(held.begin(), pick(0, static_cast<int>(held.size()) - 1));
    const auto [resource, kind] = *which;
    held.erase(which);
    ASSERT_TRUE(actor(context).release(handle(resource), kind));
    EXPECT_TRUE(settle().empty()) << at();
    check_nobody_is_stuck();
  }
  void unwind() {
    for (bool left = true; left && !::testing::Test::HasFailure();) {
      left = false;
      for (int i = 0; i < kContexts; ++i) {
        left = left || wishes_.contains(i);
        while (!wishes_.contains(i) && !holds_[i].empty() && !::testing::Test::HasFailure()) {
          release_one(i);
        }
      }
    }
    for (int i = 0; i < kResources; ++i) EXPECT_TRUE(is_free(stage_->word(handle(i)))) << at();
  }

  // ---- what the region says
  // ----------------------------------------------------------------------

  [[nodiscard]] std::set<int> holders(int resource) {
    const LockTables& t = stage_->tables();
    std::set<int> found;
    const rm_slot& slot = *t.slot(handle(resource).slot());
    const StateWord word{load(slot.word)};
    if (word.owner() != 0) found.insert(number_of(word.owner()));
    CellPool(t).for_each(slot, handle(resource).generation(), [&](const rm_cell&, CellWord cell) {
      if (cell.in_use()) found.insert(number_of(cell.context()));
      return true;
    });
    return found;
  }
  [[nodiscard]] bool is_free_for(int resource, HoldKind kind) {
    const StateWord word = stage_->word(handle(resource));
    if (word.has(RM_WORD_WAITERS)) return false;
    const bool shared = word.owner() == 0;
    return holders(resource).empty() || (kind == HoldKind::Shared && shared);
  }
  [[nodiscard]] std::vector<Waiter> waiters(int resource) {
    const LockTables& t = stage_->tables();
    std::vector<Waiter> found;
    // Those behind were never used; a served domain has many.
    const std::uint32_t used = std::min(t.node_count, load(t.region->nodes.high_water));
    for (std::uint32_t i = 0; i < used; ++i) {
      Waiter waiter;
      if (read_waiter(t, t.nodes[i], waiter) && waiter.slot == handle(resource).slot()) {
        found.push_back(waiter);
      }
    }
    return found;
  }
  /// Who is in the way of a request at a resource; `before` says of a waiter whether he stands so.
  template <typename Before>
  [[nodiscard]] Blockers in_the_way(int context, int resource, bool shared, Before&& before) {
    Blockers way;
    const bool exclusive = stage_->word(handle(resource)).owner() != 0;
    if (!shared || exclusive) way = holders(resource);
    for (const Waiter& other : waiters(resource)) {
      if ((!shared || other.mode != RM_WAIT_SHARED) && before(other)) {
        way.insert(number_of(other.context));
      }
    }
    way.erase(context);
    return way;
  }
  [[nodiscard]] Graph graph() {
    Graph graph;
    for (int resource = 0; resource < kResources; ++resource) {
      for (const Waiter& waiter : waiters(resource)) {
        const int context = number_of(waiter.context);
        graph[context].push_back(
            in_the_way(context, resource, waiter.mode == RM_WAIT_SHARED,
                       [&](const Waiter& other) { return other.rank.before(waiter.rank); }));
      }
    }
    return graph;
  }
  /// And one who comes last.
  [[nodiscard]] Graph with(int context, const Wish& wish) {
    Graph all = graph();
    for (const int resource : wish.any) {
      all[context].push_back(
          in_the_way(context, resource, wish.shared, [](const Waiter&) { return true; }));
    }
    return all;
  }
  bool priorities_;
  std::map<int, Wish> wishes_;
  std::map<int, std::map<int, HoldKind>> holds_;
  std::uint64_t spared_ = 0;
};

class AnyProperty : public ::testing::TestWithParam<bool> {};

TEST_P(AnyProperty, ADeadlockIsWhereEveryWayIsOne) {
  AnyGame game(seed_from_environment(), GetParam());
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 150 : 2'000);
  for (std::uint64_t round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    game.play();
  }
  EXPECT_EQ(game.stage().deadlocks(), game.victims());
  EXPECT_GT(game.victims(), rounds / 20) << "too few deadlocks to say anything";
  if (!GetParam()) {
    EXPECT_GT(game.spared(), rounds / 2) << "too few other ways to say anything";
  }
  EXPECT_EQ(game.stage().census().nodes_lost, 0u);
  EXPECT_EQ(game.stage().census().cells_in_use, 0u);
}

INSTANTIATE_TEST_SUITE_P(Priorities, AnyProperty, ::testing::Bool(), [](const auto& priorities) {
  return std::string(priorities.param ? "Different" : "Equal");
});

}  // namespace
}  // namespace resmgr::lock::test
