// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/block_pool.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

TEST(BlockPool, GivesAllBlocksAndThenSaysSo) {
  for (const std::uint32_t count : {1u, 7u, 32u, 100u, 3000u}) {
    const PoolPtr pool = make_pool(count);
    const auto blocks = drain(*pool);
    EXPECT_EQ(blocks.size(), count);
    const auto none = pool->allocate();
    ASSERT_EQ(code_of(none), ErrorCode::PoolExhausted);
    EXPECT_EQ(none.error().requested(), 1u);
    EXPECT_EQ(none.error().available(), 0u);
    free_all(*pool, blocks);
    expect_whole(*pool);
  }
}

TEST(BlockPool, BlocksDontOverlap) {
  const PoolPtr pool = make_pool(200, 100);
  const auto blocks = drain(*pool);
  for (std::size_t i = 0; i < blocks.size(); ++i) std::memset(blocks[i], static_cast<int>(i), 100);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto* const bytes = static_cast<const unsigned char*>(blocks[i]);
    EXPECT_EQ(std::count(bytes, bytes + 100, static_cast<unsigned char>(i)), 100);
  }
}

TEST(BlockPool, RefusesWhatIsNotABlockOfIts) {
  const PoolPtr pool = make_pool(64, 100);
  const PoolPtr other = make_pool(64, 100);
  auto* const block = static_cast<std::byte*>(pool->try_allocate());
  int here = 0;
  for (void* const wrong :
       {static_cast<void*>(nullptr), static_cast<void*>(&here), static_cast<void*>(block + 1),
        static_cast<void*>(block - 1), static_cast<void*>(block + 64), other->try_allocate(),
        static_cast<void*>(pool->region().bytes().data()),
        static_cast<void*>(pool->region().tables().blocks +
                           pool->region().tables().blocks_bytes)}) {
    EXPECT_EQ(pool->try_free(wrong), ErrorCode::InvalidArgument);
    EXPECT_EQ(code_of(pool->free(wrong)), ErrorCode::InvalidArgument);
  }
  EXPECT_EQ(pool->try_free(block), ErrorCode{});
  expect_whole(*pool);
}

TEST(BlockPool, RefusesASecondFreeAtOnce) {
  const PoolPtr pool = make_pool(64);
  void* const block = pool->try_allocate();
  EXPECT_EQ(pool->try_free(block), ErrorCode{});
  EXPECT_EQ(pool->try_free(block), ErrorCode::InvalidArgument);
  pool->flush();
  EXPECT_EQ(pool->try_free(block), ErrorCode::InvalidArgument);
  // One that was never allocated.
  EXPECT_EQ(pool->try_free(pool->region().tables().block(63)), ErrorCode::InvalidArgument);
  // One that another thread freed.
  void* const second = pool->try_allocate();
  std::thread([&] { EXPECT_EQ(pool->try_free(second), ErrorCode{}); }).join();
  EXPECT_EQ(pool->try_free(second), ErrorCode::InvalidArgument);
  expect_whole(*pool);
}

// Two threads that free the same block in the same moment: each saw it allocated. It is noticed
// when one of the two would be allocated.
TEST(BlockPool, NoticesARaceOfFreesLater) {
  const PoolPtr pool = make_pool(64);
  const PoolPtr sole = attach(*pool, kMaker, false);
  auto* const block = static_cast<std::byte*>(pool->try_allocate());
  std::uint16_t* const tag = pool->region().tables().tags + pool->number_of(block);
  ASSERT_EQ(sole->try_free(same_block(*pool, *sole, block)), ErrorCode{});
  *tag = allocated_tag(kMaker);  // as the other one saw it
  ASSERT_EQ(pool->try_free(block), ErrorCode{});
  ASSERT_EQ(pool->try_allocate(), block);
  EXPECT_NE(sole->try_allocate(), same_block(*pool, *sole, block));
  EXPECT_EQ(pool->statistics().refused, 1u);
}

TEST(BlockPool, PeersFreeEachOthersBlocks) {
  const PoolPtr pool = make_pool(300);
  const PoolPtr peer = attach(*pool, kPeer);
  const auto blocks = drain(*pool);
  ASSERT_EQ(blocks.size(), 300u);
  EXPECT_EQ(peer->try_allocate(), nullptr);
  for (void* const block : blocks) {
    void* const there = same_block(*pool, *peer, block);
    ASSERT_EQ(peer->try_free(there), ErrorCode{});
    ASSERT_EQ(peer->try_free(there), ErrorCode::InvalidArgument);
  }
  peer->flush();
  EXPECT_EQ(peer->try_free(same_block(*pool, *peer, blocks[0])), ErrorCode::InvalidArgument);
  EXPECT_EQ(pool->statistics().free, 300u);
  EXPECT_EQ(peer->statistics().frees, 300u);
  EXPECT_EQ(pool->statistics().refused, 0u);
  expect_whole(*peer);
  expect_whole(*pool);
}

TEST(BlockPool, AdoptedBlocksOutliveWhoAllocatedThem) {
  const PoolPtr pool = make_pool(300);
  const PoolPtr peer = attach(*pool, kPeer);
  void* const kept = pool->try_allocate();
  void* const lost = pool->try_allocate();
  void* const mine = same_block(*pool, *peer, kept);
  EXPECT_EQ(peer->adopt(mine), ErrorCode{});
  EXPECT_EQ(peer->adopt(static_cast<std::byte*>(mine) + 1), ErrorCode::InvalidArgument);
  int here = 0;
  EXPECT_EQ(peer->adopt(&here), ErrorCode::InvalidArgument);
  EXPECT_EQ(peer->adopt(peer->region().tables().block(299)), ErrorCode::InvalidArgument);
  pool->flush();
  EXPECT_EQ(peer->recover(kMaker), 1u);
  EXPECT_EQ(peer->adopt(same_block(*pool, *peer, lost)), ErrorCode::InvalidArgument);
  EXPECT_EQ(peer->statistics().used, 1u);
  EXPECT_EQ(peer->try_free(mine), ErrorCode{});
  peer->flush();
  expect_whole(*peer);
}

// A peer that only frees keeps a small pool from nobody.
TEST(BlockPool, FreedForeignBlocksAreNotHoarded) {
  const PoolPtr pool = make_pool(64);
  const PoolPtr peer = attach(*pool, kPeer);
  for (int round = 0; round < 200; ++round) {
    void* const block = pool->try_allocate();
    ASSERT_NE(block, nullptr) << round;
    ASSERT_EQ(peer->try_free(same_block(*pool, *peer, block)), ErrorCode{});
  }
}

TEST(BlockPool, GrowsByNeedAndAsksBefore) {
  std::uint64_t paid = 0;
  std::uint64_t most = 50 * 64;
  PoolSettings wanted = settings(100);
  wanted.initial_blocks = 0;
  wanted.payer.may_grow = [&](std::uint64_t bytes) -> Result<void> {
    if (paid + bytes > most) {
      return std::unexpected(
          std::move(Error(ErrorCode::BudgetExceeded, "test").with_amounts(bytes, most - paid)));
    }
    paid += bytes;
    return {};
  };
  wanted.payer.gave_up = [&](std::uint64_t bytes) { paid -= bytes; };
  const PoolPtr pool = BlockPool::create(std::move(wanted)).value();
  EXPECT_EQ(paid, 0u);
  auto blocks = drain(*pool);
  EXPECT_EQ(blocks.size(), 50u);
  EXPECT_EQ(paid, most);
  EXPECT_EQ(code_of(pool->allocate()), ErrorCode::BudgetExceeded);
  EXPECT_EQ(pool->allocate().error().requested(), 64u);
  most = 1'000'000;
  for (void* const block : drain(*pool)) blocks.push_back(block);
  EXPECT_EQ(blocks.size(), 100u);
  EXPECT_EQ(paid, 6400u);
  EXPECT_EQ(code_of(pool->allocate()), ErrorCode::PoolExhausted);
  EXPECT_EQ(code_of(pool->reserve(101)), ErrorCode::PoolExhausted);

  free_all(*pool, blocks);
  EXPECT_EQ(pool->shrink(10), 0u);  // the last ones are in the magazine
  pool->flush();
  EXPECT_EQ(pool->shrink(10), 90u);
  EXPECT_EQ(paid, 640u);
  EXPECT_EQ(pool->statistics().limit, 10u);
}

TEST(BlockPool, BeginsWithWhatWasAskedFor) {
  PoolSettings wanted = settings(100);
  wanted.initial_blocks = 40;
  EXPECT_EQ(BlockPool::create(wanted).value()->statistics().limit, 40u);
  wanted.initial_blocks = 101;
  EXPECT_EQ(code_of(BlockPool::create(wanted)), ErrorCode::InvalidArgument);
  wanted.initial_blocks = 100;
  wanted.payer.may_grow = [](std::uint64_t) -> Result<void> {
    return fail(ErrorCode::BudgetExceeded, "test");
  };
  EXPECT_EQ(code_of(BlockPool::create(wanted)), ErrorCode::BudgetExceeded);
  for (const Owner owner : {Owner{0}, Owner{RM_POOL_MAX_OWNER + 1}}) {
    PoolSettings nobody = settings(10);
    nobody.owner = owner;
    EXPECT_EQ(code_of(BlockPool::create(nobody)), ErrorCode::InvalidArgument);
  }
}

TEST(BlockPool, AThreadThatEndsLeavesNothingInItsMagazine) {
  const PoolPtr pool = make_pool(1000);
  void* kept = nullptr;
  std::thread([&] {
    kept = pool->try_allocate();
    EXPECT_NE(pool->statistics().cached, 0u);
  }).join();
  const PoolStatistics now = pool->statistics();
  EXPECT_EQ(now.cached, 0u);
  EXPECT_EQ(now.used, 1u);  // a block outlives the thread that allocated it
  EXPECT_EQ(now.magazines, 0u);
  EXPECT_EQ(now.allocations, 1u);
  EXPECT_EQ(pool->try_free(kept), ErrorCode{});
}

// An object of a thread that goes after its magazines did.
struct Late {
  PoolPtr pool;
  ~Late() {
    if (!pool) return;
    void* const block = pool->try_allocate();
    EXPECT_NE(block, nullptr);
    EXPECT_EQ(pool->try_free(block), ErrorCode{});
    EXPECT_EQ(pool->try_free(block), ErrorCode::InvalidArgument);
  }
};

TEST(BlockPool, MayBeUsedWhileAThreadEnds) {
  const PoolPtr pool = make_pool(100);
  std::thread([&] {
    static thread_local Late late;
    late.pool = pool;
    EXPECT_EQ(pool->try_free(pool->try_allocate()), ErrorCode{});
  }).join();
  const PoolStatistics now = pool->statistics();
  EXPECT_EQ(now.cached, 0u);
  EXPECT_EQ(now.used, 0u);
  EXPECT_EQ(now.allocations, 2u);
}

TEST(BlockPool, MayGoBeforeItsThreads) {
  PoolPtr pool = make_pool(100);
  PoolPtr second = make_pool(100);
  EXPECT_NE(pool->try_allocate(), nullptr);
  pool.reset();
  EXPECT_NE(second->try_allocate(), nullptr);
}

TEST(BlockPool, ManyPoolsOfOneThread) {
  std::vector<PoolPtr> pools;
  for (int i = 0; i < 40; ++i) pools.push_back(make_pool(10));
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> blocks;
    for (const PoolPtr& pool : pools) blocks.push_back(pool->try_allocate());
    for (std::size_t i = 0; i < pools.size(); ++i) {
      EXPECT_EQ(pools[i]->try_free(blocks[i]), ErrorCode{});
      EXPECT_EQ(pools[i]->statistics().magazines, 1u);
    }
  }
}

TEST(BlockPool, OfOneThreadHasOneMagazine) {
  PoolSettings wanted = settings(100);
  wanted.thread_safe = false;
  const PoolPtr pool = BlockPool::create(wanted).value();
  const auto blocks = drain(*pool);
  EXPECT_EQ(blocks.size(), 100u);
  std::thread([&] { free_all(*pool, blocks); }).join();  // one after the other is fine
  EXPECT_EQ(pool->statistics().magazines, 1u);
  expect_whole(*pool);
}

TEST(BlockPool, IsClosedInAChild) {
  const PoolPtr pool = make_pool(100);
  void* const block = pool->try_allocate();
  const pid_t child = ::fork();
  if (child == 0) {
    const bool closed = pool->try_allocate() == nullptr &&
                        code_of(pool->allocate()) == ErrorCode::Disconnected &&
                        pool->try_free(block) == ErrorCode::Disconnected;
    pool->flush();
    ::_exit(closed ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(pool->try_free(block), ErrorCode{});
  expect_whole(*pool);
}

TEST(BlockPool, CountsWhatIsDone) {
  const PoolPtr pool = make_pool(1000);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(pool->try_free(pool->try_allocate()), ErrorCode{});
  void* const block = pool->try_allocate();
  const PoolStatistics now = pool->statistics();
  EXPECT_EQ(now.allocations, 101u);
  EXPECT_EQ(now.frees, 100u);
  EXPECT_EQ(now.refills, 1u);
  EXPECT_NEAR(now.hit_rate(), 100.0 / 101, 1e-9);
  EXPECT_EQ(now.used, 1u);
  EXPECT_EQ(now.used + now.cached + now.free, 1000u);
  EXPECT_GE(now.peak, now.used);
  EXPECT_EQ(pool->try_free(block), ErrorCode{});
  pool->flush();
  EXPECT_GE(pool->statistics().peak, 1u);
  EXPECT_EQ(pool->statistics().free, 1000u);
}

TEST(BlockPool, FragmentationIsWhatCantBeGivenUp) {
  const PoolPtr pool = make_pool(64);
  EXPECT_EQ(pool->statistics().fragmentation(), 0);
  auto blocks = drain(*pool);
  const void* const first = pool->region().tables().block(0);
  for (void* const block : blocks) {
    if (block != first) {
      EXPECT_EQ(pool->try_free(block), ErrorCode{});
    }
  }
  pool->flush();
  EXPECT_NEAR(pool->statistics().fragmentation(), 31.0 / 63, 1e-9);
}

}  // namespace
}  // namespace resmgr::pool::test
