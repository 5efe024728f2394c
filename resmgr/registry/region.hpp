// SPDX-License-Identifier: Apache-2.0
//
// RegistryRegion: the mapped registry of one domain.
//
// What it is: the sealed memfd, its mapping, the checked copy of its header, and the tables found
// through that copy. What it is not: an interpretation of the tables; RegistryView reads them,
// RegistryWriter is the authority that writes them. Lifetime: views and writers borrow the region
// and must go first; moving it keeps their addresses valid. Thread-safety: as a plain value.
//
//   auto region = RegistryRegion::create(capacities, identity);         // the authority
//   auto mapped = RegistryRegion::attach(std::move(fd), Mapping::Access::Read);   // a client
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "resmgr/abi/budget_tables.hpp"
#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/region_header.hpp"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/registry/current_index.hpp"
#include "resmgr/registry/name_key.hpp"
#include "resmgr/registry/records.hpp"
#include "resmgr/registry/tallies.hpp"

namespace resmgr::registry {

inline constexpr std::size_t kRegistryTables = 10;

/// Counts and sizes of the registry's tables, in the order of rm_registry_table.
/// REQUIRES: check_capacities() agrees.
[[nodiscard]] std::array<TableShape, kRegistryTables> registry_shapes(
    const Capacities& capacities) noexcept;

/// Where the tables of one mapped region are.
struct Tables {
  rm_registry_region* root = nullptr;  ///< where the region begins
  int file = -1;                       ///< the region's, borrowed
  Records<rm_entry> entries;
  const std::uint64_t* index_state = nullptr;  ///< in the root
  CurrentIndex* current = nullptr;             ///< what it said last; the region's
  Records<rm_index_cell> index;                ///< both arrays, one after the other
  Records<rm_pair> pairs;
  Records<rm_dependency> dependencies;
  Records<rm_share> shares;
  Records<rm_tag> classes;
  Records<rm_tag> drivers;
  BudgetTables budgets;
  Tallies tallies;
  NameSecrets secrets;  ///< of the hashes in the index
  /// Identities in the index are below it: none has a slot that is not there.
  Word identity_end = 0;
  std::uint32_t flags = 0;  ///< RM_DOMAIN_*
};

/// Gets pages for a part of the region that is about to be written, in two calls of the kernel
/// instead of a fault for each, which costs a fifth more. A hint: what can't be had is left to the
/// faults.
void reserve(const Tables& tables, void* begin, std::size_t bytes) noexcept;

/// CapacityExceeded for `table` (static text), with what was asked for and what there is.
[[nodiscard]] std::unexpected<Error> table_full(const char* table, std::uint64_t requested,
                                                std::uint64_t available) noexcept;

class RegistryRegion {
 public:
  /// A new, empty registry. Errors: InvalidArgument (capacities, flags, generation), System,
  /// CapacityExceeded (no descriptor left).
  [[nodiscard]] static Result<RegistryRegion> create(const Capacities& capacities,
                                                     const RegionIdentity& identity);
  /// Maps one that came from elsewhere. Errors: InvalidArgument (not a sealed registry region, or a
  /// damaged one), VersionMismatch, NotPermitted, System.
  [[nodiscard]] static Result<RegistryRegion> attach(UniqueFd fd, Mapping::Access access);

  /// A copy of `source` as it is now, of another epoch, in a file of its own that is mapped for
  /// writing; its writer has to recover() it. REQUIRES: nobody writes `source` meanwhile. Errors:
  /// System, CapacityExceeded.
  [[nodiscard]] static Result<RegistryRegion> copy_of(const RegistryRegion& source,
                                                      std::uint64_t epoch);

  /// Has the registry of a later epoch read from here on, at the same addresses; readers go on
  /// meanwhile. header() and what it says of the epoch stay. REQUIRES: mapped for reading. Errors:
  /// InvalidArgument (another domain, not a later epoch), those of attach().
  [[nodiscard]] Result<void> follow(UniqueFd later);

  /// As it was when it was attached.
  [[nodiscard]] const rm_region_header& header() const noexcept { return header_; }
  [[nodiscard]] const Tables& tables() const noexcept { return tables_; }
  /// The file, to hand on; owned by the region.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// All bytes of the region.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return mapping_.bytes(); }
  [[nodiscard]] bool writable() const noexcept { return access_ == Mapping::Access::ReadWrite; }

 private:
  RegistryRegion(UniqueFd fd, Mapping mapping, Mapping::Access access,
                 const rm_region_header& header);

  UniqueFd fd_;
  Mapping mapping_;
  Mapping::Access access_;
  rm_region_header header_;
  std::unique_ptr<CurrentIndex> current_;
  Tables tables_;
};

}  // namespace resmgr::registry
