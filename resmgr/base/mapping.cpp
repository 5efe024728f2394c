// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/mapping.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "resmgr/base/atomic.hpp"

namespace resmgr {

Result<Mapping> Mapping::map_file(int fd, std::size_t bytes, Access access, std::size_t offset,
                                  int extra_flags) noexcept {
  if (bytes == 0) return fail(ErrorCode::InvalidArgument, "mapping of no bytes");
  const int protection = access == Access::Read ? PROT_READ : PROT_READ | PROT_WRITE;
  // Address space for an aligned beginning; what lies before and behind the file is given back.
  const std::size_t slack = bytes >= kHugePage ? kHugePage : 0;
  if (bytes > SIZE_MAX - slack) return fail(ErrorCode::InvalidArgument, "mapping of so many bytes");
  void* wanted = nullptr;
  std::byte* reserved = nullptr;
  if (slack != 0) {
    void* space = ::mmap(nullptr, bytes + slack, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) return fail_errno(errno, "mmap");
    reserved = static_cast<std::byte*>(space);
    wanted =
        reserved + (kHugePage - reinterpret_cast<std::uintptr_t>(space) % kHugePage) % kHugePage;
  }
  void* address = ::mmap(wanted, bytes, protection,
                         MAP_SHARED | MAP_NORESERVE | extra_flags | (wanted ? MAP_FIXED : 0), fd,
                         static_cast<off_t>(offset));
  const int error = errno;
  if (reserved) {
    auto* const begin = static_cast<std::byte*>(wanted);
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    std::byte* const end = begin + (bytes + page - 1) / page * page;
    std::byte* const space_end = reserved + (bytes + slack + page - 1) / page * page;
    if (address == MAP_FAILED) {
      ::munmap(reserved, bytes + slack);
    } else {
      if (begin != reserved) ::munmap(reserved, static_cast<std::size_t>(begin - reserved));
      if (end != space_end) ::munmap(end, static_cast<std::size_t>(space_end - end));
    }
  }
  if (address == MAP_FAILED) return fail_errno(error, "mmap");
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

void join_pages(std::byte* begin) noexcept {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which Debian 12's headers do not name
  // Something has to be there to be joined.
  atomic(*static_cast<std::uint64_t*>(static_cast<void*>(begin)))
      .fetch_or(0, std::memory_order_relaxed);
  (void)::madvise(begin, kHugePage, kCollapse);
}

}  // namespace resmgr
