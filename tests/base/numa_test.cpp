// SPDX-License-Identifier: Apache-2.0
//
// NUMA distances, as the kernel writes them.
#include "resmgr/base/numa.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

namespace resmgr {
namespace {

class Numa : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string made = ::testing::TempDir() + "nodesXXXXXX";
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    root_ = made;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void say(int node, const char* text) {
    const auto folder = root_ / ("node" + std::to_string(node));
    std::filesystem::create_directory(folder);
    std::ofstream(folder / "distance") << text;
  }

  std::filesystem::path root_;
};

constexpr unsigned kFarthest = std::numeric_limits<unsigned>::max();

TEST_F(Numa, DistancesAreWhatTheKernelSays) {
  say(1, "21 10 31\n");
  const auto distances = node_distances(1, root_.c_str());
  EXPECT_EQ(distances, (std::vector{21u, 10u, 31u}));
  EXPECT_EQ(distance_to(distances, 0), 21u);
  EXPECT_EQ(distance_to(distances, 2), 31u);
  EXPECT_EQ(distance_to(distances, 3), kFarthest);
  EXPECT_EQ(distance_to(distances, -1), kFarthest);
}

TEST_F(Numa, WithoutAnyAllAreAsFar) {
  say(0, "no number");
  for (const int node : {0, 5, -1}) {
    const auto distances = node_distances(node, root_.c_str());
    EXPECT_TRUE(distances.empty());
    EXPECT_EQ(distance_to(distances, 0), kFarthest);
  }
}

TEST_F(Numa, AThreadRunsOnANode) { EXPECT_GE(current_node(), 0); }

}  // namespace
}  // namespace resmgr
