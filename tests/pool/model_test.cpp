// SPDX-License-Identifier: Apache-2.0
//
// Random calls by several processes, simulated in this one, beside an oracle that knows who has
// which block. Processes die; what they had comes back, and is had by nobody twice.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "tests/base/seed.hpp"
#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

class Model {
 public:
  Model(std::uint64_t seed, std::uint32_t blocks) : random_(seed) {
    PoolSettings wanted = settings(blocks);
    wanted.initial_blocks = blocks / 2;
    maker_ = BlockPool::create(std::move(wanted)).value();
    for (Owner owner = 2; owner <= 4; ++owner) join(owner);
  }
  ~Model() { bury(); }

  void step() {
    switch (below(24)) {
      case 0:
        return die();
      case 1:
        return any().flush();
      case 2:
        return shrink();
      case 3:
        return free_again();
      default:
        return below(2) == 0 ? allocate() : free_one();
    }
  }

  /// Blocks that somebody has are out of the depot, each by its owner's name.
  void check() {
    const PoolTables& tables = maker_->region().tables();
    for (const auto& [number, owner] : had_) {
      ASSERT_TRUE(taken_in(tables.words[number / 32]) >> number % 32 & 1) << number;
      ASSERT_EQ(tables.tags[number], allocated_tag(owner)) << number;
    }
    ASSERT_EQ(maker_->depot().count().claimed_groups, 0u);
  }

  /// When all have let go of everything, all is there.
  void finish() {
    while (!had_.empty()) free_one();
    for (Process& process : processes_) {
      for (const PoolPtr& thread : process.threads) thread->flush();
    }
    const Census census = maker_->depot().count();
    ASSERT_EQ(census.in_depot, census.limit);
    expect_whole(*maker_);
  }

 private:
  struct Process {
    Owner owner;
    std::vector<PoolPtr> threads;  ///< a magazine each
  };

  std::size_t below(std::size_t end) { return random_() % end; }
  BlockPool& any() {
    Process& process = processes_[below(processes_.size())];
    return *process.threads[below(process.threads.size())];
  }
  void join(Owner owner) {
    Process process{.owner = owner, .threads = {}};
    for (std::size_t i = 0; i <= below(3); ++i) {
      process.threads.push_back(attach(*maker_, owner, false));
    }
    processes_.push_back(std::move(process));
  }

  void allocate() {
    BlockPool& pool = any();
    void* const block = pool.try_allocate();
    if (!block) {
      const Census census = pool.depot().count();
      ASSERT_EQ(census.in_depot, 0u);
      ASSERT_EQ(census.limit, pool.region().tables().capacity);
      return;
    }
    const std::uint32_t number = pool.number_of(block);
    ASSERT_TRUE(had_.emplace(number, pool.owner()).second) << number << " was given twice";
    freed_.erase(number);
  }

  // By whomever.
  void free_one() {
    if (had_.empty()) return;
    auto each = had_.lower_bound(static_cast<std::uint32_t>(random_()));
    if (each == had_.end()) each = had_.begin();
    BlockPool& pool = any();
    ASSERT_EQ(pool.try_free(pool.region().tables().block(each->first)), ErrorCode{});
    freed_[each->first] = &pool;
    had_.erase(each);
  }

  // By who freed it before, while nobody got it since.
  void free_again() {
    if (freed_.empty()) return;
    auto each = freed_.begin();
    std::advance(each, static_cast<std::ptrdiff_t>(below(freed_.size())));
    BlockPool& pool = *each->second;
    ASSERT_EQ(pool.try_free(pool.region().tables().block(each->first)), ErrorCode::InvalidArgument);
  }

  void die() {
    if (below(6) != 0) return;
    const std::size_t index = below(processes_.size());
    const Owner owner = processes_[index].owner;
    for (const PoolPtr& thread : processes_[index].threads) {
      std::erase_if(freed_, [&](const auto& entry) { return entry.second == thread.get(); });
      // A process that died empties no magazine; a child of fork() doesn't either.
      thread->before_fork();
      thread->after_fork_in_child();
    }
    processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(index));
    maker_->recover(owner);
    std::erase_if(had_, [&](const auto& entry) { return entry.second == owner; });
    check();
    join(owner);
  }

  void shrink() {
    const std::uint32_t limit = maker_->depot().limit();
    const std::uint32_t fewer = any().shrink(static_cast<std::uint32_t>(below(limit + 1)));
    ASSERT_EQ(maker_->depot().limit(), limit - fewer);
    std::erase_if(freed_, [&](const auto& entry) { return entry.first >= limit - fewer; });
    if (!had_.empty()) {
      ASSERT_LT(had_.rbegin()->first, maker_->depot().limit());
    }
  }
  void bury() { processes_.clear(); }

  std::mt19937_64 random_;
  PoolPtr maker_;
  std::vector<Process> processes_;
  std::map<std::uint32_t, Owner> had_;
  std::map<std::uint32_t, BlockPool*> freed_;
};

TEST(PoolModel, NobodyHasWhatAnotherHas) {
  const std::uint64_t seed = resmgr::test::seed();
  for (std::uint64_t round = 0; round < 60; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    constexpr std::uint32_t kSizes[] = {40, 100, 1000};
    Model model(seed + round, kSizes[round % 3]);
    for (int i = 0; i < 3000; ++i) {
      model.step();
      if (i % 100 == 0) model.check();
      ASSERT_FALSE(testing::Test::HasFailure()) << "step " << i;
    }
    model.finish();
  }
}

}  // namespace
}  // namespace resmgr::pool::test
