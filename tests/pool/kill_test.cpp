// SPDX-License-Identifier: Apache-2.0
//
// A process that is killed, or stopped, between any two instructions of what it does with a pool:
// all that it had comes back, and nothing that others have (I3).
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "resmgr/pool/pool_forks.hpp"
#include "resmgr/pool/pool_recovery.hpp"
#include "tests/pool/support.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::pool::test {
namespace {

constexpr Owner kDead = 4;
constexpr std::uint32_t kBlocks = 70;

/// By the victim, whose process says nothing else.
void must(bool so) {
  if (!so) ::_exit(3);
}

/// A pool with a maker, a peer who is the victim, a third, and one who is dead.
struct Scene {
  explicit Scene(std::uint32_t limit) {
    PoolSettings wanted = settings(kBlocks);
    wanted.initial_blocks = limit;
    wanted.thread_safe = false;
    maker = BlockPool::create(std::move(wanted)).value();
    victim = attach(*maker, kPeer, false);
    third = attach(*maker, kThird, false);
    dead = attach(*maker, kDead, false);
    // Those who are stepped through are children of fork(), and have these all the same.
    for (const PoolPtr& each : {maker, victim, third, dead}) PoolForks::remove(*each);
  }
  ~Scene() {
    for (const PoolPtr& each : {victim, dead}) {  // nobody empties their magazines
      each->before_fork();
      each->after_fork_in_child();
    }
  }
  /// The victim's name of a block that `owner` has.
  void* hand(const BlockPool& from, void* block) { return same_block(from, *victim, block); }
  [[nodiscard]] std::span<std::byte> memory() const {
    // The blocks themselves are nobody's concern here.
    return maker->region().bytes().first(maker->region().geometry().blocks_offset);
  }

  PoolPtr maker, victim, third, dead;
  std::vector<void*> blocks;  ///< that `act` works on
};

struct Operation {
  const char* name;
  std::uint32_t limit;
  void (*prepare)(Scene&);
  void (*act)(Scene&);
  std::size_t least;  ///< images of the memory
};

void nothing(Scene&) {}

void victim_has(Scene& s, int count) {
  for (int i = 0; i < count; ++i) s.blocks.push_back(s.victim->try_allocate());
}
void maker_hands_over(Scene& s, int count) {
  for (int i = 0; i < count; ++i) s.blocks.push_back(s.hand(*s.maker, s.maker->try_allocate()));
}
void dead_has(Scene& s, int count) {
  for (int i = 0; i < count; ++i) (void)s.dead->try_allocate();
}
void free_them(Scene& s) {
  for (void* const block : s.blocks) must(s.victim->try_free(block) == ErrorCode{});
  s.victim->flush();
}

const Operation kOperations[] = {
    {"allocate", kBlocks, nothing, [](Scene& s) { must(s.victim->try_allocate() != nullptr); }, 15},
    {"allocate_across_groups", kBlocks,
     [](Scene& s) {
       for (int i = 0; i < 20; ++i) (void)s.maker->try_allocate();
       s.maker->flush();
     },
     [](Scene& s) {
       for (int i = 0; i < 20; ++i) must(s.victim->try_allocate() != nullptr);
     },
     30},
    {"free_its_own", kBlocks, [](Scene& s) { victim_has(s, 20); }, free_them, 20},
    {"free_what_others_allocated", kBlocks,
     [](Scene& s) {
       maker_hands_over(s, 20);
       s.maker->flush();
     },
     free_them, 2},
    {"grow", 3, [](Scene& s) { victim_has(s, 3); },
     [](Scene& s) { must(s.victim->try_allocate() != nullptr); }, 5},
    {"shrink", kBlocks,
     [](Scene& s) {
       (void)s.maker->try_allocate();
       s.maker->flush();
     },
     [](Scene& s) { must(s.victim->shrink(0) != 0); }, 4},
    {"recover_another", kBlocks, [](Scene& s) { dead_has(s, 40); },
     [](Scene& s) { must(s.victim->recover(kDead) != 0); }, 4},
};

/// All that the depot has, each once, for the third.
std::set<std::uint32_t> take_all(const Scene& s) {
  std::array<TakenBlock, kBlocks> got;
  std::set<std::uint32_t> numbers;
  std::uint32_t cursor = 0;
  while (const std::uint32_t count = s.third->depot().take(kThird, got, cursor)) {
    for (const TakenBlock& taken : std::span(got).first(count)) {
      EXPECT_TRUE(numbers.insert(s.third->number_of(taken.block)).second);
    }
  }
  return numbers;
}

/// Who takes back what the victim had.
using Recover = void (*)(Scene&);

void by_a_peer(Scene& s) { (void)s.maker->recover(kPeer); }

// As resmgrd does, which is killed in the middle, once, and begins anew.
void by_the_daemon(Scene& s) {
  const auto begin = [&] {
    UniqueFd fd(::fcntl(s.maker->region().fd(), F_DUPFD_CLOEXEC, 0));
    return PoolRecovery::begin(std::move(fd), kPeer).value();
  };
  {
    auto stopped = begin();
    (void)stopped.step(1);
  }
  auto recovery = begin();
  while (!recovery.step(1)) {
  }
}

// What is true when the victim is dead, and has been recovered.
void check(Scene& s, const std::map<std::uint32_t, std::uint16_t>& others,
           Recover recover = by_a_peer) {
  recover(s);
  EXPECT_EQ(s.maker->recover(kPeer), 0u);
  (void)s.maker->recover(kDead);
  const PoolTables& tables = s.maker->region().tables();
  const Census census = s.maker->depot().count();
  EXPECT_EQ(census.claimed_groups, 0u);
  const std::set<void*> handed_over(s.blocks.begin(), s.blocks.end());
  std::uint32_t out = 0;
  for (std::uint32_t number = 0; number < kBlocks; ++number) {
    const bool taken = (taken_in(tables.words[number / 32]) >> number % 32 & 1) != 0;
    out += taken;
    const auto other = others.find(number);
    if (other == others.end()) {
      EXPECT_FALSE(taken) << "nobody has " << number;
    } else if (!handed_over.contains(s.victim->region().tables().block(number))) {
      EXPECT_TRUE(taken) << number << " was taken from who had it";
      EXPECT_EQ(tables.tags[number], other->second);
    }
  }
  EXPECT_EQ(census.in_depot + out, census.limit);
  // All of them can be had, once each.
  const auto seen = take_all(s);
  EXPECT_EQ(seen.size(), census.in_depot);
}

/// Who else has which block.
std::map<std::uint32_t, std::uint16_t> others(const Scene& s) {
  std::map<std::uint32_t, std::uint16_t> had;
  const PoolTables& tables = s.maker->region().tables();
  for (std::uint32_t number = 0; number < kBlocks; ++number) {
    const Owner owner = owner_in(tables.tags[number]);
    if ((taken_in(tables.words[number / 32]) >> number % 32 & 1) != 0 && owner != kPeer &&
        owner != kDead) {
      had.emplace(number, tables.tags[number]);
    }
  }
  return had;
}

class PoolKill : public testing::TestWithParam<Operation> {
 protected:
  static void leaves_nothing_behind(Recover recover);
};

void PoolKill::leaves_nothing_behind(Recover recover) {
  const Operation& operation = GetParam();
  Scene scene(operation.limit);
  operation.prepare(scene);
  const auto had = others(scene);
  const std::span<std::byte> memories[] = {scene.memory()};
  const std::size_t images = registry::test::for_each_death(
      memories, [&] { operation.act(scene); },
      [&] {
        if (!HasFailure()) check(scene, had, recover);
      });
  EXPECT_GE(images, operation.least);
}

TEST_P(PoolKill, LeavesNothingBehind) {
  if (const auto why = registry::test::stepping_far_is_impossible()) GTEST_SKIP() << *why;
  leaves_nothing_behind(by_a_peer);
}

TEST_P(PoolKill, LeavesNothingBehindForTheDaemon) {
  if (const auto why = registry::test::stepping_far_is_impossible()) GTEST_SKIP() << *why;
  leaves_nothing_behind(by_the_daemon);
}

// The victim is stopped, and not dead: others go on meanwhile, and then it does.
TEST_P(PoolKill, DisturbsNobodyWhenItIsSlow) {
  if (const auto why = registry::test::stepping_far_is_impossible()) GTEST_SKIP() << *why;
  const Operation& operation = GetParam();
  std::vector<std::size_t> moments;
  const auto act = [&](Scene& scene) {
    return [&] {
      registry::test::step_from_here();
      operation.act(scene);
      return 0;
    };
  };
  {
    Scene scene(operation.limit);
    operation.prepare(scene);
    moments = registry::test::moments_of(scene.memory(), act(scene));
    ASSERT_GE(moments.size(), 2u);
  }
  for (const std::size_t moment : moments) {
    Scene scene(operation.limit);
    operation.prepare(scene);
    std::map<std::uint32_t, std::uint16_t> had;
    (void)registry::test::stop_after(moment, act(scene), [&] {
      // What it frees or takes back belongs to the dead, and then to another, who has it all.
      (void)scene.third->recover(kDead);
      (void)scene.third->recover(kMaker);
      (void)scene.third->reserve(std::min(kBlocks, operation.limit + 10));
      for (const std::uint32_t number : take_all(scene)) had.emplace(number, cached_tag(kThird));
    });
    scene.blocks.clear();
    if (!had.empty()) check(scene, had);
    ASSERT_FALSE(HasFailure()) << "stopped after " << moment << " instructions";
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, PoolKill, testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::pool::test
