// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/packet_socket.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace resmgr {
namespace {

constexpr std::string_view kLockSuffix = ".lock";
constexpr std::size_t kPathRoom = sizeof(sockaddr_un::sun_path);

// Room for the descriptors of one packet, aligned as the kernel's header wants it.
struct Control {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMaxPacketFds * sizeof(int))> bytes{};
};

// Calls again while a signal interrupts.
template <typename Call>
auto retried(const Call& call) noexcept {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// What a failed transfer on a connection means.
std::unexpected<Error> transfer_failed(int error, const char* call) noexcept {
  switch (error) {
    case EAGAIN:
      return fail(ErrorCode::WouldBlock, call);
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return fail(ErrorCode::Disconnected, call);
    case EMSGSIZE:
      return fail(ErrorCode::InvalidArgument, "packet longer than the kernel takes");
    default:
      return fail_errno(error, call);
  }
}

constexpr int type_of(PacketMode mode) noexcept {
  return SOCK_SEQPACKET | SOCK_CLOEXEC | (mode == PacketMode::NonBlocking ? SOCK_NONBLOCK : 0);
}

Result<sockaddr_un> address_of(std::string_view path) noexcept {
  sockaddr_un address{};
  // A leading zero would name an abstract socket, which no file protects.
  if (path.empty() || path.size() >= kPathRoom || path.contains('\0')) {
    return fail(ErrorCode::InvalidArgument, "path of a socket");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) noexcept {
  return reinterpret_cast<const sockaddr*>(&address);
}

int connect_to(int fd, const sockaddr_un& address) noexcept {
  return retried([&] { return ::connect(fd, generic(address), sizeof address); });
}

Result<int> option(int fd, int name) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0) return value;
  if (errno == ENOTSOCK) return fail(ErrorCode::InvalidArgument, "adopting what is no socket");
  return fail_errno(errno, "getsockopt");
}

// Checks that `fd` is of our kind, and brings its flags to what our own sockets have.
Result<void> prepare_adopted(int fd, bool listening, PacketMode mode) noexcept {
  constexpr std::size_t kOptions = 3;
  const std::array<std::pair<int, int>, kOptions> wanted{
      {{SO_DOMAIN, AF_UNIX}, {SO_TYPE, SOCK_SEQPACKET}, {SO_ACCEPTCONN, listening ? 1 : 0}}};
  for (const auto& [name, expected] : wanted) {
    auto value = option(fd, name);
    if (!value) return std::unexpected(std::move(value.error()));
    if (*value != expected) {
      return fail(ErrorCode::InvalidArgument, "adopting a socket of another kind");
    }
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail_errno(errno, "fcntl(F_GETFL)");
  const int other = flags & ~O_NONBLOCK;
  if (::fcntl(fd, F_SETFL, mode == PacketMode::NonBlocking ? other | O_NONBLOCK : other) != 0 ||
      ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return fail_errno(errno, "fcntl");
  }
  return {};
}

// Takes each descriptor that came with a packet into `packet`, which has room for all that fit into
// `header`'s control bytes.
void take_fds(msghdr& header, PacketSocket::Received& packet) noexcept {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count && packet.fd_count < packet.fds.size(); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      packet.fds[packet.fd_count++].reset(fd);
    }
  }
}

// Keeps others who start at the same path out until it is closed. Without it, two that both found a
// stale file would take it from each other; and between bind() and listen() a socket looks stale.
Result<UniqueFd> lock_start(std::string_view path) noexcept {
  std::array<char, kPathRoom + kLockSuffix.size()> name{};
  std::memcpy(name.data(), path.data(), path.size());
  std::memcpy(name.data() + path.size(), kLockSuffix.data(), kLockSuffix.size());
  UniqueFd lock(::open(name.data(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!lock) return fail_errno(errno, "opening the lock file of a socket");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return fail(ErrorCode::InUse, "somebody else starts at this socket");
  return fail_errno(errno, "flock");
}

// Removes the socket file of somebody who is gone.
Result<void> remove_stale(const sockaddr_un& address) noexcept {
  struct stat file{};
  if (::lstat(address.sun_path, &file) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, "lstat");
  }
  // A file of any other kind refuses connections just as a stale socket does.
  if (!S_ISSOCK(file.st_mode)) {
    return fail(ErrorCode::AlreadyExists, "a file that is no socket is at the socket's path");
  }
  const UniqueFd probe(::socket(AF_UNIX, type_of(PacketMode::NonBlocking), 0));
  if (!probe) return fail_errno(errno, "socket");
  const int error = connect_to(probe.get(), address) == 0 ? 0 : errno;
  switch (error) {
    case ENOENT:
      return {};
    case ECONNREFUSED:
      break;
    case 0:
    case EAGAIN:      // so many wait there that it can't even be asked
    case EPROTOTYPE:  // a socket of another kind, whose owner is alive
      return fail(ErrorCode::InUse, "somebody listens at this socket");
    default:
      return fail_errno(error, "connect");
  }
  if (::unlink(address.sun_path) != 0 && errno != ENOENT) return fail_errno(errno, "unlink");
  return {};
}

}  // namespace

Result<std::pair<PacketSocket, PacketSocket>> PacketSocket::pair(PacketMode mode) noexcept {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, type_of(mode), 0, ends.data()) != 0) {
    return fail_errno(errno, "socketpair");
  }
  return std::pair(PacketSocket(UniqueFd(ends[0])), PacketSocket(UniqueFd(ends[1])));
}

Result<PacketSocket> PacketSocket::connect(std::string_view path, PacketMode mode) noexcept {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  UniqueFd fd(::socket(AF_UNIX, type_of(mode), 0));
  if (!fd) return fail_errno(errno, "socket");
  if (connect_to(fd.get(), *address) == 0) return PacketSocket(std::move(fd));
  switch (errno) {
    case ENOENT:
      return fail(ErrorCode::Disconnected, "no socket is at this path");
    case ECONNREFUSED:
      return fail(ErrorCode::Disconnected, "nobody listens at this socket");
    default:
      return transfer_failed(errno, "connect");
  }
}

Result<PacketSocket> PacketSocket::adopt(UniqueFd fd, PacketMode mode) noexcept {
  auto ready = prepare_adopted(fd.get(), false, mode);
  if (!ready) return std::unexpected(std::move(ready.error()));
  return PacketSocket(std::move(fd));
}

Result<void> PacketSocket::send(std::span<const std::byte> bytes,
                                std::span<const int> fds) noexcept {
  if (bytes.empty()) return fail(ErrorCode::InvalidArgument, "packet without bytes");
  if (fds.size() > kMaxPacketFds) {
    return fail(ErrorCode::InvalidArgument, "packet with too many descriptors");
  }
  // sendmsg only reads it, but struct iovec has no const.
  iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  Control control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  if (retried([&] { return ::sendmsg(fd_.get(), &header, MSG_NOSIGNAL); }) < 0) {
    return transfer_failed(errno, "sendmsg");
  }
  return {};
}

Result<void> PacketSocket::set_send_room(std::uint64_t bytes) noexcept {
  // The kernel doubles it, for what it needs besides.
  const int room = static_cast<int>(std::min<std::uint64_t>(bytes, INT_MAX / 2));
  for (const int name : {SO_SNDBUFFORCE, SO_SNDBUF}) {
    if (::setsockopt(fd_.get(), SOL_SOCKET, name, &room, sizeof room) == 0) return {};
  }
  return fail_errno(errno, "setsockopt");
}

Result<PacketSocket::Received> PacketSocket::receive(std::span<std::byte> buffer,
                                                     std::size_t max_fds) noexcept {
  if (buffer.empty() || max_fds > kMaxPacketFds) {
    return fail(ErrorCode::InvalidArgument, "receiving into nothing, or too many descriptors");
  }
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  Control control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  // Room for no more than was asked for: what is beyond, the kernel never opens here.
  header.msg_control = control.bytes.data();
  header.msg_controllen = max_fds == 0 ? 0 : CMSG_LEN(max_fds * sizeof(int));
  const ssize_t bytes = retried([&] { return ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC); });
  if (bytes < 0) return transfer_failed(errno, "recvmsg");
  // Before any check: from here on, each way out closes what came.
  Received packet{.bytes = static_cast<std::size_t>(bytes), .fd_count = 0, .fds = {}};
  take_fds(header, packet);
  if (bytes == 0) return fail(ErrorCode::Disconnected, "recvmsg");
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return fail(ErrorCode::InvalidArgument, "packet longer than the buffer");
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    // Where there was room left, it was our own table of descriptors that had none.
    if (packet.fd_count < max_fds) {
      return fail(ErrorCode::CapacityExceeded, "no descriptor left for what came with a packet");
    }
    return fail(ErrorCode::InvalidArgument, "packet with more descriptors than asked for");
  }
  return packet;
}

Result<PacketListener> PacketListener::listen(std::string_view path, mode_t permissions,
                                              PacketMode mode) noexcept {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  const auto lock = lock_start(path);
  if (!lock) return std::unexpected(lock.error());
  auto removed = remove_stale(*address);
  if (!removed) return std::unexpected(std::move(removed.error()));
  UniqueFd fd(::socket(AF_UNIX, type_of(mode), 0));
  if (!fd) return fail_errno(errno, "socket");
  if (::bind(fd.get(), generic(*address), sizeof *address) != 0) {
    if (errno == EADDRINUSE) return fail(ErrorCode::InUse, "somebody took this socket's path");
    return fail_errno(errno, "bind");
  }
  // bind() applied the umask. Until listen() nobody can connect, whatever the permissions.
  if (::chmod(address->sun_path, permissions) != 0) return fail_errno(errno, "chmod");
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail_errno(errno, "listen");
  return PacketListener(std::move(fd));
}

Result<PacketListener> PacketListener::adopt(UniqueFd fd, PacketMode mode) noexcept {
  auto ready = prepare_adopted(fd.get(), true, mode);
  if (!ready) return std::unexpected(std::move(ready.error()));
  return PacketListener(std::move(fd));
}

Result<PacketSocket> PacketListener::accept(PacketMode mode) noexcept {
  const int flags = type_of(mode) & ~SOCK_SEQPACKET;
  UniqueFd fd(retried([&] { return ::accept4(fd_.get(), nullptr, nullptr, flags); }));
  if (fd) return PacketSocket(std::move(fd));
  return transfer_failed(errno, "accept");
}

std::string PacketListener::path() const {
  sockaddr_un address{};
  socklen_t bytes = sizeof address;
  void* const out = &address;
  if (::getsockname(fd_.get(), static_cast<sockaddr*>(out), &bytes) != 0) return {};
  // The longest path is not ended by a zero; an abstract name begins with one.
  return {address.sun_path, ::strnlen(address.sun_path, kPathRoom)};
}

}  // namespace resmgr
