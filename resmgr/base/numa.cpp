// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/numa.hpp"

#include <sched.h>

#include <cstddef>
#include <fstream>
#include <limits>
#include <string>

namespace resmgr {

std::vector<unsigned> node_distances(std::int32_t node, const char* root) {
  std::vector<unsigned> distances;
  std::ifstream file(std::string(root) + "/node" + std::to_string(node) + "/distance");
  for (unsigned distance = 0; file >> distance;) distances.push_back(distance);
  return distances;
}

unsigned distance_to(std::span<const unsigned> distances, std::int32_t node) noexcept {
  const auto at = static_cast<std::size_t>(node);
  if (node < 0 || at >= distances.size()) return std::numeric_limits<unsigned>::max();
  return distances[at];
}

std::int32_t current_node() noexcept {
  unsigned node = 0;
  return ::getcpu(nullptr, &node) == 0 ? static_cast<std::int32_t>(node) : 0;
}

}  // namespace resmgr
