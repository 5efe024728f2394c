// SPDX-License-Identifier: Apache-2.0
//
// A client that is killed after each store of a lock operation: who is there, and what must be true
// once it is recovered.
//
// What it is: Scene, a domain with a victim and peers that live; Inspection, which recovers and
// looks; LockKill, a test for each Operation. The operation runs in a child process, step by step;
// after each step that changed the region, the child counts as dead: recovery runs over what it
// left, everything is looked at, the region is put back as it was, and the child goes on. What a
// kill leaves is what it stored, so this is a kill at every instruction. What it is not: a list of
// operations; each test has its own. Lifetime: of one test. Thread-safety: one thread.
//
//   const Operation kOperations[] = {{"release", prepare, act, 3}};
//   TEST_P(MyKill, LeavesNothingBehind) { kill_after_each_store(); }
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::lock::test {

/// Which client the victim is one of.
inline constexpr std::uint32_t kVictim = 7;

/// A domain with a victim, and peers that live: they have no threads, but holds and waits.
class Scene {
 public:
  Scene() {
    victim_ = domain.contexts.open(kVictim, 0, 0, this_thread()).value();
    peer_ = &domain.open(0, this_thread());
    other_ = &domain.open(0, this_thread());
    store(domain.tables().region->next_ticket, 100);  // the victim is the youngest
  }

  [[nodiscard]] Context& victim() const { return *victim_; }
  [[nodiscard]] Context& peer() const { return *peer_; }
  [[nodiscard]] Context& other() const { return *other_; }

  void hold(Context& who, Handle handle, HoldKind kind = HoldKind::Exclusive) {
    ASSERT_TRUE(domain.engine.acquire(who, handle, trying(kind)));
  }
  /// `who` asks for the resource and sleeps.
  rm_node& wait(Context& who, Handle handle, std::uint8_t mode, std::uint64_t ticket) {
    rm_node& node = queue_up(domain.tables(), who, handle, mode, ticket);
    waits_.push_back(&node);
    return node;
  }
  [[nodiscard]] const std::vector<rm_node*>& waits() const { return waits_; }
  /// The victim asks for the resource, and a ring waits: on the node's futex, or on the doorbell of
  /// the victim's process.
  void begin(Wait& wait, Handle handle, HoldKind kind = HoldKind::Exclusive,
             std::uint32_t wake_target = 0) {
    wait.wake_target = wake_target;
    Grant grant;
    const auto at_once = domain.engine.begin(victim(), handle, blocking(kind), wait, grant);
    ASSERT_TRUE(at_once && !*at_once);
    (void)domain.engine.sleep_on(victim(), wait);
  }
  /// `who` asks for any of the two.
  void begin_any(Context& who, Wait& wait, std::span<Wait, 2> places,
                 HoldKind kind = HoldKind::Exclusive) {
    Grant grant;
    const std::array any{r, s};
    const auto at_once = domain.engine.begin_any(who, any, blocking(kind), wait, places, grant);
    ASSERT_TRUE(at_once && !*at_once);
    (void)domain.engine.sleep_on(who, wait);
  }
  /// A peer does so: he has no thread, but waits.
  void wait_for_any(Context& who, HoldKind kind = HoldKind::Exclusive) {
    begin_any(who, peers_, peers_members_, kind);
    waits_.push_back(peers_.waiter.node);
    for (const Wait& member : peers_members_) waits_.push_back(member.waiter.node);
  }
  void give_up(Wait& wait, unsigned outcome) {
    (void)domain.engine.give_up(wait, outcome);
    finish(wait);
  }
  void finish(Wait& wait) { (void)domain.engine.finish(victim(), wait); }
  [[nodiscard]] std::span<std::byte> region() {
    return {reinterpret_cast<std::byte*>(domain.tables().region),
            domain.region.header().region_bytes};
  }

  Domain domain{tiny_capacities(kVictim)};
  Handle r = domain.arm(1);
  Handle s = domain.arm(2);
  Wait first;   ///< of the victim's, that no thread sleeps for
  Wait second;  ///< likewise
  std::array<Wait, 2> members;
  std::shared_ptr<void> asked{};  ///< what an operation of several steps keeps; it goes first

 private:
  Context* victim_ = nullptr;
  Context* peer_ = nullptr;
  Context* other_ = nullptr;
  std::vector<rm_node*> waits_;
  Wait peers_;
  std::array<Wait, 2> peers_members_;
};

/// What must be true once the dead are gone.
class Inspection {
 public:
  explicit Inspection(Scene& scene) : scene_(scene), domain_(scene.domain), t_(domain_.tables()) {}

  void everything() {
    Recovery recovery(domain_.engine);
    (void)recovery.mark_dead(kVictim);
    const Recovery::Report report = recovery.run(t_.slot_count);
    EXPECT_EQ(report.pending, 0u) << "nobody else is in the middle of anything";
    victims_ids_are_free();
    // As the authority's successor does, when the hardware is quiet.
    const std::vector<std::uint32_t> shut(recovery.quarantined().begin(),
                                          recovery.quarantined().end());
    for (const std::uint32_t slot : shut) {
      (void)recovery.lift_quarantine(Handle(slot, domain_.engine.word(slot).generation()));
    }
    const std::uint16_t dead = scene_.victim().id;
    const LockInspection inspection(t_, std::span(&dead, 1));
    for (const Handle handle : {scene_.r, scene_.s}) inspection.word_is_settled(handle);
    for (const rm_node* node : scene_.waits()) inspection.wait_is_served_or_blocked(*node);
    inspection.nothing_is_lost(scene_.waits().size());
    // Idempotent: a recoverer that starts again finds nothing.
    const Recovery::Report again = recovery.run(t_.slot_count);
    EXPECT_EQ(again.waits_cancelled + again.latches_taken_over + again.contexts_freed, 0u);
    everything_can_be_had();
  }

 private:
  void victims_ids_are_free() {
    for (std::uint32_t id = 1; id <= t_.context_count; ++id) {
      const std::uint64_t state = load(t_.context(id)->state);
      const std::uint64_t life = state & RM_CONTEXT_STATE_MASK;
      EXPECT_TRUE(life == RM_CONTEXT_FREE ||
                  (life == RM_CONTEXT_LIVE && client_of(state) != kVictim))
          << "context " << id;
    }
  }
  [[nodiscard]] Handle by_now(Handle handle) const {
    return handle.with_tenure(load(domain_.slot(handle).tenure));
  }
  // By a newcomer, after those who live have let go and given up.
  void everything_can_be_had() {
    for (rm_node* node : scene_.waits()) {
      const NodeWord word{load(node->word)};
      if (word.waiting()) store(node->word, word.to(RM_NODE_CANCELLED).bits);
    }
    for (Context* who : {&scene_.peer(), &scene_.other()}) {
      for (const Handle handle : {scene_.r, scene_.s}) {
        const auto kind = domain_.engine.held_kind(*who, handle);
        if (kind) {
          EXPECT_TRUE(domain_.engine.release(*who, by_now(handle), *kind));
        }
      }
    }
    Context& newcomer = domain_.open(0, this_thread());
    for (const Handle handle : {scene_.r, scene_.s}) {
      EXPECT_TRUE(domain_.engine.acquire(newcomer, handle, timed(10'000'000))) << "it is stuck";
      EXPECT_TRUE(domain_.engine.release(newcomer, by_now(handle), HoldKind::Exclusive));
    }
    domain_.contexts.close(newcomer, false);
  }

  Scene& scene_;
  Domain& domain_;
  const LockTables& t_;
};

struct Operation {
  const char* name;
  std::function<void(Scene&)> prepare;
  std::function<void(Scene&)> act;  ///< by the victim
  std::size_t at_least;             ///< so many stores it has
};

inline std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << operation.name;
}

class LockKill : public ::testing::TestWithParam<Operation> {
 protected:
  void SetUp() override {
    if (const auto why = registry::test::stepping_far_is_impossible()) GTEST_SKIP() << *why;
  }
  /// Kills the victim after each store of its operation, and looks at what that leaves.
  static void kill_after_each_store() {
    Scene scene;
    GetParam().prepare(scene);
    const std::span<std::byte> region = scene.region();
    std::size_t number = 0;
    const std::size_t images = registry::test::for_each_death(
        std::span(&region, 1), [&] { GetParam().act(scene); },
        [&] {
          SCOPED_TRACE("after store " + std::to_string(number++));
          if (HasFailure()) return;  // the first one says it all
          Inspection(scene).everything();
        });
    EXPECT_GE(images, GetParam().at_least);
    std::cout << GetParam().name << ": " << images << " images\n";
  }
};

}  // namespace resmgr::lock::test
