// SPDX-License-Identifier: Apache-2.0
//
// PoolRegion: the memory of a pool: a sealed memfd, and this process's mapping of it.
//
// What it is: creation and attachment, and where the tables and blocks are. What it is not: the
// judge of what stands in the tables; see resmgr/pool/depot.hpp. A file of another size than its
// header says, or that could change its size, is refused: no peer can pull pages out from under a
// mapping. Lifetime: owns file and mapping; blocks are valid as long as it. Thread-safety: constant
// after creation.
//
//   auto region = PoolRegion::create({.block_bytes = 4096, .max_blocks = 1024}, "frames");
//   auto peer = PoolRegion::attach(fd_of_the_same);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "resmgr/abi/pool_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/pool/block_numbers.hpp"
#include "resmgr/pool/geometry.hpp"

namespace resmgr::pool {

/// Where things are, and their checked sizes; a view, cheap to copy.
struct PoolTables {
  rm_pool_control* control = nullptr;
  std::uint64_t* words = nullptr;  ///< one a group
  std::uint16_t* tags = nullptr;   ///< one a block
  std::uint64_t* full = nullptr;   ///< a bit a run of groups
  std::byte* blocks = nullptr;
  std::uint64_t stride = 0;
  std::uint64_t blocks_bytes = 0;
  std::uint32_t capacity = 0;
  std::uint32_t groups = 0;
  BlockNumbers numbers;

  [[nodiscard]] std::byte* block(std::uint32_t number) const noexcept {
    return blocks + number * stride;
  }
};

class PoolRegion {
 public:
  /// A new pool, all of whose blocks are in it. `name` is what /proc shows. Errors:
  /// InvalidArgument, System, CapacityExceeded (no descriptor left), Unsupported (huge pages are
  /// wanted, and there are not enough).
  [[nodiscard]] static Result<PoolRegion> create(const PoolShape& shape, const char* name) noexcept;
  /// Maps a pool that another process made. Errors: InvalidArgument (not sealed, damaged),
  /// VersionMismatch, System.
  [[nodiscard]] static Result<PoolRegion> attach(UniqueFd fd);

  [[nodiscard]] const PoolTables& tables() const noexcept { return tables_; }
  [[nodiscard]] const PoolGeometry& geometry() const noexcept { return geometry_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return mapping_.bytes(); }
  [[nodiscard]] std::span<std::byte> blocks() const noexcept {
    return {tables_.blocks, tables_.blocks_bytes};
  }
  /// The pages that lie wholly in blocks `begin` to `end`.
  [[nodiscard]] std::span<std::byte> whole_pages(std::uint32_t begin,
                                                 std::uint32_t end) const noexcept;
  /// Gives back the pages that lie wholly in blocks `begin` to `end`; they are zeros from then on,
  /// in all processes. REQUIRES: nobody has such a block, nor gets one meanwhile.
  void discard(std::uint32_t begin, std::uint32_t end) const noexcept;

 private:
  PoolRegion(UniqueFd fd, Mapping mapping, const PoolGeometry& geometry) noexcept;

  UniqueFd fd_;
  Mapping mapping_;
  PoolGeometry geometry_;
  PoolTables tables_;
};

}  // namespace resmgr::pool
