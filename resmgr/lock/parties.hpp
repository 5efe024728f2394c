// SPDX-License-Identifier: Apache-2.0
//
// Parties: which clients have to do with resources.
//
// What it is: who holds and who waits, found for many resources by one look at each table, so that
// the work is that of the tables, whatever a hostile peer has written there. What it is not: a
// picture of one moment; and what a context says of its client, any client could write. For telling
// people, not for deciding anything. Lifetime: of the call. Thread-safety: any thread.
//
//   for (const Party& party : parties_of(engine.tables(), handles)) tell(party.client,
//   party.handle);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/base/handle.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

struct Party {
  Handle handle;
  std::uint32_t client = 0;  ///< of a living context that holds it, or waits for it
};

/// A client may be there more than once for a resource. May throw std::bad_alloc.
[[nodiscard]] std::vector<Party> parties_of(const LockTables& tables,
                                            std::span<const Handle> handles);

}  // namespace resmgr::lock
