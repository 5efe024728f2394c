// SPDX-License-Identifier: Apache-2.0
//
// Session: one connection to a client, from its first byte to its end.
//
// What it is: frames from the socket to the clerk and answers back, some a turn of the loop; and
// the watch over the client's process. What it is not: patient: who does not take his answers is
// not asked for more, and who does not say hello in time is let go. A session keeps at most one
// answer that did not fit into the socket, and of events no more than how many found no room, so
// that nobody's silence costs memory; he is told that number when there is room again.
//
// Lifetime: owned by its server, which it tells of its end. Thread-safety: that of the loop.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <boost/intrusive/list.hpp>

#include "resmgr/abi/events.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/daemon/bound.hpp"
#include "resmgr/daemon/clerk.hpp"
#include "resmgr/daemon/event_loop.hpp"
#include "resmgr/daemon/peer.hpp"

namespace resmgr::daemon {

class Session;

/// Who has sessions.
class SessionOwner {
 public:
  virtual ~SessionOwner() = default;
  /// A frame to answer. `out` is valid until the next call.
  virtual Clerk::Answer answer(Session& session, std::span<const std::byte> frame,
                               std::span<UniqueFd> fds) = 0;
  /// What answer() wrote, and where a packet may be received.
  [[nodiscard]] virtual std::span<std::byte> out() noexcept = 0;
  [[nodiscard]] virtual std::span<std::byte> in() noexcept = 0;
  /// It is over; the session is destroyed by this.
  virtual void ended(Session& session, std::string_view why) = 0;
  /// How many frames of one session are taken before others have their turn; at least 1.
  [[nodiscard]] virtual std::uint32_t frames_in_a_row() const noexcept = 0;
};

class Session : public boost::intrusive::list_base_hook<> {
 public:
  /// A connection that was just accepted, of a process that may attach. Errors: CapacityExceeded,
  /// System.
  [[nodiscard]] static Result<std::unique_ptr<Session>> start(EventLoop& loop, SessionOwner& owner,
                                                              PacketSocket socket, Peer peer,
                                                              std::uint64_t hello_deadline_ns);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Tells the client something unasked. False: it takes nothing at the moment; nothing is kept for
  /// later, but that it missed something.
  bool post(std::span<const std::byte> event);
  /// The last words to a client that reads events, should it take any.
  void say_closing(wire::ClosingReason reason);
  /// Events that found no room, all in all.
  [[nodiscard]] std::uint64_t missed_events() const noexcept { return missed_in_all_; }
  [[nodiscard]] const Peer& peer() const noexcept { return peer_; }
  /// At its end, for who watches the process from here on.
  [[nodiscard]] UniqueFd take_pidfd() noexcept { return peer_.take_pidfd(); }
  [[nodiscard]] Client& client() noexcept { return client_; }
  [[nodiscard]] const Client& client() const noexcept { return client_; }

 private:
  Session(EventLoop& loop, SessionOwner& owner, PacketSocket socket, Peer peer) noexcept;
  void serve(unsigned events);
  /// False: the session is over, and destroyed.
  [[nodiscard]] bool flush();
  /// One frame, and its answer. False: there is none, its answer waits, or the session is over.
  [[nodiscard]] bool receive();
  void end(std::string_view why) { owner_.ended(*this, why); }
  /// The client learns how many events it missed. False: it takes nothing at the moment.
  [[nodiscard]] bool make_up();
  /// Frames are read, and what was missed is told as soon as there is room.
  void listen() { (void)loop_.change(traffic_, missed_ != 0 ? POLLIN | POLLOUT : POLLIN); }

  EventLoop& loop_;
  SessionOwner& owner_;
  PacketSocket socket_;
  Peer peer_;
  Client client_;
  /// An answer for which the socket had no room.
  std::vector<std::byte> unsent_;
  Clerk::Answer unsent_answer_;
  std::uint64_t missed_ = 0;  ///< events, of which the client does not know yet
  std::uint64_t missed_in_all_ = 0;
  BoundWatcher<Session> traffic_{*this, [](Session& self, unsigned events) { self.serve(events); }};
  BoundWatcher<Session> death_{*this,
                               [](Session& self, unsigned) { self.end("its process ended"); }};
  BoundTimer<Session> hello_deadline_{*this, [](Session& self, std::uint64_t) {
                                        if (!self.client_.greeted) self.end("it said no hello");
                                      }};
};

}  // namespace resmgr::daemon
