// SPDX-License-Identifier: Apache-2.0
//
// PoolRecovery, which takes back what the dead had, step by step; and pools that are closed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>
#include <utility>

#include "resmgr/pool/pool_recovery.hpp"
#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

PoolRecovery begin(const BlockPool& pool, Owner dead) {
  return PoolRecovery::begin(UniqueFd(::fcntl(pool.region().fd(), F_DUPFD_CLOEXEC, 0)), dead)
      .value();
}
std::uint64_t memory_of(const BlockPool& pool) {
  struct stat status{};
  EXPECT_EQ(::fstat(pool.region().fd(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

TEST(PoolRecoveryTest, TakesItBackInSteps) {
  constexpr std::uint32_t kBlocks = 40'000;
  const PoolPtr pool = make_pool(kBlocks);
  const PoolPtr peer = attach(*pool, kPeer, false);
  std::uint32_t had = 0;
  for (; had < kBlocks / 2; ++had) ASSERT_NE(peer->try_allocate(), nullptr);
  void* const mine = pool->try_allocate();
  PoolRecovery recovery = begin(*pool, kPeer);
  std::uint32_t steps = 1;
  for (; !recovery.step(1); ++steps) EXPECT_LT(recovery.recovered(), had + Magazine::kMost);
  EXPECT_GT(steps, 1u);
  EXPECT_GE(recovery.recovered(), had);
  EXPECT_EQ(pool->statistics().recovered, recovery.recovered());
  EXPECT_EQ(pool->depot().count().allocated, 1u);
  EXPECT_EQ(pool->try_free(mine), ErrorCode{});
  peer->before_fork();  // it is dead, and empties nothing
  peer->after_fork_in_child();
  pool->flush();
  expect_whole(*pool);
}

// A hostile peer says that there was much: what nobody touched stays untouched.
TEST(PoolRecoveryTest, TouchesNothingThatNobodyTouched) {
  const PoolPtr pool =
      BlockPool::create({.shape = {.block_bytes = 64, .max_blocks = 1u << 24}}).value();
  pool->region().tables().control->high_water = 1u << 24;
  const std::uint64_t before = memory_of(*pool);
  PoolRecovery recovery = begin(*pool, kPeer);
  while (!recovery.step(1u << 16)) {
  }
  EXPECT_EQ(recovery.recovered(), 0u);
  EXPECT_EQ(memory_of(*pool), before);
}

TEST(PoolRecoveryTest, BelievesNoNumberOutOfRange) {
  const PoolPtr pool = make_pool(70);
  const PoolPtr peer = attach(*pool, kPeer, false);
  ASSERT_NE(peer->try_allocate(), nullptr);
  rm_pool_control& control = *pool->region().tables().control;
  control.high_water = 0xffff'ffff;
  pool->region().tables().words[2] |= 0xffff'ffffu;  // behind the last block, too
  PoolRecovery nobody = begin(*pool, 0);
  EXPECT_TRUE(nobody.step(1));
  PoolRecovery recovery = begin(*pool, kPeer);
  EXPECT_TRUE(recovery.step(1000));
  EXPECT_GE(recovery.recovered(), 1u);
}

// A peer that does nothing but change a word keeps nobody.
TEST(PoolRecoveryTest, EndsThoughAPeerDisturbsIt) {
  const PoolPtr pool = make_pool(32);
  const PoolPtr peer = attach(*pool, kPeer, false);
  ASSERT_NE(peer->try_allocate(), nullptr);
  std::uint64_t& word = pool->region().tables().words[0];
  std::atomic<bool> stop{false};
  std::thread hostile([&] {
    for (std::uint64_t i = 1; !stop.load(std::memory_order_relaxed); ++i) {
      store_relaxed(word, i << RM_POOL_VERSION_SHIFT | claim_of(kPeer) | (i & 0xffff'ffff));
    }
  });
  for (int i = 0; i < 1000; ++i) {
    PoolRecovery recovery = begin(*pool, kPeer);
    EXPECT_TRUE(recovery.step(1));
    (void)pool->recover(kPeer);
    (void)pool->try_free(pool->try_allocate());
    pool->flush();
  }
  stop = true;
  hostile.join();
}

TEST(BlockPoolClose, GivesBackWhatThreadsHaveAtHand) {
  const PoolPtr pool = make_pool(64);
  const PoolPtr peer = attach(*pool, kPeer);
  void* const kept = peer->try_allocate();
  std::atomic<int> step{0};
  std::thread other([&] {
    EXPECT_EQ(peer->try_free(peer->try_allocate()), ErrorCode{});
    step = 1;
    step.notify_all();
    step.wait(1);
    EXPECT_EQ(peer->try_allocate(), nullptr);
  });
  step.wait(0);
  EXPECT_NE(pool->depot().count().cached, 0u);
  peer->close();
  peer->close();
  EXPECT_EQ(pool->depot().count().cached, 0u);
  step = 2;
  step.notify_all();
  other.join();
  EXPECT_EQ(peer->try_allocate(), nullptr);
  EXPECT_EQ(peer->try_free(kept), ErrorCode::Disconnected);
  EXPECT_EQ(peer->adopt(kept), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(peer->allocate()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(peer->reserve(64)), ErrorCode::Disconnected);
  EXPECT_EQ(pool->try_free(same_block(*peer, *pool, kept)), ErrorCode{});
  pool->flush();
  expect_whole(*pool);
}

}  // namespace
}  // namespace resmgr::pool::test
