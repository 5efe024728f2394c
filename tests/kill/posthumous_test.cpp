// SPDX-License-Identifier: Apache-2.0
//
// A grant to one who is dead, or taken for dead, and how it is told from a hold: the next holder is
// warned of what the dead one may have been in the middle of, and of nothing else.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "resmgr/lock/recovery.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::lock::test {
namespace {

using registry::test::for_each_death;
using registry::test::step_from_here;
using registry::test::stepping_is_impossible;
using registry::test::stop_after;

constexpr std::uint32_t kDead = 3;

/// One who lives and holds, one who waits and dies, and one who comes after them.
struct Scene {
  explicit Scene(std::uint8_t attributes = 0) : r(domain.arm(1, 0, attributes)) {
    living = &domain.open(0, this_thread());
    next = &domain.open(0, this_thread());
    doomed = domain.contexts.open(kDead, 0, 0, this_thread()).value();
    EXPECT_TRUE(domain.engine.acquire(*living, r, trying()));
  }
  /// The doomed waits, and is granted what the living releases; whether he takes it or not.
  void grant(std::uint8_t mode = RM_WAIT_EXCLUSIVE) {
    node = &queue_up(domain.tables(), *doomed, r, mode, 1);
    ASSERT_TRUE(domain.engine.release(*living, r, HoldKind::Exclusive));
    ASSERT_EQ(NodeWord{load(node->word)}.state(), unsigned{RM_NODE_GRANTED});
  }
  void recover() {
    (void)recovery.mark_dead(kDead);
    report = recovery.run(domain.tables().slot_count);
  }
  /// What the next one is told.
  [[nodiscard]] std::optional<bool> next_is_warned() {
    const auto grant = domain.engine.acquire(*next, r, trying());
    return grant ? std::optional(grant->inconsistent) : std::nullopt;
  }
  [[nodiscard]] bool quarantined() const { return domain.word(r).has(RM_WORD_QUARANTINED); }
  [[nodiscard]] std::span<std::byte> memory() const {
    return {reinterpret_cast<std::byte*>(domain.tables().region),
            domain.region.header().region_bytes};
  }

  Domain domain{tiny_capacities(kDead)};
  Handle r;
  Context* living = nullptr;
  Context* next = nullptr;
  Context* doomed = nullptr;
  rm_node* node = nullptr;
  Recovery recovery{domain.engine};
  Recovery::Report report;
};

TEST(Posthumous, AGrantThatNobodyTookWarnsNobody) {
  Scene scene;
  scene.grant();
  ASSERT_EQ(scene.domain.word(scene.r).owner(), scene.doomed->id);
  scene.recover();
  EXPECT_EQ(scene.report.pending, 0u);
  EXPECT_EQ(scene.next_is_warned(), false);
}

TEST(Posthumous, HardwareThatNobodyTouchedIsQuiet) {
  for (const std::uint8_t mode : {RM_WAIT_EXCLUSIVE, RM_WAIT_SHARED}) {
    Scene scene(RM_SLOT_ATTR_QUIESCE);
    scene.grant(mode);
    scene.recover();
    EXPECT_EQ(scene.report.pending, 0u);
    EXPECT_FALSE(scene.quarantined()) << "mode " << unsigned{mode};
    EXPECT_EQ(scene.next_is_warned(), false) << "mode " << unsigned{mode};
  }
}

TEST(Posthumous, WhatAnotherLeftInDoubtStaysSo) {
  Scene scene;
  store(scene.domain.slot(scene.r).word,
        scene.domain.word(scene.r).with(RM_WORD_INCONSISTENT).bits);
  scene.grant();
  scene.recover();
  EXPECT_EQ(scene.next_is_warned(), true);
}

// Who waits to write was reading.
TEST(Posthumous, AnUpgradeThatNobodyTookWasAHoldBefore) {
  Scene scene(RM_SLOT_ATTR_QUIESCE);
  ASSERT_TRUE(scene.domain.engine.downgrade(*scene.living, scene.r));
  ASSERT_TRUE(scene.domain.engine.acquire(*scene.doomed, scene.r, trying(HoldKind::Shared)));
  scene.node = &queue_up(scene.domain.tables(), *scene.doomed, scene.r, RM_WAIT_UPGRADE, 1);
  ASSERT_TRUE(scene.domain.engine.release(*scene.living, scene.r, HoldKind::Shared));
  ASSERT_EQ(NodeWord{load(scene.node->word)}.state(), unsigned{RM_NODE_GRANTED});
  scene.recover();
  EXPECT_TRUE(scene.quarantined());
}

// A list of holds that says otherwise, whatever the node says.
TEST(Posthumous, WhoseHoldsNameItHadIt) {
  Scene scene;
  scene.grant();
  (void)HoldList(*scene.doomed).add(scene.r, 0, false, {});
  scene.recover();
  EXPECT_EQ(scene.next_is_warned(), true);
}

TEST(Posthumous, HoldsThatAreNotListedMayBeThisOne) {
  Scene scene;
  scene.grant();
  store(scene.doomed->record->overflow_holds, 1u);
  scene.recover();
  EXPECT_EQ(scene.next_is_warned(), true);
}

// A list that leads in a circle is as good as none.
TEST(Posthumous, WaitsWithoutEndAreInDoubt) {
  Scene scene;
  scene.grant();
  store(scene.node->slot, 2u);
  store(scene.node->context_next_link, scene.domain.tables().link_of(scene.node));
  scene.recover();
  EXPECT_EQ(scene.next_is_warned(), true);
}

// It is he who ends the hold, when he goes on.
TEST(Posthumous, ALivingLatchHolderCanTellAsWell) {
  Scene scene;
  scene.grant();
  rm_slot& slot = scene.domain.slot(scene.r);
  store(slot.word, scene.domain.word(scene.r).with_latch(scene.living->id).bits);
  scene.recover();
  EXPECT_EQ(scene.report.pending, 1u);
  ASSERT_EQ(scene.domain.word(scene.r).owner(), scene.doomed->id);
  store(slot.word, scene.domain.word(scene.r).with_latch(0).bits);
  scene.recover();
  EXPECT_EQ(scene.report.pending, 0u);
  EXPECT_EQ(scene.next_is_warned(), false);
}

/// The doomed acquires, and queues; the living lets go just before that, so that the doomed grants
/// it to himself. Calls `released` in between.
int acquire_by_way_of_the_queue(Scene& scene, HoldKind kind, void (*released)() = [] {}) {
  scene.domain.names.on_queue = [&scene, released] {
    (void)scene.domain.engine.release(*scene.living, scene.r, HoldKind::Exclusive);
    released();
  };
  Request request = timed(kLongNs, kind);
  request.priority = {};  // asked for when it queues
  return scene.domain.engine.acquire(*scene.doomed, scene.r, request) ? 1 : 0;
}

// Two readers, of whom one dies, and the other asks for more at the moment that it is barred: the
// dead one's hold ends then, but what he did with the hardware may not have.
TEST(Posthumous, AReaderGetsNoMoreBehindAGateThatClosesMeanwhile) {
  if (const auto why = stepping_is_impossible()) GTEST_SKIP() << *why;
  int closed_meanwhile = 0;
  constexpr std::size_t kStride = kSanitized ? 997 : 5;
  for (std::size_t instructions = 0;; instructions += kStride) {
    Scene scene(RM_SLOT_ATTR_QUIESCE);
    ASSERT_TRUE(scene.domain.engine.downgrade(*scene.living, scene.r));
    ASSERT_TRUE(scene.domain.engine.acquire(*scene.doomed, scene.r, trying(HoldKind::Shared)));
    const auto upgraded = stop_after(
        instructions,
        [&] {
          step_from_here();
          return scene.domain.engine.upgrade(*scene.living, scene.r, trying()) ? 1 : 0;
        },
        [&] {
          closed_meanwhile += scene.domain.word(scene.r).latch() == scene.living->id ? 1 : 0;
          scene.recovery.bar(scene.r);
          scene.recover();
        });
    if (!upgraded) break;
    ASSERT_EQ(*upgraded, 0) << "after " << instructions << " instructions";
  }
  EXPECT_TRUE(kSanitized || closed_meanwhile > 0);
}

class PosthumousSteps : public ::testing::TestWithParam<HoldKind> {
 protected:
  void SetUp() override {
    if (const auto why = stepping_is_impossible()) GTEST_SKIP() << *why;
  }
};

// Killed after each store: the first moments of the grant warn nobody, the last do, and there is
// one moment between them.
TEST_P(PosthumousSteps, TheGrantIsAHoldFromOneMomentOn) {
  Scene scene(RM_SLOT_ATTR_QUIESCE);
  const std::span<std::byte> memory = scene.memory();
  std::vector<bool> warned;
  const std::size_t images = for_each_death(
      std::span(&memory, 1), [&] { (void)acquire_by_way_of_the_queue(scene, GetParam()); },
      [&] {
        const StateWord word = scene.domain.word(scene.r);
        const rm_node& node = scene.domain.tables().nodes[0];
        const unsigned state = NodeWord{load(node.word)}.state();
        if (word.owner() == scene.living->id || state == RM_NODE_WAITING) return;
        scene.recover();
        EXPECT_EQ(scene.report.pending, 0u);
        warned.push_back(scene.quarantined());
      });
  ASSERT_GT(images, 20u);
  ASSERT_GE(warned.size(), 2u);
  EXPECT_FALSE(warned.front()) << "when he was told";
  EXPECT_TRUE(warned.back()) << "when he had it";
  EXPECT_TRUE(std::ranges::is_sorted(warned));
}

// He lives, and goes on: either he has it, and the next one is warned, or he does not get it.
TEST_P(PosthumousSteps, WhoIsTakenForDeadTakesNothingBehindOurBacks) {
  int taken = 0;
  int refused = 0;
  constexpr std::size_t kStride = kSanitized ? 2503 : 89;
  for (std::size_t instructions = 0;; instructions += kStride) {
    Scene scene(RM_SLOT_ATTR_QUIESCE);
    bool granted = false;
    bool quiet = false;
    const auto had_it = stop_after(
        instructions,
        [&] { return acquire_by_way_of_the_queue(scene, GetParam(), step_from_here); },
        [&] {
          const unsigned state = NodeWord{load(scene.domain.tables().nodes[0].word)}.state();
          const bool waits = scene.domain.word(scene.r).owner() == scene.living->id;
          granted = !waits && state == RM_NODE_GRANTED;
          if (!granted) return;
          scene.recover();
          quiet = !scene.quarantined();
        });
    if (!had_it) break;
    if (!granted) continue;
    ASSERT_TRUE(*had_it == 0 || !quiet) << "after " << instructions << " instructions";
    ++(*had_it != 0 ? taken : refused);
  }
  EXPECT_GT(refused, 0);
  std::cout << taken << " had it, " << refused << " did not get it\n";
}

INSTANTIATE_TEST_SUITE_P(Kinds, PosthumousSteps,
                         ::testing::Values(HoldKind::Exclusive, HoldKind::Shared),
                         [](const auto& kind) {
                           return kind.param == HoldKind::Shared ? "Shared" : "Exclusive";
                         });

}  // namespace
}  // namespace resmgr::lock::test
