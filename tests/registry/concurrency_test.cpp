// SPDX-License-Identifier: Apache-2.0
//
// Readers beside the writer: what they read is right at every moment, without a lock.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "resmgr/base/hash.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_index.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

constexpr int kStable = 300;
constexpr int kChurning = 700;

std::string stable_name(int i) { return "stable/resource/" + std::to_string(i); }
std::string churning_name(std::uint64_t i) { return "c/" + std::to_string(i); }

// An entry whose every number follows from its name and generation: a mixture of two is noticed.
Description described(const std::string& name, std::uint64_t salt) {
  const std::uint64_t mark = hash_bytes(name, salt);
  return {.class_name = "class",
          .size_bytes = mark >> 8,
          .flags = ResourceFlags::Shareable,
          .owner_driver = 1,
          .cookie = mark,
          .created_at = salt,
          .type_tag = ~mark};
}

bool is_consistent(const EntryCopy& entry) {
  const std::uint64_t mark = hash_bytes(entry.name_text(), entry.created_at);
  return entry.cookie == mark && entry.type_tag == ~mark && entry.size_bytes == mark >> 8;
}

Capacities roomy() {
  Capacities capacities = small_capacities();
  capacities.slots = 2048;
  capacities.pairs = 4096;
  capacities.shares = 4096;
  capacities.dependencies = 4096;
  return capacities;
}

std::vector<bool> live_slots(const World& world) {
  std::vector<bool> live(roomy().slots);
  world.view.for_each([&](const EntryCopy& entry) {
    live[entry.handle.slot()] = true;
    return true;
  });
  return live;
}

// Runs `read` in two threads until `write` is through.
template <typename Read, typename Write>
void run_beside(Read&& read, Write&& write) {
  std::atomic<bool> done{false};
  std::atomic<int> started{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] {
      std::mt19937_64 random(static_cast<std::uint64_t>(i) + 1);
      started.fetch_add(1);
      while (!done.load()) read(random);
    });
  }
  while (started.load() < 2) std::this_thread::yield();
  write();
  done.store(true);
  for (std::thread& reader : readers) reader.join();
}

TEST(Concurrency, StableNamesAreFoundWhileTheIndexIsRebuilt) {
  World world(roomy());
  world.driver("owner");
  std::vector<Handle> stable;
  for (int i = 0; i < kStable; ++i) {
    stable.push_back(world.add(stable_name(i), described(stable_name(i), 1)));
  }
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> found_churning{0};
  const auto read = [&](std::mt19937_64& random) {
    const int i = static_cast<int>(random() % kStable);
    const auto found = world.view.find(stable_name(i));
    if (!found || *found != stable[static_cast<std::size_t>(i)]) lost.fetch_add(1);

    const std::string name = churning_name(random() % kChurning);
    const auto churning = world.view.find(name);
    if (!churning) {
      if (churning.error() != ErrorCode::NotFound) lost.fetch_add(1);
      return;
    }
    found_churning.fetch_add(1);
    const auto entry = world.view.read(*churning);
    if (!entry) {
      // It went away meanwhile, and nothing else may have happened.
      if (entry.error() != ErrorCode::StaleHandle) wrong.fetch_add(1);
      return;
    }
    if (entry->name_text() != name) wrong.fetch_add(1);
    if (!is_consistent(*entry)) torn.fetch_add(1);
  };
  const std::uint64_t first_seed = seed();
  const auto write = [&] {
    std::mt19937_64 random(first_seed);
    std::vector<Handle> churning(kChurning);
    NameIndex index(world.region.tables());
    for (std::uint64_t step = 0; step < 60'000; ++step) {
      const std::size_t i = random() % kChurning;
      if (churning[i].is_null()) {
        churning[i] = world.add(churning_name(i), described(churning_name(i), step));
      } else {
        world.remove(churning[i]);
        churning[i] = Handle();
      }
      // Much more often than removals alone would bring it about.
      if (step % 100 == 0) {
        std::vector<bool> live = live_slots(world);
        index.rebuild(live);
      }
    }
  };
  run_beside(read, write);
  EXPECT_EQ(lost.load(), 0u);
  EXPECT_EQ(torn.load(), 0u);
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_GT(found_churning.load(), 0u);
  EXPECT_GT(index_state(world).rebuilds, 600u);
  EXPECT_TRUE(is_sound(world));
}

// The half that a reader is in is cleared as soon as the other one is complete: a name that is not
// found there proves nothing. Colliding names make the searches long enough for that to happen.
TEST(Concurrency, AnIndexThatIsReplacedAllTheTimeLosesNoName) {
  World world(roomy());
  const std::vector<std::string> names =
      colliding_names(world, index_entries_for(roomy().slots), 6, 120);
  for (const std::string& name : names) world.add(name);
  std::vector<bool> live = live_slots(world);
  NameIndex index(world.region.tables());
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> found{0};
  const auto read = [&](std::mt19937_64& random) {
    const auto handle = world.view.find(names[random() % names.size()]);
    if (handle) {
      found.fetch_add(1);
    } else if (handle.error() != ErrorCode::WouldBlock) {
      lost.fetch_add(1);
    }
  };
  run_beside(read, [&] {
    for (int i = 0; i < 20'000; ++i) index.rebuild(live);
  });
  EXPECT_EQ(lost.load(), 0u);
  EXPECT_GT(found.load(), 0u);
}

TEST(Concurrency, ChainsAreReadWhole) {
  World world(roomy());
  const std::uint32_t owner = world.driver("owner");
  for (int i = 0; i < 6; ++i) world.driver("driver-" + std::to_string(i));
  const Handle hub = world.add("hub", {.flags = ResourceFlags::Shareable, .owner_driver = owner});
  std::vector<Handle> users;
  for (int i = 0; i < 20; ++i) users.push_back(world.add("user/" + std::to_string(i)));
  // Always there, in the middle of chains that change around them.
  ASSERT_TRUE(succeeded(world.writer.dependencies().add(users[0], hub)));
  ASSERT_TRUE(succeeded(world.writer.shares().share(hub, owner, 2, Rights::Read)));

  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> whole{0};
  const auto check = [&](const auto& result, auto&& is_right) {
    if (!result) {
      if (result.error() != ErrorCode::WouldBlock) wrong.fetch_add(1);
    } else if (is_right(*result)) {
      whole.fetch_add(1);
    } else {
      wrong.fetch_add(1);
    }
  };
  const auto has_user = [&](const std::vector<Handle>& list) {
    return std::ranges::find(list, users[0]) != list.end();
  };
  const auto read = [&](std::mt19937_64&) {
    check(world.view.needed_by(hub), has_user);
    check(world.view.rights(hub, 2), [](Rights rights) { return has(rights, Rights::Read); });
    check(world.view.needs(users[0]), [&](const auto& list) { return list == std::vector{hub}; });
    check(world.view.teardown_order(users[1]),
          [&](const auto& list) { return !list.empty() && list.front() == users[1]; });
  };
  const std::uint64_t first_seed = seed();
  const auto write = [&] {
    std::mt19937_64 random(first_seed);
    for (int step = 0; step < 40'000; ++step) {
      const Handle user = users[1 + random() % 19];
      if (!world.writer.dependencies().add(user, hub)) {
        EXPECT_TRUE(succeeded(world.writer.dependencies().remove(user, hub)));
      }
      const auto with = static_cast<std::uint32_t>(3 + random() % 4);
      if (!world.writer.shares().unshare(hub, owner, with)) {
        EXPECT_TRUE(succeeded(world.writer.shares().share(hub, owner, with, Rights::Write)));
      }
    }
  };
  run_beside(read, write);
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_GT(whole.load(), 0u);
  EXPECT_TRUE(is_sound(world));
}

TEST(Concurrency, PairsNeverMix) {
  World world(roomy());
  const std::array<PairText, 3> first{{{"k1", "first"}, {"k2", "first"}, {"k3", "first"}}};
  const std::array<PairText, 2> second{{{"k1", "second"}, {"k2", "second"}}};
  std::atomic<std::uint64_t> mixed{0};
  std::atomic<std::uint64_t> whole{0};
  const auto read = [&](std::mt19937_64&) {
    const auto handle = world.view.find("r");
    if (!handle) return;
    const auto pairs = world.view.pairs(*handle);
    if (!pairs) {
      if (pairs.error() != ErrorCode::StaleHandle && pairs.error() != ErrorCode::WouldBlock) {
        mixed.fetch_add(1);
      }
      return;
    }
    const bool of_first = pairs->size() == 3;
    for (const PairCopy& pair : *pairs) {
      if (std::string(pair.value.data()) != (of_first ? "first" : "second")) mixed.fetch_add(1);
    }
    whole.fetch_add(1);
  };
  const auto write = [&] {
    for (int step = 0; step < 40'000; ++step) {
      const std::span<const PairText> pairs =
          step % 2 == 0 ? std::span<const PairText>(first) : std::span<const PairText>(second);
      world.remove(world.add("r", {.pairs = pairs}));
    }
  };
  run_beside(read, write);
  EXPECT_EQ(mixed.load(), 0u);
  EXPECT_TRUE(is_sound(world));
}

}  // namespace
}  // namespace resmgr::registry::test
