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
// Exec closes one descriptor after the other, in a moment; it may be called later, too.
constexpr std::uint64_t kFirstLook = 10'000'000;
constexpr std::uint64_t kLongestLook = 1'000'000'000;

std::string name_of(const Peer& peer) {
  return "process " + std::to_string(peer.pid()) + " of uid " + std::to_string(peer.uid());
}

}  // namespace

Server::Server(EventLoop& loop, Clerk& clerk, PacketListener listener,
               std::shared_ptr<const Policy> policy, ServerOptions options)
    : loop_(loop),
      clerk_(clerk),
      listener_(std::move(listener)),
      policy_(std::move(policy)),
      options_(std::move(options)),
      in_(RM_WIRE_MAX_FRAME),
      out_(RM_WIRE_MAX_FRAME) {}

Result<std::unique_ptr<Server>> Server::start(EventLoop& loop, Clerk& clerk,
                                              PacketListener listener,
                                              std::shared_ptr<const Policy> policy,
                                              ServerOptions options) {
  struct Public : Server {  // make_unique needs a constructor it may call
    Public(EventLoop& l, Clerk& c, PacketListener p, std::shared_ptr<const Policy> rules,
           ServerOptions o)
        : Server(l, c, std::move(p), std::move(rules), std::move(o)) {}
  };
  std::unique_ptr<Server> server = std::make_unique<Public>(loop, clerk, std::move(listener),
                                                            std::move(policy), std::move(options));
  clerk.set_policy(server->policy_);
  clerk.set_audit(server->options_.audit);
  clerk.set_outbox(server.get());
  clerk.inherit_orphans();
  server->destroy_orphans(monotonic_ns());
  clerk.inherit_drains();
  clerk.inherit_quarantine();
  server->quiesce(monotonic_ns());
  server->watch_memory();
  server->look_at_pressure(monotonic_ns());
  if (auto watched = loop.watch(server->door_, server->listener_.fd(), POLLIN); !watched) {
    return std::unexpected(std::move(watched.error()));
  }
  return server;
}

Server::~Server() {
  clerk_.set_outbox(nullptr);
  sessions_.clear_and_dispose(Dispose<Session>());
  absent_.clear_and_dispose(Dispose<Absent>());
}

Result<void> Server::expect(const Client& client, UniqueFd pidfd) {
  clerk_.inherit(client);
  auto absent = std::make_unique<Absent>(*this, client, std::move(pidfd));
  auto watched = loop_.watch(*absent, absent->pidfd(), POLLIN);
  if (absent_.empty()) grant_return();
  if (watched) absent_.push_back(*absent.release());
  look_again_after(kFirstLook);
  return watched;
}

void Server::finish_burial(const Client& client, int pidfd) {
  clerk_.inherit(client);
  clerk_.bury_absent(client.index, pidfd);
  recover();
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
    const std::string reason = allowed.error().message();
    log(LogLevel::Warning, name_of(*peer) + " is refused: " + reason);
    if (options_.audit) {
      options_.audit->record(
          {.event = AuditEvent::Refused, .pid = peer->pid(), .uid = peer->uid(), .detail = reason});
    }
    return;
  }
  if (auto bound = socket->set_send_room(policy_->limits().bytes_queued); !bound) {
    log(LogLevel::Warning,
        "what a client has not taken is not bounded: " + bound.error().message());
  }
  const auto patience = static_cast<std::uint64_t>(policy_->limits().hello_deadline.count());
  auto session =
      Session::start(loop_, *this, std::move(*socket), std::move(*peer), monotonic_ns() + patience);
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
  if (peer.uid() != 0 && same_uid >= policy_->limits().clients_per_uid) {
    return fail(ErrorCode::CapacityExceeded, "connections of one user");
  }
  return policy_->may_attach({peer.uid(), peer.gid(), peer.groups()});
}

Clerk::Answer Server::answer(Session& session, std::span<const std::byte> frame,
                             std::span<UniqueFd> fds) {
  Client& client = session.client();
  const bool greeted = client.greeted;
  auto answer = clerk_.answer(client, frame, fds, out_);
  if (!greeted && client.greeted) {
    present_[client.index] = &session;
    absent_.remove_and_dispose_if(
        [&](const Absent& absent) { return absent.index() == client.index; }, Dispose<Absent>());
    if (!client.returned) say_that_it_is_here(session);
  } else if (client.returned && !std::exchange(client.settled, true)) {
    say_that_it_is_here(session);
  }
  // Not before the answer is on its way, which what is told may be about.
  if (clerk_.is_quiescing()) loop_.arm(quiescing_, monotonic_ns());
  if (clerk_.has_emergencies()) loop_.arm(emergencies_, monotonic_ns());
  if (clerk_.has_pressure()) loop_.arm(pressure_, monotonic_ns());
  return answer;
}

// Of one that returned it is said, as it is written, when it has asked for something: one without a
// descriptor for what comes with the welcome hangs up, and tries again, and again.
void Server::say_that_it_is_here(const Session& session) {
  const Client& client = session.client();
  log(LogLevel::Info, name_of(session.peer()) + (client.returned ? " is back" : " attached"));
  tell(AuditEvent::Attached, session.peer().pid(), client.uid, client.returned ? "again" : "");
}

void Server::ended(Session& session, std::string_view why) {
  if (is_missed(session)) return miss(session, why);
  const Client client = session.client();
  if (client.greeted) present_.erase(client.index);
  // Somebody may be waiting for what it held: that comes before all words.
  clerk_.bury(client);
  recover();
  if (client.index != 0) {
    log(LogLevel::Info, name_of(session.peer()) + " is gone: " + std::string(why));
    tell(client.left ? AuditEvent::Detached : AuditEvent::Died, session.peer().pid(), client.uid,
         why);
  }
  if (const std::uint64_t missed = session.missed_events(); missed != 0) {
    log(LogLevel::Warning, name_of(session.peer()) + " missed " + std::to_string(missed) +
                               " events, for it did not take what it was sent");
  }
  sessions_.erase_and_dispose(sessions_.iterator_to(session), Dispose<Session>());
}

bool Server::is_missed(const Session& session) const noexcept {
  const Client& client = session.client();
  return client.index != 0 && !client.left && !session.peer().is_dead() &&
         clerk_.has_region(client.index);
}

void Server::miss(Session& session, std::string_view why) {
  const Client client = session.client();
  if (!client.returned || client.settled) {
    log(LogLevel::Warning, name_of(session.peer()) + " has lost its connection (" +
                               std::string(why) + "), and keeps its place");
  }
  UniqueFd pidfd = session.take_pidfd();
  sessions_.erase_and_dispose(sessions_.iterator_to(session), Dispose<Session>());
  if (auto expected = expect(client, std::move(pidfd)); !expected) {
    log(LogLevel::Error, "nobody sees its process end: " + expected.error().message());
  }
}

void Server::give_up(Absent& absent, bool ended) {
  const char* const why = ended               ? "its process ended"
                          : absent.has_left() ? "it let go of the domain"
                                              : "it did not connect again";
  log(LogLevel::Info, std::string("a client that had not come back is gone: ") + why);
  tell(AuditEvent::Died, absent.pid(), absent.uid(), why);
  clerk_.bury_absent(absent.index(), ended ? -1 : absent.pidfd());
  absent_.erase_and_dispose(absent_.iterator_to(absent), Dispose<Absent>());
  recover();
}

void Server::grant_return() {
  loop_.arm(return_grace_,
            monotonic_ns() + static_cast<std::uint64_t>(policy_->grace().client_restart.count()));
}

bool Server::Absent::is_stopped() const noexcept {
  const auto stopped = PeerCalls::kernel().is_stopped(pid_);
  return stopped && *stopped;
}

bool Server::Absent::had_its_time() noexcept {
  const bool stopped = is_stopped();
  return !std::exchange(was_stopped_, stopped) && !stopped && !server_.clerk_.has_region(index_);
}

void Server::give_up_all() {
  for (auto each = absent_.begin(); each != absent_.end();) {
    Absent& absent = *each++;
    if (absent.had_its_time()) give_up(absent, false);
  }
  if (!absent_.empty()) grant_return();
}

void Server::give_up_who_left() {
  for (auto each = absent_.begin(); each != absent_.end();) {
    Absent& absent = *each++;
    if (absent.has_left()) give_up(absent, false);
  }
  if (!absent_.empty()) look_again_after(std::min(2 * look_pause_, kLongestLook));
}

void Server::look_again_after(std::uint64_t pause_ns) {
  look_pause_ = pause_ns;
  loop_.arm(next_look_, monotonic_ns() + pause_ns);
}

void Server::recover() {
  const std::uint64_t now = monotonic_ns();
  if (clerk_.recover()) loop_.arm(rest_of_recovery_, now + kRecoveryPause);
  destroy_orphans(now);
  quiesce(now);
}

void Server::quiesce(std::uint64_t now_ns) {
  if (const auto next = clerk_.quiesce(now_ns)) loop_.arm(quiescing_, *next);
}

void Server::see_to_emergencies(std::uint64_t now_ns) {
  if (const auto next = clerk_.see_to_emergencies(now_ns)) loop_.arm(emergencies_, *next);
}

void Server::look_at_pressure(std::uint64_t now_ns) {
  if (const auto next = clerk_.look_at_pressure(now_ns)) loop_.arm(pressure_, *next);
}

void Server::watch_memory() {
  if (!options_.memory) return;
  clerk_.treasury().observe(std::move(*options_.memory));
  options_.memory.reset();
  const int stalls = clerk_.treasury().stall_fd();
  if (stalls < 0) return;
  // Without it stalls are seen when it is time to look, and no sooner.
  if (auto watched = loop_.watch(stalls_, stalls, POLLPRI); !watched) {
    log(LogLevel::Warning, "stalls for memory are not watched: " + watched.error().message());
  }
}

void Server::stalled(unsigned events) {
  if ((events & POLLPRI) != 0) clerk_.treasury().note_stall();
  // The group is gone, and would be reported for ever.
  if ((events & (POLLERR | POLLNVAL)) != 0) loop_.forget(stalls_);
  look_at_pressure(monotonic_ns());
}

bool Server::post(std::uint32_t client, std::span<const std::byte> event) {
  const auto found = present_.find(client);
  return found != present_.end() && found->second->client().reads_events &&
         found->second->post(event);
}

void Server::for_each_listener(const std::function<void(const Client&)>& visit) {
  for (const auto& [place, session] : present_) {
    if (session->client().hears_of_owners) visit(session->client());
  }
}

void Server::say_closing(wire::ClosingReason reason) {
  for (Session& session : sessions_) session.say_closing(reason);
}

void Server::destroy_orphans(std::uint64_t now_ns) {
  if (const auto next = clerk_.destroy_orphans(now_ns)) loop_.arm(orphans_grace_, *next);
}

void Server::set_policy(std::shared_ptr<const Policy> policy) {
  policy_ = std::move(policy);
  clerk_.set_policy(policy_);
  for (Session& session : sessions_) clerk_.refresh_roles(session.client());
}

void Server::tell(AuditEvent event, pid_t pid, uid_t uid, std::string_view detail) const noexcept {
  if (!options_.audit) return;
  options_.audit->record({.event = event, .pid = pid, .uid = uid, .detail = detail});
}

void Server::log(LogLevel level, const std::string& line) const noexcept {
  if (options_.log) options_.log(level, line);
}

}  // namespace resmgr::daemon
