// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/capacities.hpp"

namespace resmgr {

std::array<CapacityRange, 10> capacity_ranges(std::uint32_t flags) noexcept {
  const std::uint32_t most_slots =
      flags & RM_DOMAIN_COMPACT_HANDLES ? 1u << RM_COMPACT_SLOT_BITS : kMaxSlots;
  return {{
      {&Capacities::slots, 1, most_slots, "capacity of resources out of range"},
      {&Capacities::contexts, 1, RM_MAX_CONTEXTS, "capacity of contexts out of range"},
      {&Capacities::clients, 1, RM_MAX_CLIENTS, "capacity of clients out of range"},
      {&Capacities::nodes, 1, RM_MAX_WAITS, "capacity of waits out of range"},
      {&Capacities::cells, 1, kMaxRecords, "capacity of shared holds out of range"},
      {&Capacities::classes, 2, RM_MAX_CLASSES, "capacity of classes out of range"},
      {&Capacities::drivers, 2, RM_MAX_DRIVERS, "capacity of drivers out of range"},
      {&Capacities::pairs, 0, kMaxRecords, "capacity of metadata pairs out of range"},
      {&Capacities::dependencies, 0, kMaxRecords, "capacity of dependencies out of range"},
      {&Capacities::shares, 0, kMaxRecords, "capacity of shares out of range"},
  }};
}

Result<void> check_capacities(const Capacities& capacities, std::uint32_t flags) noexcept {
  for (const CapacityRange& range : capacity_ranges(flags)) {
    const std::uint32_t value = capacities.*range.member;
    if (value < range.least || value > range.most) {
      return fail(ErrorCode::InvalidArgument, range.complaint);
    }
  }
  return {};
}

}  // namespace resmgr
