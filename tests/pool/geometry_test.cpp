// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/geometry.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "resmgr/pool/block_numbers.hpp"
#include "tests/base/seed.hpp"
#include "tests/base/support.hpp"

namespace resmgr::pool {
namespace {

using resmgr::test::code_of;

TEST(PoolGeometry, IsSparseInBookkeeping) {
  const auto geometry = make_geometry({.block_bytes = 4096, .max_blocks = 1 << 20}).value();
  const double bytes_a_block = static_cast<double>(geometry.blocks_offset) / geometry.capacity;
  EXPECT_GE(bytes_a_block, 2);
  EXPECT_LE(bytes_a_block, 4);
}

TEST(PoolGeometry, TablesLieOneBehindTheOther) {
  for (const std::uint64_t bytes : {1u, 7u, 24u, 64u, 100u, 4096u, 65536u, 3u << 20}) {
    for (const std::uint32_t blocks : {1u, 31u, 32u, 33u, 64u, 2049u, 70'000u}) {
      const auto g = make_geometry({.block_bytes = bytes, .max_blocks = blocks}).value();
      EXPECT_GE(g.stride, bytes);
      EXPECT_EQ(g.stride % g.alignment, 0u);
      EXPECT_EQ(g.blocks_offset % g.alignment, 0u);
      EXPECT_GE(g.tags_offset, g.words_offset + 8ull * g.groups);
      EXPECT_GE(g.full_offset, g.tags_offset + 2ull * g.capacity);
      EXPECT_GE(g.blocks_offset, g.full_offset + 8);
      EXPECT_GE(g.pool_bytes, g.blocks_offset + g.blocks_bytes());
      EXPECT_GE(32ull * g.groups, g.capacity);
    }
  }
}

TEST(PoolGeometry, AlignsAsAsked) {
  EXPECT_EQ(make_geometry({.block_bytes = 64, .max_blocks = 1})->alignment, 64u);
  EXPECT_EQ(make_geometry({.block_bytes = 24, .max_blocks = 1})->alignment, 32u);
  const auto g = make_geometry({.block_bytes = 100, .max_blocks = 9, .alignment = 4096}).value();
  EXPECT_EQ(g.stride, 4096u);
  EXPECT_EQ(g.blocks_offset % 4096, 0u);
}

TEST(PoolGeometry, RefusesWhatCantBe) {
  const PoolShape good{.block_bytes = 64, .max_blocks = 64};
  const auto code = [](PoolShape shape) { return code_of(make_geometry(shape)); };
  EXPECT_EQ(code(good), ErrorCode{});
  for (const std::uint64_t bytes : {std::uint64_t{0}, RM_POOL_MAX_BLOCK_BYTES + 1}) {
    EXPECT_EQ(code({.block_bytes = bytes, .max_blocks = 64}), ErrorCode::InvalidArgument);
  }
  for (const std::uint32_t blocks : {0u, RM_POOL_MAX_BLOCKS + 1}) {
    EXPECT_EQ(code({.block_bytes = 64, .max_blocks = blocks}), ErrorCode::InvalidArgument);
  }
  for (const std::uint64_t alignment : {std::uint64_t{3}, RM_POOL_MAX_ALIGNMENT * 2}) {
    EXPECT_EQ(code({.block_bytes = 64, .max_blocks = 64, .alignment = alignment}),
              ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(code({.block_bytes = RM_POOL_MAX_BLOCK_BYTES, .max_blocks = RM_POOL_MAX_BLOCKS}),
            ErrorCode::InvalidArgument);
}

TEST(PoolGeometry, ComesBackFromItsHeader) {
  const auto made = make_geometry({.block_bytes = 100, .max_blocks = 1000}).value();
  const rm_pool_header header = make_header(made, 7);
  const auto read = read_geometry(header, made.pool_bytes).value();
  EXPECT_EQ(read.stride, made.stride);
  EXPECT_EQ(read.capacity, made.capacity);
  EXPECT_EQ(read.blocks_offset, made.blocks_offset);
}

// Whatever a peer writes into the header, with a checksum that is right again or not: it is
// refused, or it says the same sizes.
TEST(PoolGeometry, RefusesDamagedHeaders) {
  const auto made = make_geometry({.block_bytes = 100, .max_blocks = 1000}).value();
  const rm_pool_header good = make_header(made, 7);
  EXPECT_EQ(code_of(read_geometry(good, made.pool_bytes + 1)), ErrorCode::InvalidArgument);
  for (std::size_t byte = 0; byte < sizeof good; ++byte) {
    for (const unsigned bit : {0x01u, 0x10u, 0x80u}) {
      std::array<std::uint8_t, sizeof good> bytes{};
      std::memcpy(bytes.data(), &good, sizeof good);
      bytes[byte] = static_cast<std::uint8_t>(bytes[byte] ^ bit);
      rm_pool_header damaged{};
      std::memcpy(&damaged, bytes.data(), sizeof damaged);
      EXPECT_FALSE(read_geometry(damaged, made.pool_bytes)) << "byte " << byte;
    }
  }
  rm_pool_header other = good;
  other.layout_major = RM_POOL_LAYOUT_MAJOR + 1;
  const auto refused = read_geometry(other, made.pool_bytes);
  ASSERT_EQ(code_of(refused), ErrorCode::VersionMismatch);
  EXPECT_NE(refused.error().message().find("2.0"), std::string::npos) << refused.error().message();
}

TEST(BlockNumbers, AreThoseOfADivision) {
  std::mt19937_64 random(resmgr::test::seed());
  for (int round = 0; round < 20'000; ++round) {
    const std::uint64_t stride = 2 + random() % (std::uint64_t{1} << (1 + random() % 32));
    const std::uint64_t count = 1 + random() % (1u << 27);
    if (!BlockNumbers::are_exact(stride, stride * count)) continue;
    const BlockNumbers numbers(stride);
    const std::uint64_t number = random() % count;
    ASSERT_EQ(numbers.at(number * stride), number) << stride;
    ASSERT_EQ(numbers.at(number * stride + random() % stride), number) << stride;
    ASSERT_EQ(numbers.at(number * stride + stride - 1), number) << stride;
  }
}

}  // namespace
}  // namespace resmgr::pool
