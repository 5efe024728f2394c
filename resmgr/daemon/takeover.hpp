// SPDX-License-Identifier: Apache-2.0
//
// Takeover: how a domain outlives its keeper.
//
// What a domain is, besides its clients, are descriptors: the registry, the lock region, the
// ledger, and the files behind resources. A Legacy is these, from whoever kept them: the service
// manager (fd_store.hpp). take_over() makes what a keeper begins with of it:
//
//  1. It waits for its turn. A worker that outlived its keeper may still be about to end; two that
//     write would be two authorities.
//  2. The registry is copied into a new sealed memfd, of the next epoch: nobody can map the old one
//     for writing, not even who made it. The lock region and the ledger go on as they are: who
//     holds and who waits there neither notices nor waits for anybody. What the ledger says is void
//     is not copied: one that was stored for a takeover, which came to nothing, would be what the
//     domain was then.
//  3. The copy is stored before a worker serves it, and only then the old one is let go. A keeper
//     killed at any step leaves a registry with the store, and the newest there is one that every
//     client's is older than or equal to.
//  4. The worker completes what its predecessor was in the middle of (DomainState::take_over()),
//     and waits for the clients, which come back to their places. Each is given the new registry,
//     and maps it where the old one was (RegistryRegion::follow()).
//
// Where nothing was kept, or what was kept is damaged, an empty domain begins, of another id. Its
// clients are told that theirs is over, and attach anew. A layout or a ledger of another major is
// refused, and stays with who kept it: the version that made it can go on with it.
//
// What it is not: a way for clients to give anything: nothing comes from them. Lifetime: plain
// values. Thread-safety: one thread, and before the process forks.
//
//   auto property = take_over(std::move(legacy), kTurnPatienceNs);
#pragma once

#include <cstdint>
#include <unordered_map>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/keeper.hpp"

namespace resmgr::daemon {

/// What was kept of a domain. Not checked.
struct Legacy {
  UniqueFd registry;
  UniqueFd locks;
  UniqueFd ledger;
  std::unordered_map<Handle, UniqueFd> files = {};

  [[nodiscard]] bool is_empty() const noexcept { return !registry && !locks && !ledger; }
};

/// What a keeper begins with, but for the listener. Errors: InvalidArgument (damaged, or a part is
/// missing, or the domain went on elsewhere and is over), VersionMismatch, InUse (somebody works on
/// it, and still did after `patience_ns`), CapacityExceeded, System.
[[nodiscard]] Result<Property> take_over(Legacy legacy, std::uint64_t patience_ns);

}  // namespace resmgr::daemon
