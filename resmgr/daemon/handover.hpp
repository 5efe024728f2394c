// SPDX-License-Identifier: Apache-2.0
//
// Handover: a keeper that lives gives its domain to the next one.
//
// What it is: the talk between two keepers, over a socket beside the domain's that only its owner
// and root may open: `resmgrd --takeover` asks, and gets the descriptors that a domain is
// (takeover.hpp), its listening socket and the door itself. What it is not: for a service manager's
// daemons, which restart by its store; nor for clients.
//
//   next: Ask, with its versions        old: Refused, and goes on undisturbed; or it ends its
//                                       worker, and sends the parts
//   next: Taken, once its worker serves old: Farewell, and ends; the domain has not been closed
//
// Where the next one hangs up, or takes too long, the old one says Resumed, and forks a worker
// again: what it has is what it had. The two workers don't meet: only one has the turn. All packets
// begin alike in all versions, so that each can refuse the other.
//
// Lifetime: plain values; a Predecessor is a connection. Thread-safety: one thread.
//
//   auto predecessor = Predecessor::ask(door_path(socket_path));
//   auto property = take_over(predecessor->take_legacy(), kTurnPatienceNs);
//   ...                                       // a worker serves
//   if (!predecessor->confirm()) end();
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/daemon/keeper.hpp"
#include "resmgr/daemon/takeover.hpp"

namespace resmgr::daemon {

/// Where the keeper of the domain at `socket_path` can be asked.
[[nodiscard]] std::string door_path(std::string_view socket_path);

/// The next one's side.
class Predecessor {
 public:
  /// Asks whoever listens there, and gets all parts. Errors: Disconnected (nobody listens, or it
  /// ended), VersionMismatch (it refuses, and goes on), NotPermitted (another user's, or it refuses
  /// us), System.
  [[nodiscard]] static Result<Predecessor> ask(std::string_view door_path);

  /// Once each.
  [[nodiscard]] Legacy take_legacy() noexcept { return std::move(legacy_); }
  [[nodiscard]] PacketListener take_listener() noexcept { return std::move(listener_); }
  [[nodiscard]] PacketListener take_door() noexcept { return std::move(door_); }
  /// A worker of ours serves: from here on the predecessor is not needed. Errors: InUse (it did not
  /// wait so long, and serves the domain itself: end), System.
  [[nodiscard]] Result<void> confirm() noexcept;

 private:
  explicit Predecessor(PacketSocket socket) noexcept : socket_(std::move(socket)) {}
  [[nodiscard]] Result<void> receive_parts();

  PacketSocket socket_;
  Legacy legacy_;
  PacketListener listener_;
  PacketListener door_;
};

/// The old one's side: whoever stands at the door, if he may have the domain and can. Errors, which
/// were answered: NotPermitted, VersionMismatch; WouldBlock (nobody), Disconnected, System.
[[nodiscard]] Result<PacketSocket> accept_ask(PacketListener& door);

/// Gives everything to who asked, and waits until his worker serves. REQUIRES: ours has ended.
/// Errors: Disconnected, TimedOut, System: it is ours as before.
[[nodiscard]] Result<void> hand_over(PacketSocket& socket, const Property& property);

}  // namespace resmgr::daemon
