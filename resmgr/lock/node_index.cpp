// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/node_index.hpp"

#include <algorithm>
#include <tuple>

#include "resmgr/lock/pools.hpp"

namespace resmgr::lock {
namespace {

constexpr auto kBySlot = [](const NodeIndex::Entry& entry) { return entry.slot; };
constexpr auto kByContext = [](const NodeIndex::Entry& entry) { return entry.context; };

}  // namespace

NodeIndex::NodeIndex(const LockTables& tables) : t_(tables) { entries_.reserve(t_.node_count); }

void NodeIndex::build() noexcept {
  entries_.clear();
  const std::uint32_t end = NodePool(t_).bits().high_water();
  for (std::uint32_t i = 0; i < end; ++i) {
    const rm_node& node = t_.nodes[i];
    if (load(node.refs) == 0) continue;
    entries_.push_back({load_acquire(node.slot), i, load_acquire(node.context)});
  }
  std::ranges::sort(entries_, {}, [](const Entry& entry) {
    return std::tuple(entry.slot, entry.context, entry.node);
  });
}

std::span<const NodeIndex::Entry> NodeIndex::of(std::uint32_t slot) const noexcept {
  return std::ranges::equal_range(entries_, slot, {}, kBySlot);
}

std::span<const NodeIndex::Entry> NodeIndex::of(std::uint32_t slot,
                                                std::uint16_t context) const noexcept {
  return std::ranges::equal_range(of(slot), context, {}, kByContext);
}

}  // namespace resmgr::lock
