// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/mapping.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "resmgr/base/atomic.hpp"

namespace resmgr {
namespace {

constexpr int protection_for(Mapping::Access access) noexcept {
  return access == Mapping::Access::Read ? PROT_READ : PROT_READ | PROT_WRITE;
}

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}

std::size_t page_bytes() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

// Address space for `bytes`, beginning at a multiple of `alignment`, a power of two of at least a
// page. More is asked for, and what lies before and behind is given back.
Result<std::byte*> reserve_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  if (alignment > SIZE_MAX / 4 || bytes > SIZE_MAX - 2 * alignment) {
    return fail(ErrorCode::InvalidArgument, "mapping of so many bytes");
  }
  const std::size_t kept = round_up(bytes, page_bytes());
  const std::size_t taken = kept + alignment;
  void* space =
      ::mmap(nullptr, taken, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return fail_errno(errno, "mmap");
  const auto address = reinterpret_cast<std::uintptr_t>(space);
  const std::size_t before = round_up(address, alignment) - address;
  auto* const begin = static_cast<std::byte*>(space) + before;
  if (before != 0) ::munmap(space, before);
  ::munmap(begin + kept, taken - before - kept);
  return begin;
}

}  // namespace

Result<Mapping> Mapping::map_file(int fd, std::size_t bytes, Access access, std::size_t offset,
                                  std::size_t alignment) noexcept {
  if (bytes == 0) return fail(ErrorCode::InvalidArgument, "mapping of no bytes");
  std::byte* wanted = nullptr;
  if (bytes >= kHugePage) alignment = std::max(alignment, kHugePage);
  if (alignment > page_bytes()) {
    auto reserved = reserve_aligned(bytes, alignment);
    if (!reserved) return std::unexpected(std::move(reserved.error()));
    wanted = *reserved;
  }
  void* address =
      ::mmap(wanted, bytes, protection_for(access),
             MAP_SHARED | MAP_NORESERVE | (wanted ? MAP_FIXED : 0), fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) {
    const int error = errno;
    if (wanted) ::munmap(wanted, bytes);
    return fail_errno(error, "mmap");
  }
  return Mapping(static_cast<std::byte*>(address), bytes);
}

Result<Mapping> Mapping::map_anonymous(std::size_t bytes) noexcept {
  if (bytes == 0) return fail(ErrorCode::InvalidArgument, "mapping of no bytes");
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return fail_errno(errno, "mmap");
  return Mapping(static_cast<std::byte*>(address), bytes);
}

void Mapping::discard() noexcept {
  // Memory that is locked keeps its pages.
  if (::madvise(data_, size_, MADV_DONTNEED) != 0) std::memset(data_, 0, size_);
}

// The kernel takes the old pages out and puts the new ones in under one lock, for which a thread
// waits that touches them in between.
Result<void> Mapping::replace(int fd, Access access) noexcept {
  constexpr int kFlags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED;
  if (::mmap(data_, size_, protection_for(access), kFlags, fd, 0) == MAP_FAILED) {
    return fail_errno(errno, "mmap");
  }
  return {};
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

void populate(void* begin, std::size_t bytes) noexcept {
  static const std::size_t page = page_bytes();
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t first = round_up(address, page);
  const std::uintptr_t end = (address + bytes) / page * page;
  if (first < end) {
    (void)::madvise(static_cast<std::byte*>(begin) + (first - address), end - first,
                    MADV_POPULATE_WRITE);
  }
}

void Mapping::unmap() noexcept {
  if (data_) ::munmap(data_, size_);
  data_ = nullptr;
}

bool is_too_short(int fd, std::uint64_t bytes) noexcept {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) < bytes;
}

void join_pages(std::byte* begin) noexcept {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which Debian 12's headers do not name
  // Something has to be there to be joined.
  atomic(*static_cast<std::uint64_t*>(static_cast<void*>(begin)))
      .fetch_or(0, std::memory_order_relaxed);
  (void)::madvise(begin, kHugePage, kCollapse);
}

}  // namespace resmgr
