// SPDX-License-Identifier: Apache-2.0
#include <hal/pool.hpp>

#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <hal/object_pool.hpp>
#include <hal/resource_manager.hpp>

#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

class PoolTest : public ManagerTest {
 protected:
  Pool make(PoolOptions options) {
    auto made = Pool::create(*manager_, "pool", options);
    EXPECT_TRUE(made) << made.error().message();
    return made ? std::move(*made) : Pool();
  }
  std::uint64_t memory_used() { return manager_->budget(ResourceType::Memory)->used; }
};

TEST_F(PoolTest, GivesBlocksAndTakesThemBack) {
  Pool pool = make({.block_bytes = 100, .max_blocks = 50});
  std::set<void*> blocks;
  while (void* const block = pool.try_allocate()) blocks.insert(block);
  EXPECT_EQ(blocks.size(), 50u);
  EXPECT_EQ(code_of(pool.allocate()), ErrorCode::PoolExhausted);
  std::thread([&] {
    for (void* const block : blocks) EXPECT_TRUE(pool.free(block));
  }).join();
  EXPECT_EQ(code_of(pool.free(*blocks.begin())), ErrorCode::InvalidArgument);
  EXPECT_EQ(pool.stats().free, 50u);
}

TEST_F(PoolTest, IsAResource) {
  const DriverId driver = manager_->register_driver("gpu").value();
  Pool pool = make({.block_bytes = 4096, .max_blocks = 64, .driver = driver});
  const Handle handle = manager_->find("pool").value();
  EXPECT_EQ(handle, pool.handle());
  const ResourceInfo info = manager_->info(handle).value();
  EXPECT_EQ(info.metadata.type, ResourceType::Memory);
  EXPECT_EQ(info.metadata.class_name, "pool");
  EXPECT_EQ(info.owner, driver);
  EXPECT_TRUE(info.has_fd);
  EXPECT_EQ(code_of(Pool::create(*manager_, "pool", {.block_bytes = 8, .max_blocks = 8})),
            ErrorCode::AlreadyExists);
  EXPECT_TRUE(manager_->teardown(handle));
}

TEST_F(PoolTest, RefusesWhatCantBe) {
  EXPECT_EQ(code_of(Pool::create(*manager_, "pool", {})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(Pool::create(*manager_, "", {.block_bytes = 8, .max_blocks = 8})),
            ErrorCode::InvalidName);
  EXPECT_EQ(code_of(Pool::create(
                *manager_, "pool",
                {.block_bytes = 8, .max_blocks = 8, .placement = {.numa = NumaPolicy::Bind}})),
            ErrorCode::InvalidArgument);
  Pool none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.try_allocate(), nullptr);
  EXPECT_EQ(code_of(none.allocate()), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(none.free(&none)), ErrorCode::Disconnected);
  EXPECT_EQ(none.stats().capacity, 0u);
}

TEST_F(PoolTest, ChargesWhatItGrowsBy) {
  ASSERT_TRUE(manager_->set_budget(ResourceType::Memory, {.max = 100 * 4096}));
  {
    Pool pool = make({.block_bytes = 4096, .max_blocks = 200, .initial_blocks = 10});
    EXPECT_GE(memory_used(), 10 * 4096u);
    std::vector<void*> blocks;
    while (void* const block = pool.try_allocate()) blocks.push_back(block);
    EXPECT_EQ(blocks.size(), 100u);
    EXPECT_EQ(code_of(pool.allocate()), ErrorCode::BudgetExceeded);
    EXPECT_EQ(memory_used(), 100 * 4096u);
    for (void* const block : blocks) EXPECT_TRUE(pool.free(block));
    pool.flush();
    EXPECT_EQ(pool.shrink(0), 100u);
    // All of it is there for others.
    EXPECT_TRUE(manager_->charge(ResourceType::Memory, 100 * 4096));
    ASSERT_TRUE(pool.reserve(60));
    EXPECT_FALSE(manager_->charge(ResourceType::Memory, 41 * 4096));
  }
  EXPECT_TRUE(manager_->charge(ResourceType::Memory, 100 * 4096));
}

struct Request {
  int number = 0;
  bool broken = false;
};

TEST_F(PoolTest, ObjectsAreUsedAgainIfTheyAreHealthy) {
  Pool pool = make({.block_bytes = sizeof(Request), .max_blocks = 4});
  auto objects =
      ObjectPool<Request>::create(std::move(pool), [](Request& r) { return !r.broken; }).value();
  {
    auto first = objects->acquire().value();
    first->number = 7;
  }
  EXPECT_EQ(objects->acquire().value()->number, 7);
  objects->acquire().value()->broken = true;
  EXPECT_EQ(objects->acquire().value()->number, 0);
  const ObjectPoolStats stats = objects->stats();
  EXPECT_EQ(stats.made, 2u);
  EXPECT_EQ(stats.reused, 2u);
  EXPECT_EQ(stats.unhealthy, 1u);
  EXPECT_EQ(stats.idle, 1u);

  std::vector<ObjectPool<Request>::Ref> all;
  for (int i = 0; i < 4; ++i) all.push_back(objects->acquire().value());
  EXPECT_EQ(objects->acquire().error(), ErrorCode::PoolExhausted);
}

TEST_F(PoolTest, ObjectsHaveToFit) {
  Pool pool = make({.block_bytes = 4, .max_blocks = 4});
  EXPECT_EQ(code_of(ObjectPool<Request>::create(std::move(pool))), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(ObjectPool<Request>::create(Pool())), ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace hal::test
