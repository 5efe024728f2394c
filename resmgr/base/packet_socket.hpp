// SPDX-License-Identifier: Apache-2.0
//
// PacketSocket: one end of a connection that carries whole packets, with file descriptors beside
// them; PacketListener: where such connections begin.
//
// What it is: AF_UNIX, SOCK_SEQPACKET. A packet is sent and received whole or not at all, in order,
// with up to kMaxPacketFds descriptors. Everything is close-on-exec, and no call raises SIGPIPE.
// What it is not: a protocol (what the bytes mean), or an event loop: wait for `fd()` with poll(2)
// or io_uring. An empty packet can't be told from the end of the connection, so none is sent.
//
// Lifetime: each owns its descriptor. A listener leaves its file behind, for after fork() two
// processes have it; the next `listen` replaces it. Thread-safety: one thread may send while
// another receives; moving needs both to have ended. Sending and receiving allocate nothing.
//
//   auto listener = PacketListener::listen("/run/resmgr/main.sock", 0666, PacketMode::NonBlocking);
//   auto client = listener->accept(PacketMode::NonBlocking);
//   std::array<std::byte, 4096> buffer;
//   auto packet = client->receive(buffer, 1);
//   if (!packet && packet.error() == ErrorCode::WouldBlock) return;   // poll(client->fd()) again
//   serve(std::span(buffer).first(packet->bytes), std::move(packet->fds[0]));
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr {

/// The most descriptors that travel with one packet.
inline constexpr std::size_t kMaxPacketFds = 4;

/// Whether calls on a socket wait, or say WouldBlock.
enum class PacketMode { Blocking, NonBlocking };

class PacketSocket {
 public:
  struct Received {
    std::size_t bytes = 0;     ///< at the start of the buffer; never 0
    std::size_t fd_count = 0;  ///< the first of `fds`
    std::array<UniqueFd, kMaxPacketFds> fds;
  };

  PacketSocket() noexcept = default;
  /// Two ends of a new connection. Errors: CapacityExceeded (no descriptor left), System.
  [[nodiscard]] static Result<std::pair<PacketSocket, PacketSocket>> pair(PacketMode mode) noexcept;
  /// A connection to who listens at `path`. Errors: InvalidArgument (a path that is empty, over 107
  /// bytes, or has a zero in it), Disconnected (nobody listens there), WouldBlock (NonBlocking, and
  /// too many wait to be accepted), NotPermitted, CapacityExceeded, System.
  [[nodiscard]] static Result<PacketSocket> connect(std::string_view path,
                                                    PacketMode mode) noexcept;
  /// Takes over a connected socket that was made elsewhere, and sets close-on-exec and `mode`. The
  /// options by which each packet brings credentials (SO_PASSCRED and its kin) must be off. Errors,
  /// which close it: InvalidArgument (not a connection of this kind), System.
  [[nodiscard]] static Result<PacketSocket> adopt(UniqueFd fd, PacketMode mode) noexcept;

  /// Sends one packet, with duplicates of `fds`. Errors, after which nothing was sent:
  /// InvalidArgument (no bytes, more than kMaxPacketFds, or a packet longer than the kernel takes),
  /// WouldBlock (the peer has not received enough yet), Disconnected, System.
  [[nodiscard]] Result<void> send(std::span<const std::byte> bytes,
                                  std::span<const int> fds = {}) noexcept;
  /// Receives one packet with at most `max_fds` (up to kMaxPacketFds) close-on-exec descriptors.
  /// Errors: WouldBlock (there is none yet), Disconnected (the peer closed, or sent an empty
  /// packet), System; and those that lose a packet, with its descriptors: InvalidArgument (it was
  /// longer than `buffer`, which is then overwritten, or brought more than `max_fds`),
  /// CapacityExceeded (this process had no descriptor left for what came with it).
  [[nodiscard]] Result<Received> receive(std::span<std::byte> buffer,
                                         std::size_t max_fds = kMaxPacketFds) noexcept;

  /// How many bytes may be on the way to the peer, which has not received them; at most what the
  /// system allows. Errors: System.
  Result<void> set_send_room(std::uint64_t bytes) noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  /// For poll(2) and getsockopt(2); still owned by this object. -1 when empty.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  friend class PacketListener;
  explicit PacketSocket(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

class PacketListener {
 public:
  PacketListener() noexcept = default;
  /// Listens at `path`, whose file gets exactly `permissions` before anyone can connect. A socket
  /// file is replaced if nobody answers on it. `path`.lock, which stays, keeps out others who start
  /// here at the same time. Errors: InvalidArgument (as for connect), InUse (somebody listens at
  /// `path`, or is starting to), AlreadyExists (a file that is no socket), NotPermitted,
  /// CapacityExceeded, System.
  [[nodiscard]] static Result<PacketListener> listen(std::string_view path, mode_t permissions,
                                                     PacketMode mode) noexcept;
  /// Takes over a listening socket, for example one that systemd hands to the service it starts;
  /// otherwise as PacketSocket::adopt.
  [[nodiscard]] static Result<PacketListener> adopt(UniqueFd fd, PacketMode mode) noexcept;

  /// The next connection; `mode` is that of the connection. Errors: WouldBlock (there is none),
  /// CapacityExceeded (no descriptor left: the connection still waits), System.
  [[nodiscard]] Result<PacketSocket> accept(PacketMode mode) noexcept;
  /// Where it listens, also if another process made it; empty if that is no path. May throw
  /// std::bad_alloc.
  [[nodiscard]] std::string path() const;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  /// For poll(2); still owned by this object. -1 when empty.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  explicit PacketListener(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace resmgr
