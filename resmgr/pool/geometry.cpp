// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/geometry.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "resmgr/base/hash.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/pool/block_numbers.hpp"

namespace resmgr::pool {
namespace {

constexpr std::uint64_t kLine = 64;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint32_t kKnownFlags = RM_POOL_HUGE_PAGES;

static_assert(sizeof(rm_pool_header) <= RM_POOL_CONTROL_OFFSET);
static_assert(sizeof(rm_pool_control) == kLine);

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) noexcept {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr std::uint64_t units(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit;
}

std::uint64_t natural_alignment(std::uint64_t block_bytes) noexcept {
  return std::min(kLine, std::bit_ceil(block_bytes));
}

}  // namespace

std::uint64_t header_checksum(const rm_pool_header& header) noexcept {
  std::array<unsigned char, offsetof(rm_pool_header, checksum)> bytes{};
  std::memcpy(bytes.data(), &header, bytes.size());
  return fnv1a(bytes);
}

Result<PoolGeometry> make_geometry(const PoolShape& shape) noexcept {
  if (shape.block_bytes == 0 || shape.block_bytes > RM_POOL_MAX_BLOCK_BYTES) {
    return fail(ErrorCode::InvalidArgument, "block size of a pool");
  }
  if (shape.max_blocks == 0 || shape.max_blocks > RM_POOL_MAX_BLOCKS) {
    return fail(ErrorCode::InvalidArgument, "number of blocks of a pool");
  }
  if (shape.alignment != 0 &&
      (!std::has_single_bit(shape.alignment) || shape.alignment > RM_POOL_MAX_ALIGNMENT)) {
    return fail(ErrorCode::InvalidArgument, "alignment of a pool");
  }
  PoolGeometry geometry{.block_bytes = shape.block_bytes,
                        .alignment = shape.alignment,
                        .capacity = shape.max_blocks,
                        .huge_pages = shape.huge_pages};
  if (geometry.alignment == 0) geometry.alignment = natural_alignment(shape.block_bytes);
  // Two bytes at least: see BlockNumbers.
  geometry.stride = std::max<std::uint64_t>(2, round_up(shape.block_bytes, geometry.alignment));
  // Some hundred gigabytes of odd sizes: an even one then.
  if (!BlockNumbers::are_exact(geometry.stride, geometry.blocks_bytes())) {
    geometry.stride = std::bit_ceil(geometry.stride);
  }
  geometry.groups = static_cast<std::uint32_t>(units(geometry.capacity, RM_POOL_GROUP_BLOCKS));
  geometry.words_offset = kPage;
  geometry.tags_offset = round_up(geometry.words_offset + 8 * geometry.groups, kLine);
  geometry.full_offset = round_up(geometry.tags_offset + 2ull * geometry.capacity, kLine);
  const std::uint64_t runs = units(geometry.groups, RM_POOL_RUN_GROUPS);
  const std::uint64_t page = shape.huge_pages ? kHugePage : kPage;
  // Blocks that fill a huge page begin at one: whatever the file is made of, they can be joined.
  const std::uint64_t begin = geometry.blocks_bytes() >= kHugePage ? kHugePage : page;
  geometry.blocks_offset =
      round_up(geometry.full_offset + 8 * units(runs, 64), std::max(begin, geometry.alignment));
  geometry.pool_bytes = round_up(geometry.blocks_offset + geometry.blocks_bytes(), page);
  if (geometry.pool_bytes > RM_POOL_MAX_BYTES ||
      !BlockNumbers::are_exact(geometry.stride, geometry.blocks_bytes())) {
    return fail(ErrorCode::InvalidArgument, "bytes of a pool");
  }
  return geometry;
}

rm_pool_header make_header(const PoolGeometry& geometry, std::uint64_t id) noexcept {
  rm_pool_header header{.magic = RM_POOL_MAGIC,
                        .layout_major = RM_POOL_LAYOUT_MAJOR,
                        .layout_minor = RM_POOL_LAYOUT_MINOR,
                        .flags = geometry.huge_pages ? RM_POOL_HUGE_PAGES : 0,
                        .id = id,
                        .block_bytes = geometry.block_bytes,
                        .alignment = geometry.alignment,
                        .stride = geometry.stride,
                        .capacity = geometry.capacity,
                        .groups = geometry.groups,
                        .words_offset = geometry.words_offset,
                        .tags_offset = geometry.tags_offset,
                        .full_offset = geometry.full_offset,
                        .blocks_offset = geometry.blocks_offset,
                        .pool_bytes = geometry.pool_bytes,
                        .checksum = 0};
  header.checksum = header_checksum(header);
  return header;
}

Result<PoolGeometry> read_geometry(const rm_pool_header& header, std::uint64_t file_bytes) {
  if (header.magic != RM_POOL_MAGIC) {
    return fail(ErrorCode::InvalidArgument, "pool memory: no pool is in there");
  }
  if (header.layout_major != RM_POOL_LAYOUT_MAJOR) {
    Error error(ErrorCode::VersionMismatch, "pool memory");
    error.with_detail({.cycle = {},
                       .text = "its layout is " + std::to_string(header.layout_major) + "." +
                               std::to_string(header.layout_minor) + ", this library's is " +
                               std::to_string(RM_POOL_LAYOUT_MAJOR) + "." +
                               std::to_string(RM_POOL_LAYOUT_MINOR)});
    return std::unexpected(std::move(error));
  }
  if (header.checksum != header_checksum(header) || (header.flags & ~kKnownFlags) != 0) {
    return fail(ErrorCode::InvalidArgument, "pool memory: the header is damaged");
  }
  // The checksum is no seal against malice: every size is computed anew and has to agree.
  auto geometry = make_geometry({.block_bytes = header.block_bytes,
                                 .max_blocks = header.capacity,
                                 .alignment = header.alignment,
                                 .huge_pages = (header.flags & RM_POOL_HUGE_PAGES) != 0});
  if (!geometry) return geometry;
  rm_pool_header expected = make_header(*geometry, header.id);
  expected.layout_minor = header.layout_minor;
  expected.checksum = header.checksum;
  if (std::memcmp(&expected, &header, sizeof header) != 0) {
    return fail(ErrorCode::InvalidArgument, "pool memory: its sizes contradict");
  }
  if (file_bytes != geometry->pool_bytes) {
    return fail(ErrorCode::InvalidArgument, "pool memory: the file has another size");
  }
  return geometry;
}

}  // namespace resmgr::pool
