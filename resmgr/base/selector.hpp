// SPDX-License-Identifier: Apache-2.0
//
// Selector: which resources will do, where one of them is wanted.
//
// What it is: a description of what a resource must be like; what is left as it is, does not
// matter. What it is not: a hold, nor a list of what there is; see hal/selection.hpp. Lifetime and
// thread-safety: a value that owns its strings.
//
//   manager.select({.class_name = "dma-channel", .numa_node = 1});
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/base/types.hpp"

namespace resmgr {

/// Which of those that will do is tried first.
enum class SelectionOrder : std::uint8_t {
  NearestFirst,  ///< by the distance of its NUMA node from the preferred one
  LeastUsed,     ///< that which was acquired exclusively the fewest times
};

struct Selector {
  std::string class_name = {};    ///< its class; empty: any
  std::string name_pattern = {};  ///< of fnmatch(3), where "*" matches "/" as well; empty: any name
  std::optional<ResourceType> type = {};
  std::uint64_t size_bytes = 0;  ///< it has at least so many
  /// Those on this node come first, then those that name none, then the others, by distance. -1:
  /// the node that the calling thread runs on when the list is made.
  std::int32_t numa_node = -1;
  /// It has all of these pairs, as they are.
  std::vector<std::pair<std::string, std::string>> pairs = {};
  SelectionOrder order = SelectionOrder::NearestFirst;
};

}  // namespace resmgr
