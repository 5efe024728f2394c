// SPDX-License-Identifier: Apache-2.0
//
// Shares: which drivers may use a resource besides its owner, and which of them do.
//
// What it is: a chain of (driver, rights) for each resource; being in it is a use edge of the
// graph. What it is not: access; the file behind a resource is handed out by the authority, which
// asks here. Lifetime: borrows the tables. Thread-safety: the reading functions beside the writer
// at any time; one ShareWriter.
//
//   ShareWriter shares(tables);
//   auto ok = shares.share(handle, owner, other, Rights::Acquire | Rights::Read);
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/abi/layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/registry/record_pool.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

struct ShareCopy {
  std::uint32_t driver = 0;
  Rights rights = Rights::None;
  bool used = false;  ///< the driver acquired it at least once

  friend bool operator==(const ShareCopy&, const ShareCopy&) noexcept = default;
};

/// All shares of a resource, the latest first. Errors: StaleHandle, InvalidArgument (damaged),
/// WouldBlock (see read_chains()).
[[nodiscard]] Result<std::vector<ShareCopy>> read_shares(const Tables& tables, Handle handle);

/// What a driver may do: everything for the owner. Errors: as read_shares().
[[nodiscard]] Result<Rights> read_rights(const Tables& tables, Handle handle, std::uint32_t driver);

class ShareWriter {
 public:
  explicit ShareWriter(const Tables& tables) noexcept;

  /// Adds `rights` to those `with` has. `by` must be the owner, or have Rights::Share and these
  /// rights itself. Errors: StaleHandle, NotShareable, NotPermitted, InvalidArgument (no such
  /// rights, `with` owns it, no driver), CapacityExceeded.
  Result<void> share(Handle handle, std::uint32_t by, std::uint32_t with, Rights rights);
  /// Takes a share away. `by` must be the owner, or `with` itself. Errors: StaleHandle, NotFound,
  /// NotPermitted.
  Result<void> unshare(Handle handle, std::uint32_t by, std::uint32_t with) noexcept;
  /// Records that a driver it was shared with acquired the resource. Errors: StaleHandle, NotFound.
  Result<void> record_use(Handle handle, std::uint32_t driver) noexcept;

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
