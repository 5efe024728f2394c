// SPDX-License-Identifier: Apache-2.0
//
// A client killed between any two instructions of a lock operation (I1 to I6). The operation runs
// in a child process, step by step; after each step that changed the region, the child counts as
// dead: recovery runs over what it left, everything is looked at, the region is put back as it was,
// and the child goes on. What a kill leaves is what it stored, so this is a kill at every
// instruction.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "resmgr/lock/recovery.hpp"
#include "resmgr/lock/wait.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/registry/stepper.hpp"

namespace resmgr::lock::test {
namespace {

using registry::test::for_each_death;
using registry::test::stepping_is_impossible;

constexpr std::uint32_t kVictim = 7;

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
          EXPECT_TRUE(domain_.engine.release(*who, handle, *kind));
        }
      }
    }
    Context& newcomer = domain_.open(0, this_thread());
    for (const Handle handle : {scene_.r, scene_.s}) {
      EXPECT_TRUE(domain_.engine.acquire(newcomer, handle, timed(10'000'000))) << "it is stuck";
      EXPECT_TRUE(domain_.engine.release(newcomer, handle, HoldKind::Exclusive));
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

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << operation.name;
}

class LockKill : public ::testing::TestWithParam<Operation> {
 protected:
  void SetUp() override {
    if (const auto why = stepping_is_impossible()) GTEST_SKIP() << *why;
  }
};

TEST_P(LockKill, LeavesNothingBehind) {
  Scene scene;
  GetParam().prepare(scene);
  const std::span<std::byte> region = scene.region();
  std::size_t number = 0;
  const std::size_t images = for_each_death(
      std::span(&region, 1), [&] { GetParam().act(scene); },
      [&] {
        SCOPED_TRACE("after store " + std::to_string(number++));
        if (HasFailure()) return;  // the first one says it all
        Inspection(scene).everything();
      });
  EXPECT_GE(images, GetParam().at_least);
  std::cout << GetParam().name << ": " << images << " images\n";
}

void nothing(Scene&) {}

const Operation kOperations[] = {
    {"acquire", nothing, [](Scene& s) { (void)s.domain.engine.acquire(s.victim(), s.r, trying()); },
     3},
    {"release", [](Scene& s) { s.hold(s.victim(), s.r); },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 3},
    {"share", nothing,
     [](Scene& s) {
       (void)s.domain.engine.acquire(s.victim(), s.r, trying(HoldKind::Shared));
       (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Shared);
     },
     10},
    {"share_beside_a_holder", [](Scene& s) { s.hold(s.peer(), s.r); },
     [](Scene& s) { (void)s.domain.engine.acquire(s.victim(), s.r, trying(HoldKind::Shared)); }, 5},
    {"hand_off_exclusive",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.wait(s.peer(), s.r, RM_WAIT_EXCLUSIVE, 1);
       s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 2);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 10},
    {"hand_off_shared",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.wait(s.peer(), s.r, RM_WAIT_SHARED, 1);
       s.wait(s.other(), s.r, RM_WAIT_SHARED, 2);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 15},
    {"hand_off_mixed",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.wait(s.peer(), s.r, RM_WAIT_SHARED, 1);
       s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 2);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 12},
    {"last_reader_goes",
     [](Scene& s) {
       s.hold(s.victim(), s.r, HoldKind::Shared);
       s.wait(s.peer(), s.r, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Shared); }, 10},
    {"wait_until_the_time_is_up", [](Scene& s) { s.hold(s.peer(), s.r); },
     [](Scene& s) { (void)s.domain.engine.acquire(s.victim(), s.r, timed(2'000'000)); }, 20},
    {"wait_behind_another",
     [](Scene& s) {
       s.hold(s.peer(), s.r);
       s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) { (void)s.domain.engine.acquire(s.victim(), s.r, timed(2'000'000)); }, 20},
    {"wait_for_a_share", [](Scene& s) { s.hold(s.peer(), s.r); },
     [](Scene& s) {
       (void)s.domain.engine.acquire(s.victim(), s.r, timed(2'000'000, HoldKind::Shared));
     },
     20},
    {"wait_in_a_cycle",
     [](Scene& s) {
       s.hold(s.victim(), s.s);
       s.hold(s.peer(), s.r);
       s.wait(s.peer(), s.s, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) { (void)s.domain.engine.acquire(s.victim(), s.r, timed(2'000'000)); }, 20},
    {"downgrade",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.wait(s.peer(), s.r, RM_WAIT_SHARED, 1);
     },
     [](Scene& s) { (void)s.domain.engine.downgrade(s.victim(), s.r); }, 10},
    {"upgrade", [](Scene& s) { s.hold(s.victim(), s.r, HoldKind::Shared); },
     [](Scene& s) { (void)s.domain.engine.upgrade(s.victim(), s.r, trying()); }, 3},
    {"upgrade_waits",
     [](Scene& s) {
       s.hold(s.victim(), s.r, HoldKind::Shared);
       s.hold(s.peer(), s.r, HoldKind::Shared);
     },
     [](Scene& s) { (void)s.domain.engine.upgrade(s.victim(), s.r, timed(2'000'000)); }, 20},
    {"grant_an_upgrade",
     [](Scene& s) {
       s.hold(s.peer(), s.r, HoldKind::Shared);
       s.hold(s.victim(), s.r, HoldKind::Shared);
       s.wait(s.peer(), s.r, RM_WAIT_UPGRADE, 1);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Shared); }, 10},
    {"take_over_an_empty_share",
     [](Scene& s) {
       s.hold(s.peer(), s.r, HoldKind::Shared);
       ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Shared));
     },
     [](Scene& s) { (void)s.domain.engine.acquire(s.victim(), s.r, trying()); }, 4},
    {"thread_begins", nothing,
     [](Scene& s) { (void)s.domain.contexts.open(kVictim, 0, 1, this_thread()); }, 4},
    {"thread_ends", [](Scene& s) { s.hold(s.victim(), s.r); },
     [](Scene& s) {
       (void)s.domain.engine.release_all(s.victim(), [](Handle, HoldKind) {});
       s.domain.contexts.close(s.victim(), true);
     },
     3},
};

// Waits that no thread sleeps for: from the request to what becomes of it.

constexpr std::uint32_t kDoorbell = kVictim + 1;  ///< as rm_node.wake_target

// The victim waits beside somebody who holds, and before another.
void waits_before_another(Scene& s, HoldKind kind, std::uint32_t wake_target) {
  s.hold(s.peer(), s.r);
  s.begin(s.first, s.r, kind, wake_target);
  s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1000);
}

std::function<void(Scene&)> waiting_before_another(HoldKind kind, std::uint32_t wake_target = 0) {
  return [=](Scene& s) { waits_before_another(s, kind, wake_target); };
}

// He has been granted it, and does not know.
std::function<void(Scene&)> granted_before_another(HoldKind kind, std::uint32_t wake_target = 0) {
  return [=](Scene& s) {
    waits_before_another(s, kind, wake_target);
    ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Exclusive));
    ASSERT_TRUE(s.domain.engine.is_decided(s.first));
  };
}

void waits_for_both(Scene& s) {
  s.hold(s.peer(), s.r);
  s.hold(s.peer(), s.s);
  s.begin(s.first, s.r);
  s.begin(s.second, s.s);
}

const Operation kAsyncOperations[] = {
    {"begin", [](Scene& s) { s.hold(s.peer(), s.r); }, [](Scene& s) { s.begin(s.first, s.r); }, 20},
    {"begin_behind_another_on_a_doorbell",
     [](Scene& s) {
       s.hold(s.peer(), s.r);
       s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) { s.begin(s.first, s.r, HoldKind::Exclusive, kDoorbell); }, 20},
    {"begin_to_share", [](Scene& s) { s.hold(s.peer(), s.r); },
     [](Scene& s) { s.begin(s.first, s.r, HoldKind::Shared); }, 20},
    {"begin_in_a_cycle",
     [](Scene& s) {
       s.hold(s.victim(), s.s);
       s.hold(s.peer(), s.r);
       s.wait(s.peer(), s.s, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) {
       s.begin(s.first, s.r);
       s.finish(s.first);
     },
     20},
    {"begin_beside_another_wait",
     [](Scene& s) {
       s.hold(s.peer(), s.r);
       s.hold(s.peer(), s.s);
       s.begin(s.first, s.r);
     },
     [](Scene& s) { s.begin(s.second, s.s); }, 20},
    {"cancel", waiting_before_another(HoldKind::Exclusive),
     [](Scene& s) { s.give_up(s.first, RM_NODE_CANCELLED); }, 8},
    {"cancel_on_a_doorbell", waiting_before_another(HoldKind::Exclusive, kDoorbell),
     [](Scene& s) { s.give_up(s.first, RM_NODE_CANCELLED); }, 10},
    {"cancel_sharing", waiting_before_another(HoldKind::Shared),
     [](Scene& s) { s.give_up(s.first, RM_NODE_CANCELLED); }, 8},
    {"cancel_the_older_of_two", waits_for_both,
     [](Scene& s) { s.give_up(s.first, RM_NODE_CANCELLED); }, 8},
    {"time_out_on_a_doorbell", waiting_before_another(HoldKind::Exclusive, kDoorbell),
     [](Scene& s) { s.give_up(s.first, RM_NODE_TIMED_OUT); }, 8},
    {"cancel_what_was_granted", granted_before_another(HoldKind::Exclusive),
     [](Scene& s) {
       s.give_up(s.first, RM_NODE_CANCELLED);
       (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive);
     },
     10},
    {"finish", granted_before_another(HoldKind::Exclusive), [](Scene& s) { s.finish(s.first); }, 5},
    {"finish_on_a_doorbell", granted_before_another(HoldKind::Exclusive, kDoorbell),
     [](Scene& s) { s.finish(s.first); }, 5},
    {"finish_sharing", granted_before_another(HoldKind::Shared),
     [](Scene& s) { s.finish(s.first); }, 5},
    {"finish_the_older_of_two",
     [](Scene& s) {
       waits_for_both(s);
       ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Exclusive));
     },
     [](Scene& s) { s.finish(s.first); }, 5},
    {"hand_off_to_a_doorbell",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       rm_node& node = s.wait(s.peer(), s.r, RM_WAIT_EXCLUSIVE, 1);
       store(node.wake_target, 1u);
       store(node.word, load(node.word) | RM_NODE_ASLEEP);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 12},
    {"thread_ends_while_it_waits",
     [](Scene& s) {
       waits_for_both(s);
       ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Exclusive));
     },
     [](Scene& s) {
       s.domain.engine.abandon_waits(s.victim(), ErrorCode::Cancelled);
       s.domain.contexts.close(s.victim(), true);
     },
     15},
};

// Waits for any of the two.

void both_are_held(Scene& s) {
  s.hold(s.peer(), s.r);
  s.hold(s.peer(), s.s);
}

void waits_for_any(Scene& s) {
  both_are_held(s);
  s.begin_any(s.victim(), s.first, s.members);
  s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1000);
}

const Operation kAnyOperations[] = {
    {"begin_any", both_are_held, [](Scene& s) { s.begin_any(s.victim(), s.first, s.members); }, 40},
    {"begin_any_to_share", both_are_held,
     [](Scene& s) { s.begin_any(s.victim(), s.first, s.members, HoldKind::Shared); }, 40},
    {"begin_any_in_a_cycle",
     [](Scene& s) {
       const Handle third = s.domain.arm(3);
       s.hold(s.victim(), third);
       both_are_held(s);
       s.wait(s.peer(), third, RM_WAIT_EXCLUSIVE, 1);
     },
     [](Scene& s) {
       s.begin_any(s.victim(), s.first, s.members);
       s.finish(s.first);
     },
     40},
    {"wait_for_any_until_the_time_is_up", both_are_held,
     [](Scene& s) {
       const std::array any{s.r, s.s};
       (void)s.domain.engine.acquire_any(s.victim(), any, timed(2'000'000), s.first, s.members);
     },
     40},
    {"cancel_any", waits_for_any, [](Scene& s) { s.give_up(s.first, RM_NODE_CANCELLED); }, 16},
    {"finish_any",
     [](Scene& s) {
       waits_for_any(s);
       ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Exclusive));
     },
     [](Scene& s) { s.finish(s.first); }, 14},
    {"hand_off_to_a_group",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.hold(s.other(), s.s);
       s.wait_for_any(s.peer());
       s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1000);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 12},
    {"hand_off_two_to_a_group",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.hold(s.victim(), s.s);
       s.wait_for_any(s.peer());
       s.wait(s.other(), s.s, RM_WAIT_EXCLUSIVE, 1000);
     },
     [](Scene& s) {
       (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive);
       (void)s.domain.engine.release(s.victim(), s.s, HoldKind::Exclusive);
     },
     20},
    {"hand_off_to_a_group_that_shares",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       s.hold(s.other(), s.s);
       s.wait_for_any(s.peer(), HoldKind::Shared);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 12},
    {"thread_ends_while_it_waits_for_any",
     [](Scene& s) {
       waits_for_any(s);
       ASSERT_TRUE(s.domain.engine.release(s.peer(), s.s, HoldKind::Exclusive));
     },
     [](Scene& s) {
       s.domain.engine.abandon_waits(s.victim(), ErrorCode::Cancelled);
       s.domain.contexts.close(s.victim(), true);
     },
     20},
};

INSTANTIATE_TEST_SUITE_P(Operations, LockKill, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

INSTANTIATE_TEST_SUITE_P(WaitsForAny, LockKill, ::testing::ValuesIn(kAnyOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

INSTANTIATE_TEST_SUITE_P(Waits, LockKill, ::testing::ValuesIn(kAsyncOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::lock::test
