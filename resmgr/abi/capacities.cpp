// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/capacities.hpp"

#include <array>

namespace resmgr {

Result<void> check_capacities(const Capacities& capacities, std::uint32_t flags) noexcept {
  struct Range {
    std::uint32_t value;
    std::uint32_t least;
    std::uint32_t most;
    const char* complaint;
  };
  const std::uint32_t most_slots =
      flags & RM_DOMAIN_COMPACT_HANDLES ? 1u << RM_COMPACT_SLOT_BITS : kMaxSlots;
  const std::array<Range, 10> ranges{{
      {capacities.slots, 1, most_slots, "capacity of resources out of range"},
      {capacities.contexts, 1, RM_MAX_CONTEXTS, "capacity of contexts out of range"},
      {capacities.clients, 1, RM_MAX_CLIENTS, "capacity of clients out of range"},
      {capacities.nodes, 1, RM_MAX_WAITS, "capacity of waits out of range"},
      {capacities.cells, 1, kMaxRecords, "capacity of shared holds out of range"},
      {capacities.classes, 2, RM_MAX_CLASSES, "capacity of classes out of range"},
      {capacities.drivers, 2, RM_MAX_DRIVERS, "capacity of drivers out of range"},
      {capacities.pairs, 0, kMaxRecords, "capacity of metadata pairs out of range"},
      {capacities.dependencies, 0, kMaxRecords, "capacity of dependencies out of range"},
      {capacities.shares, 0, kMaxRecords, "capacity of shares out of range"},
  }};
  for (const Range& range : ranges) {
    if (range.value < range.least || range.value > range.most) {
      return fail(ErrorCode::InvalidArgument, range.complaint);
    }
  }
  return {};
}

}  // namespace resmgr
