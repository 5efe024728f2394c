// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/teardown_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

TEST(TeardownOrder, GoesFromUserToUsed) {
  World world;
  DependencyWriter& graph = world.writer.dependencies();
  const Handle frame = world.add("frame");
  const Handle buffer = world.add("buffer");
  const Handle channel = world.add("channel");
  const Handle device = world.add("device");
  world.add("unrelated");
  ASSERT_TRUE(succeeded(graph.add(frame, buffer)));
  ASSERT_TRUE(succeeded(graph.add(frame, channel)));
  ASSERT_TRUE(succeeded(graph.add(channel, device)));
  ASSERT_TRUE(succeeded(graph.add(buffer, device)));
  const std::vector<Handle> order = world.view.teardown_order(frame).value();
  ASSERT_EQ(order.size(), 4u);
  EXPECT_EQ(order.front(), frame);
  EXPECT_EQ(order.back(), device);
  EXPECT_EQ(world.view.teardown_order(device).value(), std::vector{device});
}

class UseOrder : public testing::Test {
 protected:
  Handle add(const std::string& name, std::uint32_t owner) {
    return world.add(name, {.flags = ResourceFlags::Shareable, .owner_driver = owner});
  }
  void share(Handle handle, std::uint32_t owner, std::uint32_t with) {
    ASSERT_TRUE(succeeded(world.writer.shares().share(handle, owner, with, Rights::Acquire)));
  }
  void need(Handle from, Handle to) {
    ASSERT_TRUE(succeeded(world.writer.dependencies().add(from, to)));
  }
  std::vector<Handle> order(Handle of) { return world.view.teardown_order(of).value(); }

  World world;
  std::uint32_t gpu = world.driver("gpu");
  std::uint32_t dma = world.driver("dma");
  Handle frame = add("frame", 0);
  Handle buffer = add("buffer", gpu);
  Handle channel = add("channel", dma);
};

// Whichever need is the younger, which decides without the use edge.
TEST_F(UseOrder, WhatTheUserOwnsGoesBeforeWhatItUses) {
  need(frame, buffer);
  need(frame, channel);
  share(buffer, gpu, dma);
  EXPECT_EQ(order(frame), (std::vector{frame, channel, buffer}));
  ASSERT_TRUE(succeeded(world.writer.shares().unshare(buffer, gpu, dma)));
  share(channel, dma, gpu);
  EXPECT_EQ(order(frame), (std::vector{frame, buffer, channel}));
}

TEST_F(UseOrder, UseAloneTearsNothingDown) {
  share(buffer, gpu, dma);
  EXPECT_EQ(order(channel), std::vector{channel});
  EXPECT_EQ(order(buffer), std::vector{buffer});
}

TEST_F(UseOrder, NeedWinsAgainstUse) {
  need(buffer, channel);
  share(buffer, gpu, dma);
  EXPECT_EQ(order(buffer), (std::vector{buffer, channel}));
}

TEST_F(UseOrder, ACircleOfUseDropsNothingAndIsTheSameEachTime) {
  const Handle apart = add("apart", dma);  // it uses the buffer too, and nobody uses it
  need(frame, apart);
  need(frame, buffer);
  need(frame, channel);
  share(buffer, gpu, dma);
  share(channel, dma, gpu);
  const std::vector<Handle> first = order(frame);
  ASSERT_EQ(first.size(), 4u);
  EXPECT_EQ(first[0], frame);
  EXPECT_EQ(first[1], apart) << "only the edges of the circle are left out";
  EXPECT_EQ(order(frame), first);
}

TEST_F(UseOrder, DeepChainsNeedNoStack) {
  constexpr std::uint32_t kLength = 50'000;
  Capacities capacities = small_capacities();
  capacities.slots = capacities.dependencies = kLength;
  World deep(capacities);
  const std::array owners{deep.driver("even"), deep.driver("odd")};
  std::vector<Handle> chain;
  for (std::uint32_t i = 0; i < kLength; ++i) {
    chain.push_back(deep.add("r/" + std::to_string(i),
                             {.flags = ResourceFlags::Shareable, .owner_driver = owners[i % 2]}));
    if (i == 0) continue;
    ASSERT_TRUE(succeeded(deep.writer.dependencies().add(chain[i], chain[i - 1])));
  }
  for (const std::uint32_t i : {0u, kLength - 1}) {
    const auto with = owners[(i + 1) % 2];
    ASSERT_TRUE(
        succeeded(deep.writer.shares().share(chain[i], owners[i % 2], with, Rights::Acquire)));
  }
  std::ranges::reverse(chain);
  EXPECT_EQ(deep.view.teardown_order(chain.front()).value(), chain);
}

// All resources below one root, with edges and shares at random, against brute force.
class RandomUses : public testing::Test {
 protected:
  static constexpr std::size_t kNodes = 9;
  static constexpr std::size_t kDrivers = 4;
  using Edges = std::array<std::array<bool, kNodes>, kNodes>;

  void SetUp() override {
    for (std::size_t i = 0; i < kDrivers; ++i) drivers.push_back(world.driver(name("d", i)));
    for (std::size_t i = 0; i < kNodes; ++i) {
      owners.push_back(i == 0 ? 0 : drivers[random() % kDrivers]);
      handles.push_back(
          world.add(name("n", i), {.flags = ResourceFlags::Shareable, .owner_driver = owners[i]}));
    }
    for (std::size_t a = 0; a < kNodes; ++a) {
      for (std::size_t b = 1; b < kNodes; ++b) {
        if (a != b && (a == 0 || random() % 8 == 0)) {
          needs[a][b] = world.writer.dependencies().add(handles[a], handles[b]).has_value();
        }
      }
    }
  }
  static std::string name(const char* prefix, std::size_t i) { return prefix + std::to_string(i); }
  void share(std::size_t node, std::uint32_t with) {
    const auto shared =
        world.writer.shares().share(handles[node], owners[node], with, Rights::Read);
    ASSERT_EQ(shared.has_value(), owners[node] != with);
    for (std::size_t a = 0; shared && a < kNodes; ++a) uses[a][node] |= owners[a] == with;
  }
  // Both kinds of edges, and what follows from them.
  [[nodiscard]] Edges closure() const {
    Edges reach = needs;
    for (std::size_t a = 0; a < kNodes; ++a) {
      for (std::size_t b = 0; b < kNodes; ++b) reach[a][b] |= uses[a][b];
    }
    for (std::size_t k = 0; k < kNodes; ++k) {
      for (std::size_t a = 0; a < kNodes; ++a) {
        for (std::size_t b = 0; b < kNodes; ++b) reach[a][b] |= reach[a][k] && reach[k][b];
      }
    }
    return reach;
  }
  void check() {
    const std::vector<Handle> order = world.view.teardown_order(handles[0]).value();
    std::array<std::size_t, kNodes> places{};
    ASSERT_EQ(order.size(), kNodes);
    for (std::size_t i = 0; i < kNodes; ++i) {
      const auto at = std::ranges::find(order, handles[i]);
      ASSERT_NE(at, order.end()) << "none is dropped";
      places[i] = static_cast<std::size_t>(at - order.begin());
    }
    const Edges reach = closure();
    for (std::size_t a = 0; a < kNodes; ++a) {
      for (std::size_t b = 0; b < kNodes; ++b) {
        if (needs[a][b] || (uses[a][b] && !reach[b][a])) {
          ASSERT_LT(places[a], places[b]) << a << " before " << b;
        }
      }
    }
    ASSERT_EQ(world.view.teardown_order(handles[0]).value(), order);
  }

  std::mt19937_64 random{seed()};
  World world;
  std::vector<std::uint32_t> drivers;
  std::vector<std::uint32_t> owners;
  std::vector<Handle> handles;
  Edges needs{};
  Edges uses{};
};

TEST_F(RandomUses, AgreeWithBruteForce) {
  for (int round = 0; round < 1000; ++round) {
    uses = {};
    const auto shares = 1 + random() % 6;
    for (std::size_t i = 0; i < shares; ++i) {
      ASSERT_NO_FATAL_FAILURE(share(1 + random() % (kNodes - 1), drivers[random() % kDrivers]));
    }
    ASSERT_NO_FATAL_FAILURE(check()) << "round " << round;
    for (std::size_t i = 1; i < kNodes; ++i) {
      for (const std::uint32_t driver : drivers) {
        (void)world.writer.shares().unshare(handles[i], owners[i], driver);
      }
    }
  }
}

}  // namespace
}  // namespace resmgr::registry::test
