// SPDX-License-Identifier: Apache-2.0
//
// Region headers: made once when a region is created, checked by everyone who attaches.
//
// What it is: the part that the registry region and the lock region have in common: magic, layout
// version, capacities, where the tables are, and a checksum. What it is not: the contents of the
// tables, which each region checks whenever it reads them.
//
// A header never changes after creation, but it lies in memory that others may write: attach works
// on the checked *copy* that read_header() returns and never looks at the original again.
// Lifetime: results are plain values. Thread-safety: pure functions.
//
//   const std::array<TableShape, 2> tables{{{slots, sizeof(rm_slot)}, {nodes, sizeof(rm_node)}}};
//   auto header = make_header(RM_LOCK_MAGIC, capacities, identity, sizeof(rm_lock_region), tables);
//   ...
//   auto copy = read_header(mapping.bytes(), RM_LOCK_MAGIC);
//   if (copy) { auto ok = check_tables(*copy, sizeof(rm_lock_region), tables); }
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"

namespace resmgr {

/// One table of a region. Its place in the list given to make_header() and check_tables() is its
/// number in rm_region_header.offset.
struct TableShape {
  std::uint64_t count = 0;
  std::uint64_t element_bytes = 0;
};

/// What tells domains and their incarnations apart; equal in both regions of a domain.
struct RegionIdentity {
  std::uint64_t domain_id = 0;  ///< random
  std::uint64_t epoch = 1;      ///< grows when a domain moves to new regions
  std::uint32_t flags = 0;      ///< RM_DOMAIN_*
  /// Of each slot in it. Handles of one domain are stale in another that begins elsewhere.
  std::uint32_t first_generation = 1;
};

/// That of a domain nobody has seen before: id and first generation are random.
[[nodiscard]] RegionIdentity new_identity(std::uint32_t flags) noexcept;

/// The highest generation in a domain with these flags.
[[nodiscard]] constexpr std::uint32_t highest_generation(std::uint32_t flags) noexcept {
  return (flags & RM_DOMAIN_COMPACT_HANDLES) != 0 ? Handle32::kMaxGeneration
                                                  : Handle::kGenerationMask;
}

/// Tables start on pages of their own, so that untouched ones cost nothing.
inline constexpr std::uint64_t kTableAlignment = 4096;

/// Lays the tables out behind `fixed_bytes` (the size of rm_lock_region or rm_registry_region) and
/// fills in everything, checksum included; region_bytes of the result is what to allocate.
/// Errors: InvalidArgument (a capacity or a flag out of range, too many tables).
[[nodiscard]] Result<rm_region_header> make_header(std::uint64_t magic,
                                                   const Capacities& capacities,
                                                   const RegionIdentity& identity,
                                                   std::uint64_t fixed_bytes,
                                                   std::span<const TableShape> tables);

/// Copies the header out of a mapped region and checks all that needs no knowledge of the tables.
/// Errors: InvalidArgument (other magic, damaged, capacities out of range, the region shorter than
/// it says), VersionMismatch (both numbers in the message).
[[nodiscard]] Result<rm_region_header> read_header(std::span<const std::byte> region,
                                                   std::uint64_t magic);

/// read_header() for those who want the verdict alone.
[[nodiscard]] Result<void> check_header(std::span<const std::byte> region, std::uint64_t magic);

/// Checks that each table of the header lies aligned inside the region, behind `fixed_bytes`, and
/// overlaps no other. Errors: InvalidArgument.
[[nodiscard]] Result<void> check_tables(const rm_region_header& header, std::uint64_t fixed_bytes,
                                        std::span<const TableShape> tables) noexcept;

/// The capacities a header states.
[[nodiscard]] Capacities capacities_of(const rm_region_header& header) noexcept;

/// The checksum that belongs into `header.checksum`: FNV-1a of all bytes before it.
[[nodiscard]] std::uint64_t header_checksum(const rm_region_header& header) noexcept;

}  // namespace resmgr
