// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/handover.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <span>

#include "resmgr/abi/layout.h"
#include "resmgr/abi/version.hpp"
#include "resmgr/daemon/peer_calls.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::uint64_t kMagic = 0x31304f444e41484d;  // "MHANDO01"
// Of the packets below, but for how they begin.
constexpr std::uint32_t kTalkVersion = 1;
constexpr time_t kAskSeconds = 2;
constexpr time_t kPartsSeconds = 30;
// Longer than a worker takes that begins, and waits for its turn.
constexpr time_t kTakenSeconds = 30;

enum class Kind : std::uint32_t {
  Ask,
  Refused,
  Registry,
  Locks,
  Ledger,
  File,
  Listener,
  Door,
  LastPart,
  Taken,
  Farewell,
  Resumed
};

// These members stay where they are in all versions.
struct Packet {
  std::uint64_t magic = kMagic;
  Kind kind{};
  std::uint32_t talk_version = kTalkVersion;
  std::uint32_t layout_major = RM_LAYOUT_MAJOR;
  std::uint32_t layout_minor = RM_LAYOUT_MINOR;
  std::uint64_t handle = 0;  ///< File
};

Result<void> send(PacketSocket& socket, const Packet& packet, int fd = -1) noexcept {
  const std::array fds{fd};
  return socket.send(std::as_bytes(std::span(&packet, 1)), std::span(fds).first(fd >= 0 ? 1 : 0));
}

struct Received {
  Packet packet;
  UniqueFd fd;
};

Result<Received> receive(PacketSocket& socket) noexcept {
  Received received;
  auto got = socket.receive(std::as_writable_bytes(std::span(&received.packet, 1)), 1);
  if (!got) return std::unexpected(std::move(got.error()));
  if (got->bytes != sizeof(Packet) || received.packet.magic != kMagic) {
    return fail(ErrorCode::InvalidArgument, "not a packet of a keeper");
  }
  if (got->fd_count == 1) received.fd = std::move(got->fds[0]);
  return received;
}

Result<void> limit_waits(const PacketSocket& socket, time_t seconds) noexcept {
  const timeval limit{.tv_sec = seconds, .tv_usec = 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket.fd(), SOL_SOCKET, option, &limit, sizeof(limit)) != 0) {
      return fail_errno(errno, "setsockopt");
    }
  }
  return {};
}

bool same_version(const Packet& packet) noexcept {
  return packet.talk_version == kTalkVersion && packet.layout_major == RM_LAYOUT_MAJOR;
}

Error mismatch(const Packet& packet, const char* who) {
  if (packet.layout_major == RM_LAYOUT_MAJOR) {
    return version_mismatch("takeover", who, {packet.talk_version, 0}, {kTalkVersion, 0});
  }
  return version_mismatch("takeover", who, {packet.layout_major, packet.layout_minor},
                          {RM_LAYOUT_MAJOR, RM_LAYOUT_MINOR});
}

Result<void> check_user(const PacketSocket& socket) noexcept {
  const auto who = PeerCalls::kernel().credentials(socket.fd());
  if (!who) return std::unexpected(who.error());
  if (who->uid != 0 && who->uid != ::geteuid()) {
    return fail(ErrorCode::NotPermitted, "takeover by another user");
  }
  return {};
}

}  // namespace

std::string door_path(std::string_view socket_path) { return std::string(socket_path) + ".keeper"; }

Result<Predecessor> Predecessor::ask(std::string_view door_path) {
  auto socket = PacketSocket::connect(door_path, PacketMode::Blocking);
  if (!socket) return std::unexpected(std::move(socket.error()));
  // Whoever listens there gives us memory that we believe more than that of clients.
  if (auto allowed = check_user(*socket); !allowed) {
    return std::unexpected(std::move(allowed.error()));
  }
  if (auto limited = limit_waits(*socket, kPartsSeconds); !limited) {
    return std::unexpected(std::move(limited.error()));
  }
  if (auto sent = send(*socket, {.kind = Kind::Ask}); !sent) {
    return std::unexpected(std::move(sent.error()));
  }
  Predecessor predecessor(std::move(*socket));
  if (auto received = predecessor.receive_parts(); !received) {
    return std::unexpected(std::move(received.error()));
  }
  return predecessor;
}

Result<void> Predecessor::receive_parts() {
  for (;;) {
    auto part = receive(socket_);
    if (!part) {
      // Alive it would say that it goes on. Its worker ends too, and has the turn until then.
      if (part.error() == ErrorCode::Disconnected && has_what_is_needed()) return {};
      return std::unexpected(std::move(part.error()));
    }
    switch (part->packet.kind) {
      case Kind::Refused:
        if (same_version(part->packet)) return fail(ErrorCode::NotPermitted, "takeover");
        return std::unexpected(mismatch(part->packet, "the running daemon has"));
      case Kind::Registry:
        legacy_.registry = std::move(part->fd);
        break;
      case Kind::Locks:
        legacy_.locks = std::move(part->fd);
        break;
      case Kind::Ledger:
        legacy_.ledger = std::move(part->fd);
        break;
      case Kind::File:
        legacy_.files[Handle::from_bits(part->packet.handle)] = std::move(part->fd);
        break;
      case Kind::Listener:
      case Kind::Door: {
        auto listener = PacketListener::adopt(std::move(part->fd), PacketMode::NonBlocking);
        if (!listener) return std::unexpected(std::move(listener.error()));
        (part->packet.kind == Kind::Door ? door_ : listener_) = std::move(*listener);
        break;
      }
      case Kind::LastPart:
        return {};
      case Kind::Resumed:
        return fail(ErrorCode::InUse, "the daemon before goes on");
      default:
        return fail(ErrorCode::InvalidArgument, "not a part of a domain");
    }
  }
}

Result<void> Predecessor::confirm() noexcept {
  (void)send(socket_, {.kind = Kind::Taken});
  const auto answer = receive(socket_);
  socket_ = {};
  // One that is gone without a word serves nothing either.
  if (answer && answer->packet.kind == Kind::Resumed) {
    return fail(ErrorCode::InUse, "the daemon before did not wait, and goes on");
  }
  return {};
}

Result<Successor> Successor::accept(PacketListener& door) {
  auto socket = door.accept(PacketMode::Blocking);
  if (!socket) return std::unexpected(std::move(socket.error()));
  if (auto limited = limit_waits(*socket, kAskSeconds); !limited) {
    return std::unexpected(std::move(limited.error()));
  }
  const auto ask = receive(*socket);
  if (!ask) return std::unexpected(ask.error());
  auto allowed = check_user(*socket);
  if (allowed && !same_version(ask->packet)) {
    allowed = std::unexpected(mismatch(ask->packet, "who asks has"));
  }
  if (allowed && ask->packet.kind == Kind::Ask) return Successor(std::move(*socket));
  (void)send(*socket, {.kind = Kind::Refused});
  if (!allowed) return std::unexpected(std::move(allowed.error()));
  return fail(ErrorCode::InvalidArgument, "takeover");
}

Result<void> Successor::give(const Property& property) {
  const std::array<std::pair<Kind, int>, 5> parts{{{Kind::Registry, property.regions.registry.fd()},
                                                   {Kind::Locks, property.regions.locks.fd()},
                                                   {Kind::Ledger, property.ledger.fd()},
                                                   {Kind::Listener, property.listener.fd()},
                                                   {Kind::Door, property.door.fd()}}};
  Result<void> sent;
  for (const auto& [kind, fd] : parts) {
    if (sent) sent = send(socket_, {.kind = kind}, fd);
  }
  if (sent) sent = give_files(property);
  if (sent) return sent;
  (void)send(socket_, {.kind = Kind::Resumed});
  if (sent.error() == ErrorCode::WouldBlock) return fail(ErrorCode::TimedOut, "takeover");
  return sent;
}

Result<void> Successor::give_files(const Property& property) {
  for (const auto& [handle, file] : property.estate.files) {
    if (files_.contains(handle)) continue;
    auto sent = send(socket_, {.kind = Kind::File, .handle = handle.bits()}, file.get());
    if (!sent) return sent;
    files_.insert(handle);
  }
  return {};
}

Result<void> Successor::give_the_rest(const Property& property) {
  auto taken = limit_waits(socket_, kTakenSeconds);
  if (taken) taken = give_files(property);
  if (taken) taken = send(socket_, {.kind = Kind::LastPart});
  if (taken) taken = wait_until_taken();
  (void)send(socket_, {.kind = taken ? Kind::Farewell : Kind::Resumed});
  return taken;
}

Result<void> Successor::wait_until_taken() {
  const auto answer = receive(socket_);
  if (answer && answer->packet.kind == Kind::Taken) return {};
  if (answer) return fail(ErrorCode::InvalidArgument, "takeover");
  if (answer.error() == ErrorCode::WouldBlock) return fail(ErrorCode::TimedOut, "takeover");
  return std::unexpected(answer.error());
}

}  // namespace resmgr::daemon
