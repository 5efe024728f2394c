// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/server.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {
namespace {

// A client that lets go of its latch does so within microseconds; one that is stopped, later.
constexpr std::uint64_t kRecoveryPause = 1'000'000;
// Without a descriptor left nobody can be let in; sessions end, and then there are some.
constexpr std::uint64_t kDoorPause = 100'000'000;

std::string name_of(const Peer& peer) {
  return "process " + std::to_string(peer.pid()) + " of uid " + std::to_string(peer.uid());
}

}  // namespace

Server::Server(EventLoop& loop, Clerk& clerk, PacketListener listener, ServerOptions options)
    : loop_(loop),
      clerk_(clerk),
      listener_(std::move(listener)),
      options_(std::move(options)),
      in_(RM_WIRE_MAX_FRAME),
      out_(RM_WIRE_MAX_FRAME) {}

Result<std::unique_ptr<Server>> Server::start(EventLoop& loop, Clerk& clerk,
                                              PacketListener listener, ServerOptions options) {
  struct Public : Server {  // make_unique needs a constructor it may call
    Public(EventLoop& l, Clerk& c, PacketListener p, ServerOptions o)
        : Server(l, c, std::move(p), std::move(o)) {}
  };
  std::unique_ptr<Server> server =
      std::make_unique<Public>(loop, clerk, std::move(listener), std::move(options));
  if (auto watched = loop.watch(server->door_, server->listener_.fd(), POLLIN); !watched) {
    return std::unexpected(std::move(watched.error()));
  }
  return server;
}

Server::~Server() {
  sessions_.clear_and_dispose(Dispose<Session>());
  absent_.clear_and_dispose(Dispose<Absent>());
}

Result<void> Server::expect(const Client& client, UniqueFd pidfd) {
  clerk_.inherit(client);
  auto absent = std::make_unique<Absent>(*this, client.index, std::move(pidfd));
  auto watched = loop_.watch(*absent, absent->pidfd(), POLLIN);
  if (watched) absent_.push_back(*absent.release());
  return watched;
}

void Server::accept() {
  auto socket = listener_.accept(PacketMode::NonBlocking);
  if (!socket) {
    if (socket.error() == ErrorCode::WouldBlock) return;
    log(LogLevel::Error, "a connection can't be accepted: " + socket.error().message());
    (void)loop_.change(door_, 0);
    loop_.arm(reopening_, monotonic_ns() + kDoorPause);
    return;
  }
  auto peer = Peer::of(*socket);
  if (!peer) {
    log(LogLevel::Warning, "a connection is refused: " + peer.error().message());
    return;
  }
  if (auto allowed = check(*peer); !allowed) {
    log(LogLevel::Warning, name_of(*peer) + " is refused: " + allowed.error().message());
    return;
  }
  auto session = Session::start(loop_, *this, std::move(*socket), std::move(*peer),
                                monotonic_ns() + options_.hello_patience_ns);
  if (!session) {
    log(LogLevel::Error, "no session: " + session.error().message());
    return;
  }
  sessions_.push_back(*session->release());
}

// Before anything that it sends is looked at.
Result<void> Server::check(const Peer& peer) const {
  if (sessions_.size() >= options_.sessions) {
    return fail(ErrorCode::CapacityExceeded, "connections");
  }
  const auto same_uid = std::ranges::count_if(
      sessions_, [&](const Session& each) { return each.peer().uid() == peer.uid(); });
  if (peer.uid() != 0 && static_cast<std::size_t>(same_uid) >= options_.sessions_of_a_uid) {
    return fail(ErrorCode::CapacityExceeded, "connections of one user");
  }
  return options_.may_attach ? options_.may_attach(peer) : Result<void>();
}

Clerk::Answer Server::answer(Session& session, std::span<const std::byte> frame,
                             std::span<UniqueFd> fds) {
  Client& client = session.client();
  const bool greeted = client.greeted;
  auto answer = clerk_.answer(client, frame, fds, out_);
  if (!greeted && client.greeted) {
    absent_.remove_and_dispose_if(
        [&](const Absent& absent) { return absent.index() == client.index; }, Dispose<Absent>());
    log(LogLevel::Info, name_of(session.peer()) + (client.returned ? " is back" : " attached"));
  }
  return answer;
}

void Server::ended(Session& session, std::string_view why) {
  const Client client = session.client();
  if (client.index != 0) {
    log(LogLevel::Info, name_of(session.peer()) + " is gone: " + std::string(why));
  }
  sessions_.erase_and_dispose(sessions_.iterator_to(session), Dispose<Session>());
  clerk_.bury(client);
  recover();
}

void Server::died(Absent& absent) {
  const std::uint32_t index = absent.index();
  absent_.erase_and_dispose(absent_.iterator_to(absent), Dispose<Absent>());
  log(LogLevel::Info, "a client that had not come back is gone: its process ended");
  clerk_.bury_absent(index);
  recover();
}

void Server::recover() {
  if (clerk_.recover()) loop_.arm(rest_of_recovery_, monotonic_ns() + kRecoveryPause);
}

void Server::log(LogLevel level, const std::string& line) const noexcept {
  if (options_.log) options_.log(level, line);
}

}  // namespace resmgr::daemon
