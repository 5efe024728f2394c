// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/peer.hpp"

#include <poll.h>

#include <cerrno>

namespace resmgr::daemon {
namespace {

// Which of `events` have happened; POLLHUP counts without being asked for.
bool happened(int fd, short events) noexcept {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&entry, 1, 0);
  } while (ready < 0 && errno == EINTR);
  return ready == 1 && (entry.revents & (events | POLLHUP)) != 0;
}

bool ended(int pidfd) noexcept { return happened(pidfd, POLLIN); }

// A pidfd by way of the pid. It is the peer's if the pid was the peer's when it was opened, and
// that it was if the connection has not hung up after it: the kernel closes a dead process's end
// before its pid is free. Where a child kept that end open, a pid that changed hands meanwhile
// shows by its start time.
Result<UniqueFd> pidfd_by_pid(int socket, pid_t pid, PeerCalls& calls) noexcept {
  const auto before = calls.start_time(pid);
  auto pidfd = calls.open_pidfd(pid);
  if (!pidfd) return pidfd;
  const auto after = calls.start_time(pid);
  const bool same = before && after && *before == *after;
  if (same && !happened(socket, 0)) return pidfd;
  // What can't be read while the process lives is hidden, and not gone.
  if (!after && !ended(pidfd->get())) return std::unexpected(after.error());
  return fail(ErrorCode::Disconnected, "the peer is gone, or its pid has changed hands");
}

}  // namespace

Result<Peer> Peer::of(const PacketSocket& connection, PeerCalls& calls) {
  const auto who = calls.credentials(connection.fd());
  if (!who) return std::unexpected(who.error());
  if (who->pid <= 0) {
    return fail(ErrorCode::Unsupported, "the peer's PID namespace can't be seen from here");
  }
  auto groups = calls.groups(connection.fd());
  if (!groups) return std::unexpected(std::move(groups.error()));
  auto pidfd = calls.peer_pidfd(connection.fd());
  if (!pidfd && pidfd.error() == ErrorCode::Unsupported) {
    pidfd = pidfd_by_pid(connection.fd(), who->pid, calls);
  }
  if (!pidfd) return std::unexpected(std::move(pidfd.error()));
  const auto started = calls.start_time(who->pid);
  // Alive now, it had its pid all along, so that the time is its own.
  if (ended(pidfd->get())) return fail(ErrorCode::Disconnected, "the peer has died");
  if (!started) return std::unexpected(started.error());
  return Peer(*who, *std::move(groups), *std::move(pidfd), *started);
}

Result<UniqueFd> Peer::pidfd_of(pid_t pid, std::uint64_t start_time, PeerCalls& calls) noexcept {
  auto pidfd = calls.open_pidfd(pid);
  if (!pidfd) return pidfd;
  const auto started = calls.start_time(pid);
  // Alive now, it had its pid all along, so that the time is its own.
  if (ended(pidfd->get()) || (started && *started != start_time)) {
    return fail(ErrorCode::Disconnected, "the process has died");
  }
  if (!started) return std::unexpected(started.error());
  return pidfd;
}

bool Peer::is_dead() const noexcept { return ended(pidfd_.get()); }

}  // namespace resmgr::daemon
