// SPDX-License-Identifier: Apache-2.0
//
// Shares: which drivers may use a resource besides its owner.
//
// What it is: a chain of (driver, rights) for each resource. Being in it is the use edge of the
// graph, "this driver uses the resource", from share() to unshare(): whether the driver acquires it
// in between shows nowhere, for the fast path tells nobody. What it is not: access; the file behind
// a resource is handed out by the authority, which asks here. Lifetime: borrows the tables.
// Thread-safety: the reading functions beside the writer at any time; one ShareWriter.
//
//   ShareWriter shares(tables);
//   auto ok = shares.share(handle, owner, other, Rights::Acquire | Rights::Read);
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/registry/record_pool.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

struct ShareCopy {
  std::uint32_t driver = 0;
  Rights rights = Rights::None;

  friend bool operator==(const ShareCopy&, const ShareCopy&) noexcept = default;
};

/// All shares of a resource, the latest first. Errors: StaleHandle, InvalidArgument (damaged),
/// WouldBlock (see read_chains()).
[[nodiscard]] Result<std::vector<ShareCopy>> read_shares(const Tables& tables, Handle handle);

/// What a driver may do: everything for the owner. Allocates nothing. Errors: as read_shares().
[[nodiscard]] Result<Rights> read_rights(const Tables& tables, Handle handle,
                                         std::uint32_t driver) noexcept;

class ShareWriter {
 public:
  explicit ShareWriter(const Tables& tables) noexcept;

  /// Adds `rights` to those `with` has, and with the first of them the use edge. `by` must be the
  /// owner, or have Rights::Share and these rights itself. Errors: StaleHandle, NotShareable,
  /// NotPermitted, InvalidArgument (no such rights, `with` owns it, no driver), InUse (it is being
  /// unregistered), CapacityExceeded.
  Result<void> share(Handle handle, std::uint32_t by, std::uint32_t with, Rights rights);
  /// Takes a share away, and its use edge. `by` must be the owner, or `with` itself. Errors:
  /// StaleHandle, NotFound, NotPermitted.
  Result<void> unshare(Handle handle, std::uint32_t by, std::uint32_t with) noexcept;

  /// Gives all records of an entry back. REQUIRES: the entry is not published any more.
  void drop_all(Word* entry) noexcept;
  /// Cuts chains where they are damaged, and makes the free list anew. `live` marks the slots with
  /// a published resource.
  void recover(const std::vector<bool>& live);

 private:
  struct Place {
    Word* record = nullptr;    // null: not there
    Word* previous = nullptr;  // null: the entry's own link leads to it
    std::uint32_t link = 0;
  };
  [[nodiscard]] Place locate(const Word* entry, std::uint32_t driver) const noexcept;

  Tables tables_;
  RecordPool<rm_share> pool_;
};

}  // namespace resmgr::registry
