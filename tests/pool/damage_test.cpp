// SPDX-License-Identifier: Apache-2.0
//
// A pool into which a hostile peer writes: calls return, and no block lies outside of the pool.
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>
#include <vector>

#include "tests/base/seed.hpp"
#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

/// A run that does not come back ends the program, and with it the test.
constexpr unsigned kWatchdogSeconds = 60;

class Damaged {
 public:
  Damaged(std::uint64_t seed, std::uint32_t blocks, std::uint64_t block_bytes) : random_(seed) {
    PoolSettings wanted = settings(blocks, block_bytes);
    wanted.initial_blocks = blocks / 2;
    maker_ = BlockPool::create(std::move(wanted)).value();
    for (const Owner owner : {kMaker, kPeer, kThird}) {
      pools_.push_back(attach(*maker_, owner, false));
    }
  }

  // All but the header, which nobody looks at any more, is written to; and that too.
  void scribble() {
    const auto bytes = maker_->region().bytes();
    const std::size_t end = maker_->region().geometry().blocks_offset;
    std::size_t at = random_() % end;
    for (std::uint64_t count = random_() % 24; count != 0 && at < end; --count, ++at) {
      const std::uint64_t kind = random_() % 4;
      bytes[at] = static_cast<std::byte>(kind == 0 ? 0 : kind == 1 ? 0xff : random_());
    }
  }

  void call() {
    BlockPool& pool = *pools_[random_() % pools_.size()];
    switch (random_() % 10) {
      case 0:
        return pool.flush();
      case 1:
        (void)pool.shrink(static_cast<std::uint32_t>(random_() % 2000));
        return;
      case 2:
        (void)pool.recover(static_cast<Owner>(random_() % 5));
        return;
      case 3:
        (void)pool.statistics();
        return;
      case 4:
        (void)pool.reserve(static_cast<std::uint32_t>(random_() % 2000));
        return;
      case 5:
      case 6:
      case 7:
        (void)pool.try_free(had_.empty() ? &had_ : had_[random_() % had_.size()]);
        return;
      default:
        break;
    }
    const auto blocks = pool.region().blocks();
    for (std::uint64_t count = random_() % 100; count != 0; --count) {
      auto* const block = static_cast<std::byte*>(pool.try_allocate());
      if (!block) return;
      const auto offset = static_cast<std::uint64_t>(block - blocks.data());
      ASSERT_LT(offset, blocks.size());
      ASSERT_EQ(offset % pool.region().geometry().stride, 0u);
      block[pool.region().geometry().block_bytes - 1] = std::byte{1};
      had_.push_back(block);
    }
  }

 private:
  std::mt19937_64 random_;
  PoolPtr maker_;
  std::vector<PoolPtr> pools_;
  std::vector<void*> had_;
};

TEST(PoolDamage, EveryCallReturns) {
  const std::uint64_t seed = resmgr::test::seed();
  for (std::uint64_t round = 0; round < 200; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    ::alarm(kWatchdogSeconds);
    Damaged damaged(seed + round, round % 2 == 0 ? 70 : 1500, round % 3 == 0 ? 100 : 64);
    for (int i = 0; i < 500; ++i) {
      damaged.scribble();
      damaged.call();
      if (testing::Test::HasFailure()) return;
    }
  }
  ::alarm(0);
}

}  // namespace
}  // namespace resmgr::pool::test
