// SPDX-License-Identifier: Apache-2.0
//
// PoolGeometry: the sizes of a pool, checked against each other and against the file.
//
// What it is: what is computed from options when a pool is made, and from a header when one is
// mapped; both ways the same computation, and a header that says otherwise is refused. What it is
// not: the header: that one can be overwritten by any peer, and is looked at once.
// Lifetime and thread-safety: plain values, pure functions.
//
//   auto geometry = make_geometry({.block_bytes = 4096, .max_blocks = 1024});
//   const rm_pool_header header = make_header(*geometry, random_id());
//   auto again = read_geometry(header, file_bytes);
#pragma once

#include <cstdint>

#include "resmgr/abi/pool_layout.h"
#include "resmgr/base/error.hpp"

namespace resmgr::pool {

/// What a pool is asked to be.
struct PoolShape {
  std::uint64_t block_bytes = 0;  ///< 1 to RM_POOL_MAX_BLOCK_BYTES
  std::uint32_t max_blocks = 0;   ///< 1 to RM_POOL_MAX_BLOCKS
  /// Bytes, a power of two up to RM_POOL_MAX_ALIGNMENT. 0: a cache line for blocks that have so
  /// many, less for smaller ones.
  std::uint64_t alignment = 0;
  bool huge_pages = false;  ///< the file is made of pages of 2 MiB
};

struct PoolGeometry {
  std::uint64_t block_bytes = 0;
  std::uint64_t alignment = 0;
  std::uint64_t stride = 0;
  std::uint32_t capacity = 0;
  std::uint32_t groups = 0;
  std::uint64_t words_offset = 0;
  std::uint64_t tags_offset = 0;
  std::uint64_t full_offset = 0;
  std::uint64_t blocks_offset = 0;
  std::uint64_t pool_bytes = 0;
  bool huge_pages = false;

  /// Of the blocks, in bytes.
  [[nodiscard]] std::uint64_t blocks_bytes() const noexcept { return stride * capacity; }
};

/// Errors: InvalidArgument.
[[nodiscard]] Result<PoolGeometry> make_geometry(const PoolShape& shape) noexcept;
/// The header of a pool of that geometry, checksum included.
[[nodiscard]] rm_pool_header make_header(const PoolGeometry& geometry, std::uint64_t id) noexcept;
/// What its checksum has to be.
[[nodiscard]] std::uint64_t header_checksum(const rm_pool_header& header) noexcept;
/// Judges a header, a private copy, of a file of `file_bytes`. Errors: InvalidArgument,
/// VersionMismatch (both numbers in the message).
[[nodiscard]] Result<PoolGeometry> read_geometry(const rm_pool_header& header,
                                                 std::uint64_t file_bytes);

}  // namespace resmgr::pool
