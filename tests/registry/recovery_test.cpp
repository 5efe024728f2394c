// SPDX-License-Identifier: Apache-2.0
//
// A writer killed after any of its stores: readers still read what is right, and a new authority
// finds the step either done or not done (I3).
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_key.hpp"
#include "tests/registry/stepper.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

const std::array<PairText, 2> kPairs{{{"format", "XR24"}, {"width", "1920"}}};

class Recovery : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = stepping_is_impossible()) GTEST_SKIP() << *why;
    populate();
  }

  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_TRUE(is_sound(world)) << "the operations themselves";
  }

  // What is there before each operation; the operations touch its chains.
  void populate() {
    owner = world.driver("owner");
    other = world.driver("other");
    for (const char* name : {"a", "b", "c", "d"}) {
      handles.push_back(world.add(name, {.class_name = "class",
                                         .flags = ResourceFlags::Shareable,
                                         .pairs = kPairs,
                                         .owner_driver = owner}));
    }
    ASSERT_TRUE(succeeded(world.writer.dependencies().add(handles[0], handles[1])));
    ASSERT_TRUE(succeeded(world.writer.dependencies().add(handles[0], handles[2])));
    ASSERT_TRUE(succeeded(world.writer.dependencies().add(handles[3], handles[1])));
    ASSERT_TRUE(succeeded(world.writer.shares().share(handles[0], owner, other, Rights::Read)));
    ASSERT_TRUE(succeeded(world.writer.shares().share(handles[1], owner, other, Rights::Read)));
    // A free slot and free records, so that the lists of these are in use.
    world.remove(world.add("gone", {.flags = ResourceFlags::Shareable, .pairs = kPairs}));
  }

  // Steps through `operation`. Before and after recovery every image must say what the region said
  // before the operation, or what it said after; once it says the latter, so do all later images.
  void step_through(const std::function<void()>& operation) {
    const std::string before = describe(world.view);
    std::string after;
    std::vector<std::uint32_t> generations;
    for (std::uint32_t slot = 0; slot < 12; ++slot) {
      generations.push_back(world.view.generation(slot));
    }
    std::vector<std::string> read;
    std::vector<std::string> recovered;
    const std::size_t images =
        for_each_store(world.region.bytes(), operation, [&](std::span<const std::byte> image) {
          World copy(copy_of(image));
          read.push_back(describe(copy.view));
          copy.writer.recover();
          recovered.push_back(describe(copy.view));
          EXPECT_TRUE(is_sound(copy));
          for (std::uint32_t slot = 0; slot < 12; ++slot) {
            EXPECT_GE(copy.view.generation(slot), generations[slot]) << "never goes back";
          }
          // A second recovery has nothing to do.
          EXPECT_EQ(copy.writer.recover().undone, 0u);
          EXPECT_EQ(describe(copy.view), recovered.back());
        });
    ASSERT_GT(images, 1u) << "the operation stored nothing, or could not be run";
    after = describe(world.view);
    expect_one_change("recovered", recovered, before, after);
    EXPECT_EQ(read.front(), before);
    EXPECT_EQ(read.back(), after);
    for (const std::string& text : read) may_be_read.insert(text);
  }

  static void expect_one_change(const char* what, const std::vector<std::string>& seen,
                                const std::string& before, const std::string& after) {
    bool changed = false;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (!changed && seen[i] == before) continue;
      ASSERT_EQ(seen[i], after) << what << " after store " << i << " of " << seen.size();
      changed = true;
    }
    EXPECT_EQ(seen.back(), after) << what;
  }

  World world;
  std::uint32_t owner = 0;
  std::uint32_t other = 0;
  std::vector<Handle> handles;
  std::set<std::string> may_be_read;  // what readers saw without recovery
};

TEST_F(Recovery, OfARegistration) {
  PreparedSlot prepared;
  step_through([&] {
    prepared = world.writer.prepare("new", {.class_name = "new-class", .pairs = kPairs}).value();
    (void)world.writer.publish(prepared);
  });
  EXPECT_EQ(may_be_read.size(), 2u) << "readers see it complete or not at all";
}

TEST_F(Recovery, OfARegistrationInAFreshSlot) {
  world.add("takes-the-free-slot");
  step_through(
      [&] { (void)world.writer.publish(world.writer.prepare("new", {.pairs = kPairs}).value()); });
  EXPECT_EQ(may_be_read.size(), 2u);
}

TEST_F(Recovery, OfTwoThatComeTogether) {
  PreparedSlot needed;
  PreparedSlot needing;
  step_through([&] {
    needed = world.writer.prepare("needed", {.pairs = kPairs}).value();
    needing = world.writer.prepare("needing", {}).value();
    (void)world.writer.publish_with_needed(needing, Lifecycle::Ready, needed, Lifecycle::Allocated);
  });
  const Handle handle = world.view.find("needed").value();
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::Allocated);
  EXPECT_EQ(world.view.needed_by(handle).value(), std::vector{world.view.find("needing").value()});
}

TEST_F(Recovery, OfAPreparation) {
  const std::string before = describe(world.view);
  step_through([&] { (void)world.writer.prepare("new", {.pairs = kPairs}); });
  EXPECT_EQ(may_be_read, std::set{before});
  EXPECT_EQ(world.writer.recover().undone, 1u);
  EXPECT_EQ(describe(world.view), before);
  EXPECT_TRUE(is_sound(world));
}

TEST_F(Recovery, OfAnAbandonment) {
  const PreparedSlot prepared =
      world.writer.prepare("new", {.class_name = "new-class", .pairs = kPairs}).value();
  step_through([&] { (void)world.writer.abandon(prepared); });
}

TEST_F(Recovery, OfTheTwoStepsOfARemoval) {
  step_through([&] { (void)world.writer.begin_unregister(handles[0]); });
  const auto pending = world.writer.recover().pending;
  EXPECT_EQ(pending, std::vector{handles[0]});
  step_through([&] { (void)world.writer.finish_unregister(handles[0]); });
  EXPECT_FALSE(world.view.is_live(handles[0]));
}

TEST_F(Recovery, OfARemovalThatIsGivenUp) {
  ASSERT_TRUE(succeeded(world.writer.begin_unregister(handles[0])));
  step_through([&] { (void)world.writer.cancel_unregister(handles[0]); });
  EXPECT_EQ(may_be_read.size(), 2u);
}

TEST_F(Recovery, OfAShareAndItsEnd) {
  const std::uint32_t third = world.driver("third");
  step_through([&] { (void)world.writer.shares().share(handles[0], owner, third, Rights::Write); });
  step_through([&] { (void)world.writer.shares().unshare(handles[0], owner, other); });
  EXPECT_EQ(may_be_read.size(), 3u);
}

TEST_F(Recovery, OfADependencyAndItsEnd) {
  step_through([&] { (void)world.writer.dependencies().add(handles[3], handles[2]); });
  // From the middle of both chains it is in.
  ASSERT_TRUE(succeeded(world.writer.dependencies().add(handles[0], handles[3])));
  step_through([&] { (void)world.writer.dependencies().remove(handles[0], handles[2]); });
}

TEST_F(Recovery, OfANewDriver) {
  step_through([&] {
    (void)world.writer.drivers().intern("new-driver");
    (void)world.writer.set_lifecycle(handles[0], Lifecycle::Orphaned);
  });
}

TEST_F(Recovery, OfARecovery) {
  ASSERT_TRUE(succeeded(world.writer.prepare("half", {.pairs = kPairs})));
  const std::string before = describe(world.view);
  step_through([&] { (void)world.writer.recover(); });
  EXPECT_EQ(describe(world.view), before);
}

// The index is replaced when it gets full: the reader always has a whole one.
TEST(RecoveryOfTheIndex, OfItsGrowth) {
  if (const auto why = stepping_is_impossible()) GTEST_SKIP() << *why;
  constexpr std::uint32_t kNames = index_is_full_at(kMinIndexEntries);
  Capacities capacities = small_capacities();
  capacities.slots = kMinIndexEntries;
  World world(capacities);
  for (std::uint32_t i = 0; i < kNames; ++i) world.add("r/" + std::to_string(i));
  std::size_t images = 0;
  const std::size_t total = for_each_store(
      world.region.bytes(), [&] { (void)world.writer.prepare("r/" + std::to_string(kNames), {}); },
      [&](std::span<const std::byte> image) {
        ++images;
        World copy(copy_of(image));
        for (std::uint32_t i = 0; i < kNames; ++i) {
          ASSERT_TRUE(succeeded(copy.view.find("r/" + std::to_string(i)))) << images;
        }
        copy.writer.recover();
        ASSERT_TRUE(is_sound(copy));
        ASSERT_EQ(copy.view.size(), kNames);
      });
  EXPECT_GT(total, kNames) << "the index was not rebuilt";
}

// A reader that is stopped anywhere in a look-up, while the cell that it reads gets another name:
// it finds what was there or what is there, never a name made of the two.
TEST(AStoppedReader, FindsNoMixtureOfTwoNames) {
  // Its steps grow with the square of the instructions.
  if (const auto why = stepping_far_is_impossible()) GTEST_SKIP() << *why;
  World world;
  // Three names with the same home, one of them made of the others' halves.
  const NameSecrets& secrets = world.region.tables().secrets;
  const IndexState state = index_state(world);
  const auto home = [&](const std::string& name) {
    return state.home(name_key(name, secrets).hash);
  };
  std::string one;
  std::string other;
  std::string mixture;
  for (int i = 0; one.empty() || home(one) != home(other) || home(one) != home(mixture); ++i) {
    const std::string first = std::to_string(10'000'000 + i);
    const std::string second = std::to_string(50'000'000 + i / 2);
    one = first + "11111111";
    other = second + std::to_string(20'000'000 + i / 3);
    mixture = first + other.substr(8);
  }
  constexpr int kAbsent = 0;
  constexpr int kOne = 1;
  constexpr int kOther = 2;
  // The second time in the other cell of the line.
  for (const bool beside : {false, true}) {
    if (beside) {
      std::string first_there;
      for (int i = 0; first_there.empty() || home(first_there) != home(one); ++i) {
        first_there = "first/there/" + std::to_string(i);
      }
      world.add(first_there);
    }
    Handle handle = world.add(one);
    std::size_t stops = 0;
    const auto read_beside_change = [&](const std::string& name, std::size_t instructions) {
      Handle replaced;
      const auto seen = stop_after(
          instructions,
          [&] {
            step_from_here();
            const Handle found = world.view.lookup(name);
            return found.is_null() ? kAbsent : found == handle ? kOne : kOther;
          },
          [&] {
            world.remove(handle);
            replaced = world.add(other);
          });
      if (!replaced.is_null()) {
        world.remove(replaced);
        handle = world.add(one);
        ++stops;
      }
      return seen;
    };
    for (std::size_t i = 0;; ++i) {
      const auto seen = read_beside_change(mixture, i);
      if (!seen) break;
      ASSERT_EQ(*seen, kAbsent) << "stopped after " << i << " instructions";
      ASSERT_NE(read_beside_change(one, i).value_or(kAbsent), kOther) << i;
      ASSERT_NE(read_beside_change(other, i).value_or(kAbsent), kOne) << i;
    }
    EXPECT_GT(stops, 300u) << "the look-up was not stepped through";
    world.remove(handle);
  }
}

}  // namespace
}  // namespace resmgr::registry::test
