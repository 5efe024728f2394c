// SPDX-License-Identifier: Apache-2.0
//
// Threads that allocate and free at once. Each writes its mark over whole blocks by plain stores:
// who has one that somebody else has sees another's mark, and the thread sanitizer sees a race if
// a block changes hands without order.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "tests/base/seed.hpp"
#include "tests/pool/support.hpp"

namespace resmgr::pool::test {
namespace {

constexpr std::size_t kWords = 8;

struct Held {
  std::uint64_t* words;
  std::uint64_t mark;
};

Held mark(void* block, std::uint64_t mark) {
  auto* const words = static_cast<std::uint64_t*>(block);
  for (std::size_t i = 0; i < kWords; ++i) words[i] = mark;
  return {words, mark};
}
bool is_marked(const Held& held) {
  return std::all_of(held.words, held.words + kWords,
                     [&](std::uint64_t word) { return word == held.mark; });
}

class PoolThreads : public testing::TestWithParam<std::uint32_t> {
 protected:
  static constexpr int kThreads = 4;
  static constexpr int kSteps = 20'000;

  void run(const std::function<void(std::uint64_t thread)>& body) {
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
    for (std::thread& thread : threads) thread.join();
  }
};

TEST_P(PoolThreads, EachKeepsItsOwn) {
  const PoolPtr pool = make_pool(GetParam());
  const std::uint64_t seed = resmgr::test::seed();
  std::atomic<int> wrong{0};
  run([&](std::uint64_t thread) {
    std::mt19937_64 random(seed + thread);
    std::vector<Held> held;
    for (std::uint64_t step = 0; step < kSteps; ++step) {
      if (random() % 2 == 0) {
        if (void* const block = pool->try_allocate()) {
          held.push_back(mark(block, thread << 32 | step));
        }
      } else if (!held.empty()) {
        std::swap(held[random() % held.size()], held.back());
        if (!is_marked(held.back())) ++wrong;
        if (pool->try_free(held.back().words) != ErrorCode{}) ++wrong;
        held.pop_back();
      }
    }
    for (const Held& each : held) {
      if (!is_marked(each) || pool->try_free(each.words) != ErrorCode{}) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool->statistics().refused, 0u);
  expect_whole(*pool);
}

TEST_P(PoolThreads, OneFreesWhatAnotherAllocated) {
  const PoolPtr pool = make_pool(GetParam());
  const std::uint64_t seed = resmgr::test::seed();
  std::atomic<int> wrong{0};
  std::mutex mutex;
  std::vector<Held> common;
  run([&](std::uint64_t thread) {
    std::mt19937_64 random(seed + thread);
    for (std::uint64_t step = 0; step < kSteps; ++step) {
      if (random() % 2 == 0) {
        void* const block = pool->try_allocate();
        if (!block) continue;
        const Held held = mark(block, thread << 32 | step);
        const std::lock_guard lock(mutex);
        common.push_back(held);
      } else {
        std::unique_lock lock(mutex);
        if (common.empty()) continue;
        std::swap(common[random() % common.size()], common.back());
        const Held held = common.back();
        common.pop_back();
        lock.unlock();
        if (!is_marked(held) || pool->try_free(held.words) != ErrorCode{}) ++wrong;
      }
    }
  });
  for (const Held& held : common) {
    if (!is_marked(held) || pool->try_free(held.words) != ErrorCode{}) ++wrong;
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool->statistics().refused, 0u);
  expect_whole(*pool);
}

// Everything at once, by processes that each have a thread here: grow, shrink, die, recover.
TEST_P(PoolThreads, PeersComeAndGo) {
  PoolSettings wanted = settings(GetParam());
  wanted.initial_blocks = 1;
  const PoolPtr pool = BlockPool::create(std::move(wanted)).value();
  const std::uint64_t seed = resmgr::test::seed();
  std::atomic<int> wrong{0};
  run([&](std::uint64_t thread) {
    std::mt19937_64 random(seed + thread);
    const auto owner = static_cast<Owner>(thread + 2);
    for (int life = 0; life < 20; ++life) {
      const PoolPtr mine = attach(*pool, owner, false);
      std::vector<Held> held;
      for (std::uint64_t step = 0; step < kSteps / 20; ++step) {
        const std::uint64_t choice = random() % 100;
        if (choice == 0) {
          (void)mine->shrink(static_cast<std::uint32_t>(random() % GetParam()));
        } else if (choice == 1) {
          mine->flush();
        } else if (choice % 2 == 0) {
          if (void* const block = mine->try_allocate()) {
            held.push_back(mark(block, thread << 32 | step));
          }
        } else if (!held.empty()) {
          if (!is_marked(held.back())) ++wrong;
          if (mine->try_free(held.back().words) != ErrorCode{}) ++wrong;
          held.pop_back();
        }
      }
      for (const Held& each : held) {
        if (!is_marked(each)) ++wrong;
      }
      mine->before_fork();
      mine->after_fork_in_child();
      (void)pool->recover(owner);
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool->statistics().refused, 0u);
  EXPECT_EQ(pool->statistics().used + pool->statistics().cached, 0u);
  expect_whole(*pool);
}

INSTANTIATE_TEST_SUITE_P(Blocks, PoolThreads, testing::Values(40u, 5000u));

}  // namespace
}  // namespace resmgr::pool::test
