// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/remote_memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>

namespace drivers::dma {

hal::Result<RemoteMemory> RemoteMemory::map(hal::UniqueFd memory, Access access) noexcept {
  struct stat status{};
  struct statfs filesystem{};
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return fail(hal::ErrorCode::InvalidArgument, "memory: not a memfd sealed against shrinking");
  }
  if (::fstat(memory.get(), &status) != 0 || ::fstatfs(memory.get(), &filesystem) != 0) {
    return resmgr::fail_errno(errno, "memory");
  }
  if (filesystem.f_type != TMPFS_MAGIC) {
    return fail(hal::ErrorCode::InvalidArgument, "memory: of huge pages");
  }
  if (status.st_size <= 0) return fail(hal::ErrorCode::InvalidArgument, "memory: an empty file");
  const auto size = static_cast<std::size_t>(status.st_size);
  const int protection = access == Access::Read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* const address = ::mmap(nullptr, size, protection, MAP_SHARED, memory.get(), 0);
  if (address == MAP_FAILED) return resmgr::fail_errno(errno, "mmap of memory");
  return RemoteMemory({static_cast<std::byte*>(address), size});
}

RemoteMemory::~RemoteMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace drivers::dma
