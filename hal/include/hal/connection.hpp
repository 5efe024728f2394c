// SPDX-License-Identifier: Apache-2.0
//
// How to be a client of a domain that resmgrd serves, and what a client is told of it.
//
// What it is: the options of ResourceManager::connect(), and what its callbacks get. What it is
// not: a connection; that is the manager's own. Lifetime, thread-safety: plain values.
//
//   auto manager = hal::ResourceManager::connect(
//       {.domain = "main", .on_connection = [](hal::ConnectionChange change) { note(change); }});
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include <hal/resource.hpp>

#include "resmgr/base/log.hpp"

namespace hal {

using resmgr::LogLevel;
using resmgr::LogSink;

/// How a client stands to its resmgrd.
enum class ConnectionState : std::uint8_t {
  Lost,  ///< registering and sharing wait; what is registered is acquired and released as before
  Restored,  ///< all is as it was
  /// The domain is over for this client: resmgrd came back with another one, or without this
  /// client's place in it, or in another version. As in a child of fork(): calls return
  /// Disconnected from here on, waits under way too; refs that are destroyed release nothing, and
  /// release() says Disconnected. connect() anew, when refs and manager are done with.
  Ended,
};

/// What resmgrd said before it ended a connection.
enum class CloseReason : std::uint8_t {
  None,      ///< nothing: it was killed, or the connection broke
  Shutdown,  ///< the domain ends
  Restart,   ///< it, or another one, will go on with the domain
  Protocol,  ///< this process sent what nobody should
};

/// For who wants the state alone, it is one.
struct ConnectionChange {
  ConnectionState state = ConnectionState::Lost;
  CloseReason reason = CloseReason::None;  ///< of Lost
  // NOLINTNEXTLINE(google-explicit-constructor): it is meant to be one
  operator ConnectionState() const noexcept { return state; }
};

/// What became of a resource whose driver died.
enum class ResourceNews : std::uint8_t {
  Orphaned,   ///< it waits for its driver to be restarted, and is acquired and released as before
  OwnerDied,  ///< nobody came, and it is gone: the handle is stale
  Missed,     ///< some of this was not told: what there is to know, info() and find() say
};

struct ResourceNotice {
  ResourceNews news = ResourceNews::Orphaned;
  Handle handle = {};        ///< of Missed: null
  std::uint64_t missed = 0;  ///< of Missed: how many notices, at least 1
};

/// A domain that resmgrd serves, and how to be its client.
struct ConnectOptions {
  std::string domain = "main";
  /// Where resmgrd listens. Empty: $RESMGR_SOCKET; or DOMAIN.sock in $XDG_RUNTIME_DIR/resmgr or
  /// /run/resmgr, whichever answers first.
  std::string socket = {};
  /// How long registering, sharing and the like wait for a resmgrd that is being restarted.
  std::chrono::nanoseconds patience = std::chrono::seconds(10);
  AsyncPath async_path = AsyncPath::Auto;  ///< see AsyncAcquire
  LogSink log = {};
  /// Told of each change, by a thread of the manager's own, one at a time, under no lock; it may be
  /// over by then. May call any function of the manager, but not destroy it. Connecting again needs
  /// no help.
  std::function<void(ConnectionChange)> on_connection = {};
  /// Told by the same thread, under the same terms, what becomes of resources that this process
  /// holds, waits for, or had shared with one of its drivers, when their own driver dies. Not told
  /// of what happens while the connection is lost; look after Restored. While it runs, nothing else
  /// is told, nor is hardware asked to be quiet: what takes long belongs elsewhere, and who lags
  /// more than 1024 notices behind gets Missed.
  std::function<void(const ResourceNotice&)> on_notice = {};
};

}  // namespace hal
