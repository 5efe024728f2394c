// SPDX-License-Identifier: Apache-2.0
//
// What tests of pools share: pools of a few blocks, and peers that map the same one.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "resmgr/pool/block_pool.hpp"
#include "tests/base/support.hpp"

namespace resmgr::pool::test {

using resmgr::test::code_of;

using PoolPtr = std::shared_ptr<BlockPool>;

inline constexpr Owner kMaker = 1;
inline constexpr Owner kPeer = 2;
inline constexpr Owner kThird = 3;

/// All of its blocks are there from the start.
[[nodiscard]] inline PoolSettings settings(std::uint32_t blocks, std::uint64_t block_bytes = 64) {
  return {.shape = {.block_bytes = block_bytes, .max_blocks = blocks},
          .initial_blocks = blocks,
          .owner = kMaker};
}
[[nodiscard]] inline PoolPtr make_pool(std::uint32_t blocks, std::uint64_t block_bytes = 64) {
  return BlockPool::create(settings(blocks, block_bytes)).value();
}
/// Another process's view of the pool, in this one.
[[nodiscard]] inline PoolPtr attach(const BlockPool& pool, Owner owner, bool thread_safe = true) {
  UniqueFd fd(::fcntl(pool.region().fd(), F_DUPFD_CLOEXEC, 0));
  return BlockPool::attach(std::move(fd), {.owner = owner, .thread_safe = thread_safe}).value();
}
/// Where the peer has the same block.
[[nodiscard]] inline void* same_block(const BlockPool& here, const BlockPool& there,
                                      const void* block) {
  return there.region().tables().block(here.number_of(block));
}

/// Allocates until there is none.
[[nodiscard]] inline std::vector<void*> drain(BlockPool& pool) {
  std::vector<void*> blocks;
  while (void* const block = pool.try_allocate()) blocks.push_back(block);
  return blocks;
}
inline void free_all(BlockPool& pool, const std::vector<void*>& blocks) {
  for (void* const block : blocks) EXPECT_EQ(pool.try_free(block), ErrorCode{});
}
/// Every block that the pool may give out can be had, each once. Leaves them in the depot.
inline void expect_whole(BlockPool& pool) {
  const std::vector<void*> blocks = drain(pool);
  const std::uint32_t limit = pool.depot().limit();
  EXPECT_EQ(blocks.size(), limit);
  EXPECT_EQ(std::set<void*>(blocks.begin(), blocks.end()).size(), blocks.size());
  free_all(pool, blocks);
  pool.flush();
  EXPECT_EQ(pool.depot().count().in_depot, limit);
}

}  // namespace resmgr::pool::test
