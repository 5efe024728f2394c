// SPDX-License-Identifier: Apache-2.0
//
// Ledger: what a worker writes down for the one that may have to take its place.
//
// What it is: the little that the regions don't say, or that they say where every client can write:
// which processes are clients, which files are behind resources, and which drivers an operator has
// drained. What it is not: read by who
// writes it; the keeper holds it, and a new worker begins with it. Lifetime: longer than the
// clerk's. Thread-safety: one thread.
//
//   Clerk clerk(state, version, keeper_link);
#pragma once

#include <cstdint>

#include "resmgr/base/handle.hpp"

namespace resmgr::daemon {

struct Client;

class Ledger {
 public:
  virtual ~Ledger() = default;
  /// A file that is kept for a resource, before the resource can be found; borrowed.
  virtual void file_kept(Handle handle, int file) = 0;
  virtual void file_dropped(Handle handle) = 0;
  /// A client has its place.
  virtual void client_came(const Client& client) = 0;
  /// It is about to be buried: from here on it can't come back.
  virtual void client_leaves(const Client& client) = 0;
  /// Its place is free.
  virtual void client_went(const Client& client) = 0;

  /// A driver is being drained, or not any more.
  virtual void drained(std::uint32_t driver, bool is_so) = 0;

  /// Where nobody takes over.
  [[nodiscard]] static Ledger& none() noexcept;
};

}  // namespace resmgr::daemon
