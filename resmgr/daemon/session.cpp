// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/session.hpp"

#include <array>

namespace resmgr::daemon {
namespace {

Result<void> send(PacketSocket& socket, std::span<const std::byte> bytes,
                  const Clerk::Answer& answer) {
  std::array<int, kMaxPacketFds> fds{};
  for (std::size_t i = 0; i < answer.fd_count; ++i) fds[i] = answer.fds[i].get();
  return socket.send(bytes, std::span(fds).first(answer.fd_count));
}

}  // namespace

Session::Session(EventLoop& loop, SessionOwner& owner, PacketSocket socket, Peer peer) noexcept
    : loop_(loop),
      owner_(owner),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      client_{.pid = static_cast<std::uint32_t>(peer_.pid()),
              .start_time = peer_.start_time(),
              .pidfd = peer_.pidfd(),
              .uid = peer_.uid(),
              .gid = peer_.gid(),
              .groups = peer_.groups()} {}

Result<std::unique_ptr<Session>> Session::start(EventLoop& loop, SessionOwner& owner,
                                                PacketSocket socket, Peer peer,
                                                std::uint64_t hello_deadline_ns) {
  struct Public : Session {  // make_unique needs a constructor it may call
    Public(EventLoop& l, SessionOwner& o, PacketSocket s, Peer p) noexcept
        : Session(l, o, std::move(s), std::move(p)) {}
  };
  std::unique_ptr<Session> session =
      std::make_unique<Public>(loop, owner, std::move(socket), std::move(peer));
  auto watched = loop.watch(session->traffic_, session->socket_.fd(), POLLIN);
  if (watched) watched = loop.watch(session->death_, session->peer_.pidfd(), POLLIN);
  if (!watched) return std::unexpected(std::move(watched.error()));
  loop.arm(session->hello_deadline_, hello_deadline_ns);
  return session;
}

void Session::serve(unsigned events) {
  if (!unsent_.empty()) {
    if ((events & (POLLOUT | POLLERR | POLLHUP)) != 0) (void)flush();
    return;
  }
  if ((events & POLLOUT) != 0 && make_up()) listen();
  // The end of the connection too is what receive() says, after what was sent before it.
  for (std::uint32_t left = owner_.frames_in_a_row(); left != 0 && receive(); --left) {
  }
}

bool Session::flush() {
  auto sent = send(socket_, unsent_, unsent_answer_);
  if (!sent && sent.error() == ErrorCode::WouldBlock) return true;
  if (!sent) {
    end("it hung up");
    return false;
  }
  unsent_.clear();
  unsent_answer_ = {};
  listen();
  return true;
}

bool Session::post(std::span<const std::byte> event) {
  if (unsent_.empty() && make_up() && socket_.send(event)) return true;
  ++missed_in_all_;
  if (missed_++ == 0 && unsent_.empty()) listen();
  return false;
}

bool Session::make_up() {
  if (missed_ == 0) return true;
  std::array<std::byte, sizeof(rm_frame_header) + sizeof(rm_wire_missed)> event{};
  const auto bytes = wire::encode(wire::MissedEvent{.events = missed_}, event);
  if (!bytes || !socket_.send(std::span(event).first(*bytes))) return false;
  missed_ = 0;
  return true;
}

void Session::say_closing(wire::ClosingReason reason) {
  if (!client_.reads_events) return;
  std::array<std::byte, sizeof(rm_frame_header) + sizeof(rm_wire_closing)> event{};
  const auto bytes = wire::encode(wire::ClosingEvent{.reason = reason}, event);
  if (bytes) (void)socket_.send(std::span(event).first(*bytes));
}

bool Session::receive() {
  const auto end_for = [&](std::string_view why) {
    end(why);
    return false;
  };
  auto packet = socket_.receive(owner_.in());
  if (!packet) {
    if (packet.error() == ErrorCode::WouldBlock) return false;
    if (packet.error() == ErrorCode::Disconnected) return end_for("it hung up");
    say_closing(wire::ClosingReason::Protocol);
    return end_for("it sent what can't be received");
  }
  Clerk::Answer answer = owner_.answer(*this, owner_.in().first(packet->bytes),
                                       std::span(packet->fds).first(packet->fd_count));
  if (answer.bytes != 0) {
    const auto bytes = owner_.out().first(answer.bytes);
    auto sent = send(socket_, bytes, answer);
    if (!sent && sent.error() != ErrorCode::WouldBlock) return end_for("it hung up");
    if (!sent && !client_.left) {
      unsent_.assign(bytes.begin(), bytes.end());
      unsent_answer_ = std::move(answer);
      (void)loop_.change(traffic_, POLLOUT);
    }
  }
  if (client_.broke_protocol) {
    say_closing(wire::ClosingReason::Protocol);
    return end_for("it broke the protocol");
  }
  if (client_.left) return end_for("it left");
  return unsent_.empty();
}

}  // namespace resmgr::daemon
