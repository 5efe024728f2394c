// SPDX-License-Identifier: Apache-2.0
//
// A registry that moves to another file: the copy, and readers who follow it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/base/sanitizers.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

UniqueFd file_of(const RegistryRegion& region) {
  return UniqueFd(::fcntl(region.fd(), F_DUPFD_CLOEXEC, 0));
}

RegistryRegion reader_of(const RegistryRegion& region) {
  return RegistryRegion::attach(file_of(region), Mapping::Access::Read).value();
}

World next_epoch(const World& world) {
  World next(RegistryRegion::copy_of(world.region, world.region.header().epoch + 1).value());
  (void)next.writer.recover();
  return next;
}

std::int64_t blocks_of(const RegistryRegion& region) {
  struct stat status{};
  EXPECT_EQ(::fstat(region.fd(), &status), 0);
  return status.st_blocks;
}

TEST(Follow, ACopyHasAllThatWasThereAndItsOwnEpoch) {
  World world;
  const Handle a = world.add("a", {.class_name = "buffer", .size_bytes = 4096});
  const Handle b = world.add("b", {.owner_driver = world.driver("dma")});
  ASSERT_TRUE(world.writer.dependencies().add(a, b));
  const World next = next_epoch(world);
  EXPECT_EQ(describe(next.view), describe(world.view));
  EXPECT_TRUE(is_sound(next));
  EXPECT_EQ(next.region.header().epoch, 2u);
  EXPECT_EQ(next.region.header().domain_id, world.region.header().domain_id);
  // Two memories from here on.
  world.remove(a);
  EXPECT_FALSE(next.view.lookup("a").is_null());
}

TEST(Follow, ACopyCostsNoMoreMemoryThanWhatItCopies) {
  Capacities capacities;
  World world(capacities);
  world.add("a");
  const auto copy = RegistryRegion::copy_of(world.region, 2);
  ASSERT_TRUE(succeeded(copy));
  EXPECT_LE(blocks_of(*copy), blocks_of(world.region));
  EXPECT_LT(blocks_of(*copy) * 512, std::int64_t{1} << 22);
}

// At each moment a reader finds what was there all the time, whichever file he looks into.
TEST(Follow, ReadersGoOnWhileItMoves) {
  if (resmgr::test::kThreadSanitizer) {
    GTEST_SKIP() << "ThreadSanitizer takes the mapping of a file for a write to what was there";
  }
  constexpr int kMoves = 200;
  World first;
  const Handle stable = first.add("stable/resource", {.size_bytes = 4711});
  RegistryRegion region = reader_of(first.region);
  const RegistryView view(region);
  std::atomic<bool> over = false;
  std::atomic<std::uint64_t> looked = 0;
  std::atomic<std::uint64_t> wrong = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!over) {
        const auto entry = view.read(stable);
        if (view.lookup("stable/resource") != stable || !entry || entry->size_bytes != 4711) {
          ++wrong;
        }
        ++looked;
      }
    });
  }
  World world = next_epoch(first);
  for (int i = 0; i < kMoves; ++i) {
    ASSERT_TRUE(region.follow(file_of(world.region)));
    const Handle now = world.add("only/in/" + std::to_string(i));
    EXPECT_EQ(view.lookup("only/in/" + std::to_string(i)), now);
    world.remove(now);
    world = next_epoch(world);
  }
  const std::uint64_t until = looked + 100;
  while (looked < until) std::this_thread::yield();
  over = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u);
}

TEST(Follow, OnlyALaterRegistryOfTheDomainIsFollowed) {
  World world;
  world.add("a");
  RegistryRegion region = reader_of(world.region);
  const auto refused = [&](UniqueFd fd) {
    return failed_with(region.follow(std::move(fd)), ErrorCode::InvalidArgument);
  };
  EXPECT_TRUE(refused(file_of(world.region))) << "the same epoch";
  const auto other =
      RegistryRegion::create(small_capacities(), {.domain_id = 99, .epoch = 2}).value();
  EXPECT_TRUE(refused(file_of(other)));
  Capacities larger = small_capacities();
  larger.slots *= 2;
  const auto longer =
      RegistryRegion::create(larger, {.domain_id = world.region.header().domain_id, .epoch = 2})
          .value();
  EXPECT_TRUE(refused(file_of(longer)));
  // What is refused changes nothing.
  EXPECT_FALSE(RegistryView(region).lookup("a").is_null());
}

}  // namespace
}  // namespace resmgr::registry::test
