// SPDX-License-Identifier: Apache-2.0
//
// Handover: a keeper that lives gives its domain to the next one.
//
// What it is: the talk between two keepers, over a socket beside the domain's that only its owner
// and root may open: `resmgrd --takeover` asks, and gets the descriptors that a domain is
// (takeover.hpp), its listening socket and the door itself. What it is not: for a service manager's
// daemons, which restart by its store; nor for clients.
//
//   next: Ask, with its versions        old: Refused, and goes on undisturbed; or it sends the
//                                       parts, ends its worker, and sends what came to them
//                                       meanwhile, and LastPart
//   next: Taken, once a worker of its   old: Farewell, and ends; the domain has not been closed
//   own could begin
//
// Where the next one hangs up, or takes too long, the old one says Resumed, and forks a worker
// again: what it has is what it had. The two workers don't meet: only one has the turn. All packets
// begin alike in all versions, so that each can refuse the other.
//
// Whoever is killed, and whenever, one of the two has the domain, or will be able to:
//
//  - The parts are memory that changes still, and their use is for who has the turn. So they are
//    given before anything is ended: from then on the old one may die, and the next one, to whom it
//    hangs up, has all that is needed but for LastPart, which would have said that it is time.
//  - Until Taken the next one's worker has touched nothing, neither the domain nor a client, so
//    that the old one can go on as if nothing had been. After Taken the old one never does. That
//    packet is the one moment in which the domain changes hands.
//  - Before the parts came, and after Taken, only one daemon has the domain. Where that one is
//    killed it ends with it, as without any takeover, unless a service manager kept it.
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
#include <unordered_set>
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
  /// ended before it gave them), VersionMismatch (it refuses, and goes on), NotPermitted (another
  /// user's, or it refuses us), InUse (it goes on), System.
  [[nodiscard]] static Result<Predecessor> ask(std::string_view door_path);

  /// Once each.
  [[nodiscard]] Legacy take_legacy() noexcept { return std::move(legacy_); }
  [[nodiscard]] PacketListener take_listener() noexcept { return std::move(listener_); }
  [[nodiscard]] PacketListener take_door() noexcept { return std::move(door_); }
  /// A worker of ours could begin: from here on the predecessor is not needed. Errors: InUse (it
  /// did not wait so long, and serves the domain itself: end), System.
  [[nodiscard]] Result<void> confirm() noexcept;

 private:
  explicit Predecessor(PacketSocket socket) noexcept : socket_(std::move(socket)) {}
  [[nodiscard]] Result<void> receive_parts();
  [[nodiscard]] bool has_what_is_needed() const noexcept {
    return legacy_.registry && legacy_.locks && legacy_.ledger && listener_.fd() >= 0 &&
           door_.fd() >= 0;
  }

  PacketSocket socket_;
  Legacy legacy_;
  PacketListener listener_;
  PacketListener door_;
};

/// The old one's side.
class Successor {
 public:
  /// Whoever stands at the door, if he may have the domain and can. Errors, which were answered:
  /// NotPermitted, VersionMismatch; WouldBlock (nobody), Disconnected, System.
  [[nodiscard]] static Result<Successor> accept(PacketListener& door);

  /// All that there is, while a worker of ours may serve. Errors: Disconnected, TimedOut (he
  /// takes nothing), System: nothing has happened. May throw std::bad_alloc.
  [[nodiscard]] Result<void> give(const Property& property);
  /// What came to it meanwhile; then waits until a worker of his could begin. REQUIRES: ours has
  /// ended. Errors: Disconnected, TimedOut, System: it is ours as before.
  [[nodiscard]] Result<void> give_the_rest(const Property& property);

 private:
  explicit Successor(PacketSocket socket) noexcept : socket_(std::move(socket)) {}
  [[nodiscard]] Result<void> give_files(const Property& property);
  [[nodiscard]] Result<void> wait_until_taken();

  PacketSocket socket_;
  std::unordered_set<Handle> files_;  ///< given
};

}  // namespace resmgr::daemon
