// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/mapping.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

namespace resmgr {

Result<Mapping> Mapping::map_file(int fd, std::size_t bytes, Access access, std::size_t offset,
                                  int extra_flags) noexcept {
  if (bytes == 0) return fail(ErrorCode::InvalidArgument, "mapping of no bytes");
  const int protection = access == Access::Read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* address = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE | extra_flags, fd,
                         static_cast<off_t>(offset));
  if (address == MAP_FAILED) return fail_errno(errno, "mmap");
  return Mapping(static_cast<std::byte*>(address), bytes);
}

Result<Mapping> Mapping::map_anonymous(std::size_t bytes) noexcept {
  if (bytes == 0) return fail(ErrorCode::InvalidArgument, "mapping of no bytes");
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return fail_errno(errno, "mmap");
  return Mapping(static_cast<std::byte*>(address), bytes);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() { unmap(); }

void Mapping::unmap() noexcept {
  if (data_) ::munmap(data_, size_);
  data_ = nullptr;
}

}  // namespace resmgr
