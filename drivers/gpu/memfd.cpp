// SPDX-License-Identifier: Apache-2.0
//
// The memfd backend: each buffer is a memfd of whole pages, sealed in its size.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "drivers/gpu/backend.hpp"

namespace drivers::gpu {
namespace {

using hal::ErrorCode;
using hal::Result;
using hal::UniqueFd;
using resmgr::fail;
using resmgr::fail_errno;

Result<UniqueFd> create_file() {
  UniqueFd fd(::memfd_create("gpu-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno(errno, "memfd_create");
  return fd;
}

Result<void> probe() {
  auto fd = create_file();
  if (!fd) return std::unexpected(std::move(fd.error()));
  return {};
}

Result<std::unique_ptr<Storage>> allocate(BufferLayout& layout) {
  auto fd = create_file();
  if (!fd) return std::unexpected(std::move(fd.error()));
  // Whole pages: udmabuf takes no others.
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t bytes = (layout.size_bytes + page - 1) / page * page;
  // Now rather than page by page: a full machine is an error here and would be SIGBUS in an access.
  while (::fallocate(fd->get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return fail_errno(errno, "fallocate of a buffer");
  }
  // An importer, or a device, can rely on the size; nobody can add a seal against writing.
  if (::fcntl(fd->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  return std::make_unique<Storage>(std::move(*fd));
}

Result<std::unique_ptr<Storage>> import(UniqueFd fd, const BufferLayout& layout) {
  struct stat status{};
  struct statfs filesystem{};
  if (::fstat(fd.get(), &status) != 0 || ::fstatfs(fd.get(), &filesystem) != 0) {
    return fail(ErrorCode::InvalidArgument, "buffer import: not an open file");
  }
  // Shared memory that can't shrink: everything else can be SIGBUS in an access. Huge pages too:
  // they can be punched out, and the machine may have no other.
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (!S_ISREG(status.st_mode) || filesystem.f_type != TMPFS_MAGIC || seals < 0 ||
      (seals & F_SEAL_SHRINK) == 0) {
    return fail(ErrorCode::InvalidArgument, "buffer import: not a memfd sealed against shrinking");
  }
  if (status.st_size < 0 || static_cast<std::uint64_t>(status.st_size) < layout.size_bytes) {
    return fail(ErrorCode::InvalidArgument, "buffer import: the file is smaller than the buffer");
  }
  const int mode = ::fcntl(fd.get(), F_GETFL) & O_ACCMODE;
  if (mode == O_WRONLY) {
    return fail(ErrorCode::InvalidArgument, "buffer import: the file can't be read");
  }
  const bool read_only = mode == O_RDONLY || (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0;
  if (read_only && has_any(layout.usage, BufferUsage::CpuWrite)) {
    return fail(ErrorCode::NotPermitted, "buffer import: the file can't be written");
  }
  return std::make_unique<Storage>(std::move(fd));
}

// Shared memory is coherent with the processor's caches.
Result<void> no_sync(Storage&, CpuAccess) { return {}; }

}  // namespace

const Backend kMemfdBackend{
    .name = "memfd",
    .probe = probe,
    .allocate = allocate,
    .import = import,
    .begin_access = no_sync,
    .end_access = no_sync,
};

}  // namespace drivers::gpu
