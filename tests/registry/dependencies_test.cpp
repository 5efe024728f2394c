// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/dependencies.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

TEST(Dependencies, BothEndsSeeTheEdge) {
  World world;
  DependencyWriter& graph = world.writer.dependencies();
  const Handle frame = world.add("frame");
  const Handle buffer = world.add("buffer");
  const Handle timer = world.add("timer");
  ASSERT_TRUE(succeeded(graph.add(frame, buffer)));
  ASSERT_TRUE(succeeded(graph.add(frame, timer)));
  EXPECT_EQ(world.view.needs(frame).value(), (std::vector{timer, buffer}));
  EXPECT_EQ(world.view.needed_by(buffer).value(), std::vector{frame});
  EXPECT_TRUE(world.view.needs(buffer).value().empty());
  EXPECT_TRUE(failed_with(graph.add(frame, buffer), ErrorCode::AlreadyExists));
  EXPECT_TRUE(failed_with(graph.add(frame, frame), ErrorCode::InvalidArgument));

  ASSERT_TRUE(succeeded(graph.remove(frame, buffer)));
  EXPECT_TRUE(failed_with(graph.remove(frame, buffer), ErrorCode::NotFound));
  EXPECT_EQ(world.view.needs(frame).value(), std::vector{timer});
  EXPECT_TRUE(world.view.needed_by(buffer).value().empty());
  EXPECT_TRUE(is_sound(world));
}

TEST(Dependencies, AnEdgeThatClosesACycleIsRefusedWithItsNames) {
  World world;
  DependencyWriter& graph = world.writer.dependencies();
  const Handle a = world.add("a");
  const Handle b = world.add("b");
  const Handle c = world.add("c");
  ASSERT_TRUE(succeeded(graph.add(a, b)));
  ASSERT_TRUE(succeeded(graph.add(b, c)));
  const auto refused = graph.add(c, a);
  ASSERT_TRUE(failed_with(refused, ErrorCode::DependencyCycle));
  EXPECT_EQ(refused.error().detail(), "c needs a needs b needs c");
  EXPECT_TRUE(failed_with(graph.add(b, a), ErrorCode::DependencyCycle));
  EXPECT_TRUE(succeeded(graph.add(a, c))) << "a second way is no cycle";
  EXPECT_TRUE(is_sound(world));
}

TEST(Dependencies, NothingNewNeedsWhatIsBeingRemoved) {
  World world;
  const Handle user = world.add("user");
  const Handle used = world.add("used");
  ASSERT_TRUE(succeeded(world.writer.begin_unregister(used)));
  EXPECT_TRUE(failed_with(world.writer.dependencies().add(user, used), ErrorCode::InUse));
  ASSERT_TRUE(succeeded(world.writer.cancel_unregister(used)));
  EXPECT_TRUE(succeeded(world.writer.dependencies().add(user, used)));
}

TEST(Dependencies, TheyGoWithTheResource) {
  World world;
  DependencyWriter& graph = world.writer.dependencies();
  const Handle hub = world.add("hub");
  std::vector<Handle> users;
  for (int i = 0; i < 8; ++i) {
    users.push_back(world.add("user/" + std::to_string(i)));
    ASSERT_TRUE(succeeded(graph.add(users.back(), hub)));
  }
  // From the middle, the end and the beginning of the hub's chain.
  for (const std::size_t i : {4u, 0u, 7u, 3u, 1u, 6u, 2u, 5u}) {
    world.remove(users[i]);
    ASSERT_TRUE(is_sound(world)) << i;
  }
  EXPECT_TRUE(world.view.needed_by(hub).value().empty());
  world.remove(hub);
  EXPECT_TRUE(is_sound(world));
}

TEST(Dependencies, DeepChainsNeedNoStack) {
  Capacities capacities = small_capacities();
  capacities.slots = 50'000;
  capacities.dependencies = 50'000;
  World world(capacities);
  DependencyWriter& graph = world.writer.dependencies();
  std::vector<Handle> chain;
  for (int i = 0; i < 50'000; ++i) {
    chain.push_back(world.add("r/" + std::to_string(i)));
    if (i == 0) continue;
    const auto index = static_cast<std::size_t>(i);
    ASSERT_TRUE(succeeded(graph.add(chain[index], chain[index - 1])));
  }
  EXPECT_TRUE(failed_with(graph.add(chain.front(), chain.back()), ErrorCode::DependencyCycle));
  std::ranges::reverse(chain);
  EXPECT_EQ(world.view.teardown_order(chain.front()).value(), chain);
}

// The graph as a plain map, with reachability by brute force.
class Oracle {
 public:
  explicit Oracle(std::size_t nodes) : edges_(nodes, std::vector<bool>(nodes)) {}
  [[nodiscard]] bool has(std::size_t a, std::size_t b) const { return edges_[a][b]; }
  void set(std::size_t a, std::size_t b, bool there) { edges_[a][b] = there; }
  void forget(std::size_t node) {
    for (std::size_t i = 0; i < edges_.size(); ++i) edges_[node][i] = edges_[i][node] = false;
  }
  [[nodiscard]] std::set<std::size_t> reachable(std::size_t from) const {
    std::set<std::size_t> found{from};
    for (bool grown = true; grown;) {
      grown = false;
      for (const std::size_t a : std::set(found)) {
        for (std::size_t b = 0; b < edges_.size(); ++b) {
          if (edges_[a][b]) grown |= found.insert(b).second;
        }
      }
    }
    return found;
  }
  [[nodiscard]] std::set<std::size_t> needs(std::size_t a) const {
    std::set<std::size_t> found;
    for (std::size_t b = 0; b < edges_.size(); ++b) {
      if (edges_[a][b]) found.insert(b);
    }
    return found;
  }
  [[nodiscard]] std::set<std::size_t> needed_by(std::size_t b) const {
    std::set<std::size_t> found;
    for (std::size_t a = 0; a < edges_.size(); ++a) {
      if (edges_[a][b]) found.insert(a);
    }
    return found;
  }

 private:
  std::vector<std::vector<bool>> edges_;
};

class RandomGraph : public testing::Test {
 protected:
  static constexpr std::size_t kNodes = 10;

  void SetUp() override {
    for (std::size_t i = 0; i < kNodes; ++i) handles.push_back(world.add(name_of(i)));
  }
  static std::string name_of(std::size_t node) { return "n" + std::to_string(node); }
  std::size_t node_of(Handle handle) const {
    return static_cast<std::size_t>(std::ranges::find(handles, handle) - handles.begin());
  }
  std::set<std::size_t> nodes_of(const Result<std::vector<Handle>>& list) const {
    std::set<std::size_t> nodes;
    for (const Handle handle : list.value()) nodes.insert(node_of(handle));
    return nodes;
  }
  void add(std::size_t a, std::size_t b) {
    const auto added = graph.add(handles[a], handles[b]);
    if (a == b) {
      ASSERT_TRUE(failed_with(added, ErrorCode::InvalidArgument));
    } else if (oracle.has(a, b)) {
      ASSERT_TRUE(failed_with(added, ErrorCode::AlreadyExists));
    } else if (oracle.reachable(b).contains(a)) {
      ASSERT_TRUE(failed_with(added, ErrorCode::DependencyCycle));
      ASSERT_TRUE(added.error().detail().starts_with(name_of(a) + " needs " + name_of(b)));
      ASSERT_TRUE(added.error().detail().ends_with(" needs " + name_of(a)));
    } else if (edges == small_capacities().dependencies) {
      ASSERT_TRUE(failed_with(added, ErrorCode::CapacityExceeded));
    } else {
      ASSERT_TRUE(succeeded(added));
      oracle.set(a, b, true);
      ++edges;
    }
  }
  void replace(std::size_t node) {
    const auto users = oracle.needed_by(node);
    const auto begun = world.writer.begin_unregister(handles[node]);
    ASSERT_EQ(begun.has_value(), users.empty());
    if (!begun) return;
    ASSERT_TRUE(succeeded(world.writer.finish_unregister(handles[node])));
    edges -= static_cast<std::uint32_t>(oracle.needs(node).size());
    oracle.forget(node);
    handles[node] = world.add(name_of(node));
  }
  void compare(std::size_t node) {
    ASSERT_EQ(nodes_of(world.view.needs(handles[node])), oracle.needs(node));
    ASSERT_EQ(nodes_of(world.view.needed_by(handles[node])), oracle.needed_by(node));
    const std::vector<Handle> order = world.view.teardown_order(handles[node]).value();
    const auto reachable = oracle.reachable(node);
    ASSERT_EQ(order.size(), reachable.size()) << "each once";
    ASSERT_EQ(nodes_of(order), reachable);
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        ASSERT_FALSE(oracle.has(node_of(order[i]), node_of(order[j])));
      }
    }
  }

  World world;
  DependencyWriter& graph = world.writer.dependencies();
  std::vector<Handle> handles;
  Oracle oracle{kNodes};
  std::uint32_t edges = 0;
};

TEST_F(RandomGraph, AgreesWithBruteForce) {
  std::mt19937_64 random(seed());
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t a = random() % kNodes;
    const std::size_t b = random() % kNodes;
    switch (random() % 8) {
      case 0:
        ASSERT_NO_FATAL_FAILURE(replace(a));
        break;
      case 1:
      case 2:
        ASSERT_EQ(graph.remove(handles[a], handles[b]).has_value(), oracle.has(a, b));
        if (oracle.has(a, b)) --edges;
        oracle.set(a, b, false);
        break;
      default:
        ASSERT_NO_FATAL_FAILURE(add(a, b));
    }
    ASSERT_NO_FATAL_FAILURE(compare(a)) << "step " << step;
  }
  EXPECT_TRUE(is_sound(world));
}

}  // namespace
}  // namespace resmgr::registry::test
