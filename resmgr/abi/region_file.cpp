// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/region_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "resmgr/abi/region_header.hpp"

namespace resmgr {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

Result<UniqueFd> create_region_file(const char* name, std::uint64_t bytes) noexcept {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno(errno, "memfd_create");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return fail_errno(errno, "ftruncate");
  if (::fcntl(fd.get(), F_ADD_SEALS, kSizeSeals) != 0) {
    return fail_errno(errno, "fcntl(F_ADD_SEALS)");
  }
  return fd;
}

Result<void> allocate_file(int fd, std::uint64_t bytes) noexcept {
  int failed = 0;
  do {
    failed = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  } while (failed == EINTR);
  if (failed == ENOSPC || failed == ENOMEM) {
    Error error(ErrorCode::CapacityExceeded, "memory of a whole region");
    error.with_amounts(bytes, 0);
    return std::unexpected(std::move(error));
  }
  if (failed != 0) return fail_errno(failed, "fallocate");
  return {};
}

Result<Mapping> map_sealed_file(int fd, Mapping::Access access) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
    return fail(ErrorCode::InvalidArgument, "a region is a memfd sealed against a change of size");
  }
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "fstat");

  return Mapping::map_file(fd, static_cast<std::size_t>(status.st_size), access);
}

Result<MappedRegion> map_region_file(int fd, std::uint64_t magic, Mapping::Access access) {
  auto mapping = map_sealed_file(fd, access);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  auto header = read_header(mapping->bytes(), magic);
  if (!header) return std::unexpected(std::move(header.error()));
  return MappedRegion{.mapping = std::move(*mapping), .header = *header};
}

}  // namespace resmgr
