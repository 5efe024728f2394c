// SPDX-License-Identifier: Apache-2.0
//
// Peer: the process at the other end of a connection.
//
// What it is: who the kernel says made the connection, with a pidfd by which its death is seen. A
// pid alone is no identity, for it is used again; the pidfd, or the pid with its start time, is.
// What it is not: what the client says of itself; nor whether the connection lives: a process that
// calls exec closes its connection and is alive, and one that ends may leave its end to a child.
// That the connection has hung up is for receive() to say.
//
// It is who called connect(2), or socketpair(2), and with the ids that it had then.
//
// Lifetime: owns the pidfd; independent of the connection. Thread-safety: a plain value.
//
//   auto peer = Peer::of(*client);
//   if (!peer) return;                    // gone already
//   wait_for_readable(peer->pidfd());     // in the event loop; then
//   if (peer->is_dead()) recover(peer->pid());
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/peer_calls.hpp"

namespace resmgr::daemon {

class Peer {
 public:
  /// Finds out who is at the other end of `connection`, by SO_PEERPIDFD; where the kernel has none,
  /// by its pid, and then only if that provably has not changed hands. Errors: Disconnected (the
  /// process is dead, or, on such a kernel, has hung up), Unsupported (it is in a PID namespace
  /// that can't be seen from here, or the kernel has no pidfds), CapacityExceeded (no descriptor
  /// left), NotPermitted or NotFound (/proc hides it), System.
  /// May throw std::bad_alloc.
  [[nodiscard]] static Result<Peer> of(const PacketSocket& connection,
                                       PeerCalls& calls = PeerCalls::kernel());

  /// By which to see the death of the process that has this pid and was started then. Errors:
  /// Disconnected (it is dead, and the pid may be another's), and those of PeerCalls.
  [[nodiscard]] static Result<UniqueFd> pidfd_of(pid_t pid, std::uint64_t start_time,
                                                 PeerCalls& calls = PeerCalls::kernel()) noexcept;

  /// In our own PID namespace; above 0.
  [[nodiscard]] pid_t pid() const noexcept { return who_.pid; }
  [[nodiscard]] uid_t uid() const noexcept { return who_.uid; }
  [[nodiscard]] gid_t gid() const noexcept { return who_.gid; }
  /// Supplementary ones.
  [[nodiscard]] const std::vector<gid_t>& groups() const noexcept { return groups_; }
  /// When the process was started: clock ticks (1/100 s) since boot. exec does not change it.
  [[nodiscard]] std::uint64_t start_time() const noexcept { return start_time_; }
  /// Readable once the process is dead; close-on-exec, owned by this object.
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  /// The same, for who watches it from here on.
  [[nodiscard]] UniqueFd take_pidfd() noexcept { return std::move(pidfd_); }
  /// Whether it has ended, with all its threads. A zombie has; a stopped process has not.
  [[nodiscard]] bool is_dead() const noexcept;

 private:
  Peer(const PeerCredentials& who, std::vector<gid_t> groups, UniqueFd pidfd,
       std::uint64_t start_time) noexcept
      : who_(who), groups_(std::move(groups)), pidfd_(std::move(pidfd)), start_time_(start_time) {}

  PeerCredentials who_;
  std::vector<gid_t> groups_;
  UniqueFd pidfd_;
  std::uint64_t start_time_ = 0;
};

}  // namespace resmgr::daemon
