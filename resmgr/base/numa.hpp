// SPDX-License-Identifier: Apache-2.0
//
// NUMA nodes: how far they are from each other.
//
// What it is: what the kernel tells in sysfs. What it is not: a policy, nor libnuma, which reads
// all of it when a program begins. Thread-safety: all functions.
//
//   const auto distances = node_distances(1);
//   const unsigned near = distance_to(distances, 1);    // 10 on most machines
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace resmgr {

/// The distance from `node` to each node, by number; empty where the kernel tells none. `root`: the
/// folder of the nodes. May throw std::bad_alloc.
[[nodiscard]] std::vector<unsigned> node_distances(std::int32_t node,
                                                   const char* root = "/sys/devices/system/node");

/// That to one of them; the farthest there is for one that the kernel does not know.
[[nodiscard]] unsigned distance_to(std::span<const unsigned> distances, std::int32_t node) noexcept;

/// Where the calling thread runs, at this moment.
[[nodiscard]] std::int32_t current_node() noexcept;

}  // namespace resmgr
