// SPDX-License-Identifier: Apache-2.0
//
// Pools of a served domain: blocks that go from one process to another, and come back from the
// dead.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <hal/pool_manager.hpp>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::uint32_t kBlocks = 100;  ///< their numbers are bytes that children say
constexpr Rights kUse = Rights::Read | Rights::Write;

PoolOptions options(DriverId driver) {
  return {.block_bytes = kBlockBytes,
          .max_blocks = kBlocks,
          .initial_blocks = kBlocks,
          .driver = driver};
}

Result<Pool> attach(ResourceManager& manager) {
  const auto user = manager.register_driver("user");
  if (!user) return std::unexpected(user.error());
  return Pool::attach(manager, "p", {.driver = *user});
}

std::vector<void*> drain(Pool& pool) {
  std::vector<void*> blocks;
  while (void* const block = pool.try_allocate()) blocks.push_back(block);
  return blocks;
}

void kill_and_wait(Child& child) {
  child.signal(SIGKILL);
  EXPECT_EQ(child.wait(), -SIGKILL);
}

class ServedPool : public ::testing::Test {
 protected:
  void SetUp() override {
    manager = daemon.connect();
    ASSERT_NE(manager, nullptr);
    maker = manager->register_driver("maker").value();
    user = manager->register_driver("user").value();
  }
  Pool make(Rights rights = kUse) { return make(options(maker), rights); }
  Pool make(const PoolOptions& wanted, Rights rights = kUse) {
    auto made = manager->pool_manager().create_pool("p", wanted);
    EXPECT_TRUE(made) << made.error().message();
    if (!made) return {};
    EXPECT_TRUE(manager->share_resource(made->handle(), maker, user, rights));
    return std::move(*made);
  }
  /// A process that allocates so many blocks, says a letter, and waits.
  [[nodiscard]] std::unique_ptr<Child> holder(std::uint32_t blocks) {
    auto child = std::make_unique<Child>([this, blocks](Child::Talk& talk) {
      auto theirs = daemon.connect();
      auto pool = attach(*theirs);
      if (!pool) return 1;
      for (std::uint32_t i = 0; i < blocks; ++i) {
        if (!pool->try_allocate()) return 2;
      }
      talk.say('h');
      return static_cast<int>(talk.hear());
    });
    EXPECT_EQ(child->hear(), 'h');
    return child;
  }
  /// All blocks can be had, once each, by one process.
  static void expect_whole(Pool& pool) {
    const auto blocks = drain(pool);
    EXPECT_EQ(blocks.size(), kBlocks);
    EXPECT_EQ(std::set<void*>(blocks.begin(), blocks.end()).size(), blocks.size());
    for (void* const block : blocks) EXPECT_TRUE(pool.free(block));
  }

  Daemon daemon;
  std::unique_ptr<ResourceManager> manager;
  DriverId maker;
  DriverId user;
};

TEST_F(ServedPool, ABlockIsFreedByAnotherProcess) {
  Pool pool = make();
  Child reader([this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto attached = attach(*theirs);
    if (!attached) return 1;
    talk.say('a');
    const auto number = static_cast<std::uint32_t>(talk.hear());
    auto block = attached->block(number);
    if (!block || std::strcmp(static_cast<const char*>(*block), "a frame") != 0) return 2;
    if (attached->number_of(*block).value() != number) return 3;
    if (!attached->free(*block)) return 4;
    if (attached->free(*block)) return 5;
    attached->flush();
    return 0;
  });
  ASSERT_EQ(reader.hear(), 'a');
  void* const frame = pool.allocate().value();
  std::strcpy(static_cast<char*>(frame), "a frame");
  EXPECT_EQ(pool.stats().used, 1u);
  reader.say(static_cast<char>(pool.number_of(frame).value()));
  EXPECT_EQ(reader.wait(), 0);
  EXPECT_EQ(pool.stats().used, 0u);
  EXPECT_EQ(pool.free(frame).error(), ErrorCode::InvalidArgument);
  pool.flush();
  expect_whole(pool);
}

TEST_F(ServedPool, IsAttachedByRightsAlone) {
  Pool pool = make(Rights::Read | Rights::Acquire);
  ASSERT_TRUE(manager->register_resource("memory", {.type = ResourceType::Memory}));
  Child stranger([this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    const DriverId self = theirs->register_driver("user").value();
    const DriverId other = theirs->register_driver("other").value();
    const auto code = [&](const char* name, DriverId driver) {
      const auto refused = Pool::attach(*theirs, name, {.driver = driver});
      return refused ? ErrorCode{} : refused.error().code();
    };
    if (code("p", self) != ErrorCode::NotPermitted) return 1;
    if (code("p", other) != ErrorCode::NotPermitted) return 2;
    if (code("p", {}) != ErrorCode::NotPermitted) return 3;
    if (code("q", self) != ErrorCode::NotFound) return 4;
    if (code("memory", self) != ErrorCode::InvalidArgument) return 5;
    if (theirs->pool_manager().get_pool_stats("p", self)) return 6;
    talk.say('n');
    return talk.hear() == 'g' && code("p", self) == ErrorCode{} ? 0 : 7;
  });
  ASSERT_EQ(stranger.hear(), 'n');
  ASSERT_TRUE(manager->share_resource(pool.handle(), maker, user, kUse));
  stranger.say('g');
  EXPECT_EQ(stranger.wait(), 0);
}

TEST_F(ServedPool, BlocksOfTheDeadComeBack) {
  Pool pool = make();
  const auto dying = holder(kBlocks - 2);
  void* const mine = pool.allocate().value();
  kill_and_wait(*dying);
  EXPECT_TRUE(eventually([&] { return pool.stats().recovered >= kBlocks - 2; }));
  EXPECT_EQ(pool.stats().used, 1u);
  EXPECT_TRUE(pool.free(mine));
  expect_whole(pool);
}

TEST_F(ServedPool, WhatWasAdoptedStays) {
  Pool pool = make();
  Child giver([this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto attached = attach(*theirs);
    if (!attached) return 1;
    for (int i = 0; i < 3; ++i) {
      talk.say(static_cast<char>(attached->number_of(attached->allocate().value()).value()));
    }
    return static_cast<int>(talk.hear());
  });
  void* const kept = pool.block(static_cast<std::uint32_t>(giver.hear())).value();
  void* const lost = pool.block(static_cast<std::uint32_t>(giver.hear())).value();
  (void)giver.hear();
  EXPECT_TRUE(pool.adopt(kept));
  kill_and_wait(giver);
  EXPECT_TRUE(eventually([&] { return pool.stats().used == 1; }));
  EXPECT_EQ(pool.free(lost).error(), ErrorCode::InvalidArgument);
  EXPECT_TRUE(pool.free(kept));
  expect_whole(pool);
}

TEST_F(ServedPool, WhoNeedsBlocksHasItGrowAndPays) {
  PoolOptions wanted = options(maker);
  wanted.initial_blocks = 0;
  Pool pool = make(wanted);
  EXPECT_EQ(pool.stats().limit, 0u);
  ASSERT_TRUE(manager->set_budget(ResourceType::Memory, {.max = 60 * kBlockBytes}, user));
  Child grower([this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto attached = attach(*theirs);
    if (!attached) return 1;
    if (drain(*attached).size() != 60) return 2;
    if (attached->allocate().error() != ErrorCode::BudgetExceeded) return 3;
    if (attached->shrink(0) != 0) return 4;
    talk.say('g');
    return static_cast<int>(talk.hear());
  });
  ASSERT_EQ(grower.hear(), 'g');
  EXPECT_EQ(pool.stats().limit, 60u);
  EXPECT_EQ(manager->budget(ResourceType::Memory, user)->used, 60 * kBlockBytes);
  kill_and_wait(grower);
  EXPECT_TRUE(eventually([&] {
    return pool.stats().free == 60 && manager->budget(ResourceType::Memory, user)->used == 0;
  }));
  expect_whole(pool);
  EXPECT_EQ(pool.stats().limit, kBlocks);
}

TEST_F(ServedPool, ARestartedMakerHasThePoolOfBefore) {
  const auto make_it = [this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    const DriverId self = theirs->register_driver("maker").value();
    const DriverId others = theirs->register_driver("user").value();
    auto made = Pool::create(*theirs, "p", options(self));
    if (!made) return 1;
    (void)theirs->share_resource(made->handle(), self, others, kUse);
    for (int i = 0; i < 5; ++i) (void)made->allocate();
    talk.say('m');
    (void)talk.hear();
    // What others have here is theirs still; the memory is what they see.
    auto block = made->block(static_cast<std::uint32_t>(talk.hear()));
    if (!block || *static_cast<const char*>(*block) != 'x') return 2;
    if (!made->free(*block)) return 3;
    made->flush();
    return 0;
  };
  auto first = std::make_unique<Child>(make_it);
  ASSERT_EQ(first->hear(), 'm');
  auto pool = attach(*manager);
  ASSERT_TRUE(pool) << pool.error().message();
  void* const mine = pool->allocate().value();
  *static_cast<char*>(mine) = 'x';
  kill_and_wait(*first);
  ASSERT_TRUE(eventually([&] { return pool->stats().used == 1; }));
  EXPECT_EQ(manager->info(pool->handle()).value().state, Lifecycle::Orphaned);
  // Another shape is another pool.
  PoolOptions larger = options(maker);
  larger.block_bytes *= 2;
  EXPECT_EQ(Pool::create(*manager, "p", larger).error(), ErrorCode::AlreadyExists);

  Child second(make_it);
  ASSERT_EQ(second.hear(), 'm');
  EXPECT_NE(manager->info(pool->handle()).value().state, Lifecycle::Orphaned);
  EXPECT_EQ(pool->stats().used, 6u);
  second.say('g');
  second.say(static_cast<char>(pool->number_of(mine).value()));
  EXPECT_EQ(second.wait(), 0);
  EXPECT_TRUE(eventually([&] { return pool->stats().used == 0; }));
  pool->flush();
  expect_whole(*pool);
}

TEST_F(ServedPool, AWorkerThatDiesLosesNothing) {
  Pool pool = make();
  const auto before = holder(30);
  const auto during = holder(30);
  const auto after = holder(30);
  kill_and_wait(*before);
  daemon.kill_worker();
  kill_and_wait(*during);
  EXPECT_TRUE(eventually([&] { return pool.stats().used == 30; }));
  kill_and_wait(*after);
  EXPECT_TRUE(eventually([&] { return pool.stats().used == 0; }));
  // One that attaches to the worker's successor too.
  const auto late = holder(kBlocks - 10);
  kill_and_wait(*late);
  EXPECT_TRUE(eventually([&] { return pool.stats().used == 0; }));
  pool.flush();
  expect_whole(pool);
}

TEST_F(ServedPool, WhoLeavesTheDomainHasNoBlocks) {
  Pool pool = make();
  Child leaver([this](Child::Talk& talk) {
    auto theirs = daemon.connect();
    auto attached = attach(*theirs);
    if (!attached || !attached->try_allocate()) return 1;
    void* const block = attached->try_allocate();
    theirs->close();
    if (attached->try_allocate()) return 2;
    if (attached->allocate().error() != ErrorCode::Disconnected) return 3;
    if (attached->free(block).error() != ErrorCode::Disconnected) return 4;
    if (attached->reserve(1).error() != ErrorCode::Disconnected) return 5;
    talk.say('l');
    return talk.hear() == 'g' ? 0 : 6;
  });
  ASSERT_EQ(leaver.hear(), 'l');
  EXPECT_TRUE(eventually([&] { return pool.stats().used == 0; }));
  expect_whole(pool);
  leaver.say('g');
  EXPECT_EQ(leaver.wait(), 0);
}

TEST_F(ServedPool, WhatIsNoPoolIsNotRegisteredAsOne) {
  const auto code = [&](UniqueFd file) {
    const auto refused = manager->register_resource(
        "p", {.type = ResourceType::Memory, .class_name = "pool"}, {.fd = std::move(file)});
    return refused ? ErrorCode{} : refused.error().code();
  };
  UniqueFd plain(::memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(plain.get(), 1 << 20), 0);
  EXPECT_EQ(code(plain.duplicate().value()), ErrorCode::InvalidArgument) << "not sealed";
  ASSERT_EQ(::fcntl(plain.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_EQ(code(plain.duplicate().value()), ErrorCode::InvalidArgument) << "of zeros";

  Pool pool = make();
  UniqueFd memory = manager->fd(pool.handle(), maker).value();
  std::vector<char> bytes(8192);
  ASSERT_EQ(::pread(memory.get(), bytes.data(), bytes.size(), 0), ssize_t{8192});
  UniqueFd cut(::memfd_create("cut", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::pwrite(cut.get(), bytes.data(), bytes.size(), 0), ssize_t{8192});
  ASSERT_EQ(::fcntl(cut.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_EQ(code(std::move(cut)), ErrorCode::InvalidArgument) << "too short";
  // One that a peer has damaged since is for nobody new.
  ASSERT_EQ(::pwrite(memory.get(), "damage", 6, 0), 6);
  Child late([this](Child::Talk&) {
    auto theirs = daemon.connect();
    const auto refused = attach(*theirs);
    return !refused && refused.error() == ErrorCode::InvalidArgument ? 0 : 1;
  });
  EXPECT_EQ(late.wait(), 0);
  EXPECT_TRUE(pool.allocate()) << "who has it goes on";
}

TEST_F(ServedPool, IsFoundAndListed) {
  Pool pool = make();
  void* const block = pool.allocate().value();
  std::memset(block, 1, kBlockBytes);
  Child looker([this](Child::Talk&) {
    auto theirs = daemon.connect();
    const DriverId self = theirs->register_driver("user").value();
    const PoolManager pools = theirs->pool_manager();
    const auto handle = pools.find_pool("p");
    if (!handle || pools.find_pool("none").error() != ErrorCode::NotFound) return 1;
    const auto all = pools.pools().value();
    if (all.size() != 1 || all[0].name != "p" || all[0].open || all[0].handle != *handle) return 2;
    const auto stats = pools.get_pool_stats(*handle, self);
    if (!stats || stats->capacity != kBlocks || stats->used != 1) return 3;
    auto attached = pools.attach_pool(*handle, {.driver = self});
    if (!attached || !pools.pools().value()[0].open) return 4;
    return 0;
  });
  EXPECT_EQ(looker.wait(), 0);
  const PoolStats stats = manager->pool_manager().get_pool_stats("p").value();
  EXPECT_EQ(stats.used, 1u);
  std::uint64_t bytes = 0;
  for (const std::uint64_t each : stats.node_bytes) bytes += each;
  EXPECT_GE(bytes, kBlockBytes);
}

}  // namespace
}  // namespace hal::test
