// SPDX-License-Identifier: Apache-2.0
//
// FdStore: a domain's descriptors in the keeping of the service manager, for the next keeper.
//
// What it is: which descriptor has which name there, and the patience for a manager that has no
// room for messages. What it is not: a promise: where there is no manager, or its unit keeps
// nothing, all of this does nothing. Names: registry.EPOCH, locks, ledger, file.HANDLE.
//
// The registry's name has its epoch in it, so that there is always one: the new one is stored
// before the old one is removed.
//
// Lifetime: borrows the manager. Thread-safety: one thread, the keeper's.
//
//   FdStore store(manager, log);
//   Legacy legacy = store.sort(passed);   // what it keeps from before
//   store.keep(property);                 // before anybody serves it
//   property.estate.on_file = [&](Handle handle, int file) { store.file(handle, file); };
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "resmgr/base/log.hpp"
#include "resmgr/daemon/keeper.hpp"
#include "resmgr/daemon/service_manager.hpp"
#include "resmgr/daemon/takeover.hpp"

namespace resmgr::daemon {

class FdStore {
 public:
  FdStore(ServiceManager& manager, LogSink log) : manager_(manager), log_(std::move(log)) {}

  /// Takes what was stored out of `passed`, and leaves the rest. Of several registries the newest
  /// counts.
  [[nodiscard]] Legacy sort(std::vector<PassedFd>& passed);
  /// Removes all that sort() found: what begins now is another domain.
  void forget();
  /// Stores a domain's parts that are not there yet, and then removes what they replace. Errors:
  /// WouldBlock (the manager does not take its messages: nobody may serve the domain, for its old
  /// registry may be what the next keeper gets), System.
  [[nodiscard]] Result<void> keep(const Property& property);
  /// The file behind a resource, borrowed; -1: no more.
  void file(Handle handle, int file);
  /// Sends what could not be sent before.
  void flush();

 private:
  struct Message {
    std::string name;
    UniqueFd fd;  ///< empty: remove what has that name
  };
  void store(std::string name, int fd);
  void remove(const std::string& name);
  [[nodiscard]] bool has_room() const noexcept;

  ServiceManager& manager_;
  LogSink log_;
  std::unordered_set<std::string> stored_;  ///< names, as of the last message in the queue
  std::deque<Message> unsent_;
  bool told_of_fullness_ = false;
};

}  // namespace resmgr::daemon
