// SPDX-License-Identifier: Apache-2.0
//
// Copies of regions, which are mostly holes.
//
// What it is: the pages of a region's file that have memory and are not zero, and a new region file
// filled with pages. What it is not: a check of what is in them; that is attaching.
// Lifetime: RegionFile owns file and mapping. Thread-safety: plain values.
//
//   auto copy = RegionFile::create(header.region_bytes);
//   for_each_page(region.fd(), region.bytes(), [&](std::uint64_t page, auto bytes) { ... });
#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "resmgr/abi/region_file.hpp"
#include "resmgr/base/atomic.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgrctl {

/// Of a file and of a snapshot, whatever the machine's are.
inline constexpr std::size_t kPageBytes = 4096;

/// Copies words one by one, each whole, while others may write them. REQUIRES: both aligned to
/// words; a rest of less than a word is left out.
inline void copy_words(std::span<const std::byte> from, std::byte* to) noexcept {
  const auto* source = reinterpret_cast<const std::uint64_t*>(from.data());
  auto* target = reinterpret_cast<std::uint64_t*>(to);
  for (std::size_t i = 0; i < from.size() / sizeof(std::uint64_t); ++i) {
    target[i] = resmgr::load_acquire(source[i]);
  }
}

[[nodiscard]] inline bool is_zero(std::span<const std::byte> bytes) noexcept {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{}; });
}

/// Memory that a file has, in bytes; 0 if the kernel can't tell.
[[nodiscard]] inline std::uint64_t resident_bytes_of(int file) noexcept {
  struct stat status{};
  return ::fstat(file, &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

/// Calls `visit(page number, bytes of the page)` for each page of `file`, mapped as `bytes`, that
/// may hold anything. A page without memory is not touched: reading it would give it some.
/// Errors: System.
template <typename Visit>
[[nodiscard]] resmgr::Result<void> for_each_page(int file, std::span<const std::byte> bytes,
                                                 Visit&& visit) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const off_t begin = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
    if (begin < 0) {
      if (errno == ENXIO) return {};
      return resmgr::fail_errno(errno, "lseek(SEEK_DATA)");
    }
    const off_t end = ::lseek(file, begin, SEEK_HOLE);
    if (end < 0) return resmgr::fail_errno(errno, "lseek(SEEK_HOLE)");
    const std::size_t stop = std::min(static_cast<std::size_t>(end), bytes.size());
    for (at = static_cast<std::size_t>(begin) / kPageBytes * kPageBytes; at < stop;
         at += kPageBytes) {
      visit(std::uint64_t{at / kPageBytes},
            bytes.subspan(at, std::min(kPageBytes, bytes.size() - at)));
    }
  }
  return {};
}

/// A new region file, mapped for filling.
struct RegionFile {
  resmgr::UniqueFd fd;
  resmgr::Mapping mapping;

  /// Errors: System, CapacityExceeded.
  [[nodiscard]] static resmgr::Result<RegionFile> create(std::uint64_t bytes) {
    auto fd = resmgr::create_region_file("resmgrctl-look", bytes);
    if (!fd) return std::unexpected(std::move(fd.error()));
    auto mapping = resmgr::Mapping::map_file(fd->get(), static_cast<std::size_t>(bytes),
                                             resmgr::Mapping::Access::ReadWrite);
    if (!mapping) return std::unexpected(std::move(mapping.error()));
    return RegionFile{std::move(*fd), std::move(*mapping)};
  }
};

}  // namespace resmgrctl
