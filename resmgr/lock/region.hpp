// SPDX-License-Identifier: Apache-2.0
//
// LockRegion: the region that every client of a domain may write: state words, waiters, hold cells,
// contexts, order knowledge and flight-recorder rings.
//
// What it is: creation and attachment of the sealed memfd, and the checked tables in it. What it is
// not: an authority; rights stand in the registry region. Lifetime: owns file and mapping.
// Thread-safety: constant after creation.
//
//   auto region = LockRegion::create(capacities, identity).value();
//   LockEngine engine(region.tables(), region.header(), names);
#pragma once

#include "resmgr/abi/region_file.hpp"
#include "resmgr/abi/region_header.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

class LockRegion {
 public:
  /// A new empty region. Errors: InvalidArgument (capacities), System.
  [[nodiscard]] static Result<LockRegion> create(const Capacities& capacities,
                                                 const RegionIdentity& identity);
  /// Maps a region that another process made. Errors: as map_region_file; InvalidArgument if a
  /// table is not where its header says.
  [[nodiscard]] static Result<LockRegion> attach(UniqueFd fd);

  /// Maps the region of a domain whose registry is known, for a new authority. Its header, which
  /// any client could write, is made anew from the registry's, with its epoch. Errors:
  /// InvalidArgument (not sealed, or another size), System.
  [[nodiscard]] static Result<LockRegion> adopt(UniqueFd fd, const rm_region_header& registry);

  /// A slot is about to be used for the first time, after all before it: where it begins a huge
  /// page that lies in the table as a whole, the page is made one. Small domains never get there.
  void grow_into(std::uint32_t slot) noexcept {
    auto* const at = reinterpret_cast<std::byte*>(tables_.slots + slot);
    auto* const end = reinterpret_cast<std::byte*>(tables_.slots + tables_.slot_count);
    if (reinterpret_cast<std::uintptr_t>(at) % kHugePage != 0) [[likely]]
      return;
    if (static_cast<std::size_t>(end - at) >= kHugePage) join_pages(at);
  }

  [[nodiscard]] const LockTables& tables() const noexcept { return tables_; }
  /// The checked copy: the original can be overwritten by any peer.
  [[nodiscard]] const rm_region_header& header() const noexcept { return header_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Memory of the region that is resident, in bytes; 0 if the kernel can't tell.
  [[nodiscard]] std::uint64_t resident_bytes() const noexcept;

 private:
  LockRegion(UniqueFd fd, Mapping mapping, const rm_region_header& header) noexcept;

  UniqueFd fd_;
  Mapping mapping_;
  rm_region_header header_{};
  LockTables tables_;
};

}  // namespace resmgr::lock
