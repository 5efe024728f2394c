// SPDX-License-Identifier: Apache-2.0
#include "hal/src/queue_memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace hal::ring {
namespace {

using resmgr::Mapping;

constexpr int kResizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

Result<void> allocate(int fd, std::uint64_t bytes) noexcept {
  // Now rather than page by page: a full machine is an error here and would be SIGBUS in a push.
  for (;;) {
    if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0) return {};
    if (errno != EINTR) return resmgr::fail_errno(errno, "fallocate of a queue");
  }
}

// What writing a ring to could do harm: a file, in which eight bytes would be overwritten, or a
// device. Where /proc is to be seen it names the kind of file. Elsewhere: no other anonymous inode
// is ready to be written to without being ready for "normal" data, which whatever has no say about
// its readiness is as well, a device of VFIO for one.
bool is_eventfd(int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  std::array<char, 32> target{};
  const ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
  if (length >= 0) {
    return std::string_view(target.data(), static_cast<std::size_t>(length)) ==
           "anon_inode:[eventfd]";
  }
  struct statfs filesystem{};
  pollfd readiness{.fd = fd, .events = POLLOUT | POLLWRNORM, .revents = 0};
  return ::fstatfs(fd, &filesystem) == 0 && filesystem.f_type == ANON_INODE_FS_MAGIC &&
         ::poll(&readiness, 1, 0) == 1 && readiness.revents == POLLOUT;
}

}  // namespace

Result<UniqueFd> make_memory(const Geometry& geometry) noexcept {
  UniqueFd fd(::memfd_create("hal-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return resmgr::fail_errno(errno, "memfd_create");
  if (auto allocated = allocate(fd.get(), geometry.memory_bytes); !allocated) {
    return std::unexpected(std::move(allocated.error()));
  }
  const Header header = make_header(geometry);
  if (::pwrite(fd.get(), &header, sizeof(header), 0) != ssize_t{sizeof(header)}) {
    return resmgr::fail_errno(errno, "pwrite of a queue's header");
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kResizeSeals | F_SEAL_SEAL) != 0) {
    return resmgr::fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  return fd;
}

Result<OpenedMemory> open_memory(int fd) {
  struct stat status{};
  struct statfs filesystem{};
  if (::fstat(fd, &status) != 0 || ::fstatfs(fd, &filesystem) != 0) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: not an open file");
  }
  // Sealed shared memory alone: a file that can shrink, or huge pages that a peer can punch out
  // and the machine can't replace, would be SIGBUS in a push.
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (!S_ISREG(status.st_mode) || filesystem.f_type != TMPFS_MAGIC || seals < 0 ||
      (seals & kResizeSeals) != kResizeSeals) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: not a memfd sealed in its size");
  }
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (bytes < sizeof(Control) || bytes > Queue::kMaxMemoryBytes) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue memory: no queue has that size");
  }
  auto mapping = Mapping::map_file(fd, bytes, Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  Header header{};
  std::memcpy(&header, mapping->data(), sizeof(header));
  auto geometry = read_geometry(header, bytes);
  if (!geometry) return std::unexpected(std::move(geometry.error()));
  return OpenedMemory{.mapping = std::move(*mapping), .geometry = *geometry};
}

Result<UniqueFd> make_bell() noexcept {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return resmgr::fail_errno(errno, "eventfd");
  return fd;
}

Result<void> check_bell(int fd) {
  if (!is_eventfd(fd)) {
    return resmgr::fail(ErrorCode::InvalidArgument, "queue doorbell: not an eventfd");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return resmgr::fail_errno(errno, "fcntl(F_SETFL)");
  }
  return {};
}

void silence(int bell) noexcept {
  eventfd_t rings = 0;
  const iovec buffer{.iov_base = &rings, .iov_len = sizeof(rings)};
  // Not eventfd_read(): a peer may have made the file blocking since. Nothing to read is no error.
  static_cast<void>(::preadv2(bell, &buffer, 1, -1, RWF_NOWAIT));
}

}  // namespace hal::ring
