// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/pool_region.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "resmgr/base/random.hpp"

namespace resmgr::pool {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr std::uint64_t kSmallPage = 4096;

Result<UniqueFd> make_file(const PoolGeometry& geometry, const char* name) noexcept {
  const unsigned huge = geometry.huge_pages ? MFD_HUGETLB | MFD_HUGE_2MB : 0;
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | huge));
  if (!fd) return fail_errno(errno, "memfd_create");
  if (::ftruncate(fd.get(), static_cast<off_t>(geometry.pool_bytes)) != 0) {
    return fail_errno(errno, "ftruncate");
  }
  // Huge pages come out of a store that runs out: now it is an error, and would be SIGBUS later.
  if (geometry.huge_pages &&
      ::fallocate(fd.get(), 0, 0, static_cast<off_t>(geometry.pool_bytes)) != 0) {
    return fail(ErrorCode::Unsupported, "not enough huge pages");
  }
  // F_SEAL_SEAL as well: nobody who has the file can forbid the others to write.
  if (::fcntl(fd.get(), F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  return fd;
}

}  // namespace

Result<PoolRegion> PoolRegion::create(const PoolShape& shape, const char* name) noexcept {
  auto geometry = make_geometry(shape);
  if (!geometry) return std::unexpected(std::move(geometry.error()));
  auto fd = make_file(*geometry, name);
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto mapping = Mapping::map_file(fd->get(), geometry->pool_bytes, Mapping::Access::ReadWrite, 0,
                                   geometry->alignment);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  const rm_pool_header header = make_header(*geometry, random_id());
  std::memcpy(mapping->data(), &header, sizeof header);
  return PoolRegion(std::move(*fd), std::move(*mapping), *geometry);
}

Result<PoolRegion> PoolRegion::attach(UniqueFd fd) {
  struct stat status{};
  struct statfs filesystem{};
  if (::fstat(fd.get(), &status) != 0 || ::fstatfs(fd.get(), &filesystem) != 0) {
    return fail(ErrorCode::InvalidArgument, "pool memory: not an open file");
  }
  const bool huge = filesystem.f_type == HUGETLBFS_MAGIC;
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (!S_ISREG(status.st_mode) || (filesystem.f_type != TMPFS_MAGIC && !huge) || seals < 0 ||
      (seals & kSizeSeals) != kSizeSeals) {
    return fail(ErrorCode::InvalidArgument, "pool memory: not a memfd sealed in its size");
  }
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  rm_pool_header header{};
  if (bytes < RM_POOL_CONTROL_OFFSET + sizeof(rm_pool_control) ||
      ::pread(fd.get(), &header, sizeof header, 0) != ssize_t{sizeof header}) {
    return fail(ErrorCode::InvalidArgument, "pool memory: no pool has that size");
  }
  auto geometry = read_geometry(header, bytes);
  if (!geometry) return std::unexpected(std::move(geometry.error()));
  if (geometry->huge_pages != huge) {
    return fail(ErrorCode::InvalidArgument, "pool memory: made of other pages than it says");
  }
  auto mapping =
      Mapping::map_file(fd.get(), bytes, Mapping::Access::ReadWrite, 0, geometry->alignment);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  return PoolRegion(std::move(fd), std::move(*mapping), *geometry);
}

PoolRegion::PoolRegion(UniqueFd fd, Mapping mapping, const PoolGeometry& geometry) noexcept
    : fd_(std::move(fd)), mapping_(std::move(mapping)), geometry_(geometry) {
  const auto at = [&]<typename T>(T*& table, std::uint64_t offset) {
    table = reinterpret_cast<T*>(mapping_.data() + offset);
  };
  at(tables_.control, RM_POOL_CONTROL_OFFSET);
  at(tables_.words, geometry_.words_offset);
  at(tables_.tags, geometry_.tags_offset);
  at(tables_.full, geometry_.full_offset);
  at(tables_.blocks, geometry_.blocks_offset);
  tables_.stride = geometry_.stride;
  tables_.blocks_bytes = geometry_.blocks_bytes();
  tables_.capacity = geometry_.capacity;
  tables_.groups = geometry_.groups;
  tables_.numbers = BlockNumbers(geometry_.stride);
}

std::span<std::byte> PoolRegion::whole_pages(std::uint32_t begin,
                                             std::uint32_t end) const noexcept {
  const std::uint64_t page = geometry_.huge_pages ? kHugePage : kSmallPage;
  const std::uint64_t from =
      (geometry_.blocks_offset + begin * geometry_.stride + page - 1) / page * page;
  const std::uint64_t to = (geometry_.blocks_offset + end * geometry_.stride) / page * page;
  if (from >= to) return {};
  return mapping_.bytes().subspan(from, to - from);
}

void PoolRegion::discard(std::uint32_t begin, std::uint32_t end) const noexcept {
  if (geometry_.huge_pages) return;  // somebody else could have them when they are wanted again
  const std::span<std::byte> pages = whole_pages(begin, end);
  if (pages.empty()) return;
  (void)::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(pages.data() - mapping_.data()),
                    static_cast<off_t>(pages.size()));
}

}  // namespace resmgr::pool
