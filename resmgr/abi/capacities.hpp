// SPDX-License-Identifier: Apache-2.0
//
// Capacities: how many entries each table of a domain has, chosen once when it is created.
//
// What it is: the sizes both regions of a domain are laid out from. What it is not: memory; the
// tables are sparse and paid for when they are touched. Lifetime and thread-safety: a plain value.
//
//   Capacities small{.slots = 1024, .contexts = 64};
//   if (auto ok = check_capacities(small, 0); !ok) return ok;
#pragma once

#include <array>
#include <cstdint>

#include "resmgr/abi/layout.h"
#include "resmgr/base/error.hpp"

namespace resmgr {

struct Capacities {
  std::uint32_t slots = 1u << 20;          ///< resources; 1 to 2^24, or 2^20 with compact handles
  std::uint32_t contexts = 4096;           ///< 1 to RM_MAX_CONTEXTS
  std::uint32_t clients = 64;              ///< 1 to RM_MAX_CLIENTS
  std::uint32_t nodes = 1u << 16;          ///< waits; 1 to RM_MAX_WAITS
  std::uint32_t cells = 1u << 18;          ///< shared holds; 1 to kMaxRecords
  std::uint32_t classes = RM_MAX_CLASSES;  ///< 2 to RM_MAX_CLASSES; id 0 is "none"
  std::uint32_t drivers = RM_MAX_DRIVERS;  ///< 2 to RM_MAX_DRIVERS; id 0 is "none"
  std::uint32_t pairs = 1u << 18;          ///< key=value pairs of metadata; 0 to kMaxRecords
  std::uint32_t dependencies = 1u << 18;   ///< edges; 0 to kMaxRecords
  std::uint32_t shares = 1u << 18;         ///< 0 to kMaxRecords

  friend bool operator==(const Capacities&, const Capacities&) noexcept = default;
};

inline constexpr std::uint32_t kMaxSlots = 1u << 24;
inline constexpr std::uint32_t kMaxRecords = 1u << 28;
/// The smallest index array, 4 KiB: one page is paid for anyway.
inline constexpr std::uint32_t kMinIndexEntries = 128;
/// An index that can grow is doubled when it has so many names. Up to 1 MiB it is the emptier, so
/// that more names are at home: a look-up that misses no cache is slow where it has to search. A
/// name then has up to 32/7 cells and half as many in the array before, 219 bytes of the 512 that a
/// resource may cost; in a larger index 171 bytes.
[[nodiscard]] constexpr std::uint32_t index_is_full_at(std::uint32_t cells) noexcept {
  return cells / 16 * (cells <= 1u << 15 ? 7 : 9);
}

/// Accounts of credits that clients draw: one for each of a client's drivers.
[[nodiscard]] constexpr std::uint32_t accounts_for(std::uint32_t clients) noexcept {
  return clients < 16 ? 64 : clients * 4;
}

struct CapacityRange {
  std::uint32_t Capacities::* member;
  std::uint32_t least;
  std::uint32_t most;
  const char* complaint;
};
/// What each capacity may be; `flags` are RM_DOMAIN_*.
[[nodiscard]] std::array<CapacityRange, 10> capacity_ranges(std::uint32_t flags) noexcept;

/// Checks each capacity against its range; `flags` are RM_DOMAIN_*.
/// Errors: InvalidArgument, naming the capacity.
[[nodiscard]] Result<void> check_capacities(const Capacities& capacities,
                                            std::uint32_t flags) noexcept;

/// Cells of one full-size index array: a power of two, at most 9/16 of them used.
/// REQUIRES: slots in its range.
[[nodiscard]] constexpr std::uint32_t index_entries_for(std::uint32_t slots) noexcept {
  std::uint32_t cells = kMinIndexEntries;
  while (index_is_full_at(cells) < slots) cells *= 2;
  return cells;
}

}  // namespace resmgr
