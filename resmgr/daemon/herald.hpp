// SPDX-License-Identifier: Apache-2.0
//
// Herald: tells clients what becomes of resources whose owner died.
//
// What it is: the events ORPHANED and OWNER_DIED, for those who hold the resource, wait for it, or
// had it shared with them. Who was told that it is an orphan is told how that ended, if it is
// destroyed; that it was adopted the registry says. What it is not: a promise: who is not connected
// is not told, nor by a successor, and who takes no more misses it (session.hpp). It decides
// nothing.
//
// Lifetime: borrows the state and the outbox. Thread-safety: one thread.
//
//   herald.orphaned(left);
//   herald.about_to_destroy(due);      // those who wait are about to be sent away
//   for (Handle handle : due) if (destroy(handle)) herald.destroyed(handle);
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/daemon/outbox.hpp"

namespace resmgr::daemon {

class Herald {
 public:
  explicit Herald(DomainState& state) noexcept : state_(state) {}
  /// Null: nobody is told anything.
  void set_outbox(Outbox* outbox) noexcept { outbox_ = outbox; }

  // All of these may throw std::bad_alloc.
  /// Their owner died. REQUIRES: his contexts are dead.
  void orphaned(std::span<const Handle> handles);
  /// Their grace is over: looks whom that concerns now.
  void about_to_destroy(std::span<const Handle> handles);
  void destroyed(Handle handle);
  /// It has an owner again.
  void adopted(Handle handle) noexcept { concerned_.erase(handle); }
  /// Whoever has its place later was told nothing yet.
  void departed(std::uint32_t client) noexcept {
    for (auto& [handle, clients] : concerned_) clients.erase(client);
  }

 private:
  void look(std::span<const Handle> handles);
  void tell(wire::OwnerLoss loss, Handle handle);

  DomainState& state_;
  Outbox* outbox_ = nullptr;
  std::unordered_map<Handle, std::set<std::uint32_t>> concerned_;  ///< places of clients
};

}  // namespace resmgr::daemon
