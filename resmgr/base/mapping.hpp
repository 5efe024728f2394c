// SPDX-License-Identifier: Apache-2.0
//
// Mapping: a stretch of mapped memory, unmapped when it goes out of scope.
//
// What it is: sole owner of an mmap. What it is not: a view of the file: the file may be closed.
// Lifetime: addresses are valid as long as the Mapping (moving keeps them). Thread-safety: the
// object as a plain value; what the memory means is up to its user.
//
//   auto memory = Mapping::map_file(fd.get(), 1 << 20, Mapping::Access::ReadWrite);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/base/error.hpp"

namespace resmgr {

class Mapping {
 public:
  enum class Access { Read, ReadWrite };

  Mapping() noexcept = default;
  /// Maps `bytes` (above 0) of `fd` from `offset` (a multiple of the page size), shared, without
  /// reserving memory. The mapping begins at a multiple of `alignment` (bytes, 0 or a power of
  /// two), and of kHugePage if it has room for one. Errors: InvalidArgument, System.
  [[nodiscard]] static Result<Mapping> map_file(int fd, std::size_t bytes, Access access,
                                                std::size_t offset = 0,
                                                std::size_t alignment = 0) noexcept;
  /// Private zeroed memory, paid when touched. Errors: InvalidArgument, System.
  [[nodiscard]] static Result<Mapping> map_anonymous(std::size_t bytes) noexcept;
  /// Makes all bytes zero again, and gives their pages back. REQUIRES: made by map_anonymous().
  void discard() noexcept;
  /// Puts the beginning of another file where this mapping is: at the same addresses, at one moment
  /// for all threads, each of which reads the old file before it and the new one after it.
  /// REQUIRES: made by map_file() with that access, of a file that is no longer than the new one.
  /// Errors: System.
  [[nodiscard]] Result<void> replace(int fd, Access access) noexcept;

  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }

 private:
  Mapping(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
  void unmap() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Whether a plain file is smaller now than it is said to be, in bytes: touching the rest of it
/// would be SIGBUS. Devices, timers and the like have no size to compare.
[[nodiscard]] bool is_too_short(int fd, std::uint64_t bytes) noexcept;

/// Bytes that one entry of a page table's second level maps (x86-64, and arm64 with small pages).
inline constexpr std::size_t kHugePage = std::size_t{1} << 21;

/// Gives the kHugePage bytes at `begin`, a multiple of kHugePage in a mapping that begins at one,
/// one page of that size: whoever goes through a large table at random then misses no address
/// translation. A hint: kernels before 6.1, and those without a free page of that size, leave it.
void join_pages(std::byte* begin) noexcept;

/// Gives memory that is about to be written its pages, in one call of the kernel instead of a fault
/// each. A hint: what can't be had now (an old kernel, no memory) is left to the faults. Pages that
/// are in the range in part only are left out.
void populate(void* begin, std::size_t bytes) noexcept;

}  // namespace resmgr
