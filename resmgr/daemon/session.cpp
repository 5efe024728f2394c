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
  (void)loop_.change(traffic_, POLLIN);
  return true;
}

bool Session::receive() {
  const auto end_for = [&](std::string_view why) {
    end(why);
    return false;
  };
  auto packet = socket_.receive(owner_.in());
  if (!packet) {
    if (packet.error() == ErrorCode::WouldBlock) return false;
    return end_for(packet.error() == ErrorCode::Disconnected ? "it hung up"
                                                             : "it sent what can't be received");
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
  if (client_.left) return end_for("it left");
  return unsent_.empty();
}

}  // namespace resmgr::daemon
