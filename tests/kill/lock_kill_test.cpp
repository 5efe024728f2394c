// SPDX-License-Identifier: Apache-2.0
//
// A client killed between any two instructions of a lock operation (I1 to I6).
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "resmgr/lock/fence.hpp"
#include "tests/kill/lock_scene.hpp"

namespace resmgr::lock::test {
namespace {

TEST_P(LockKill, LeavesNothingBehind) { kill_after_each_store(); }

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

// The authority dies, and with it a client, in the middle of taking something from a holder.

void is_urgent(Scene& s, HoldKind held) {
  s.hold(s.peer(), s.r, held);
  rm_node& node = s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1);
  store(node.flags, static_cast<std::uint8_t>(RM_NODE_FLAG_EMERGENCY));
}

void fence(Scene& s) {
  Fence fence(s.domain.engine);
  std::vector<Participant> nobody;
  ASSERT_TRUE(fence.close(s.r));
  (void)fence.end_holds(s.r, nobody);
  fence.open(s.r);
}

const Operation kFences[] = {
    {"fence", [](Scene& s) { is_urgent(s, HoldKind::Exclusive); }, fence, 15},
    {"fence_readers",
     [](Scene& s) {
       s.hold(s.victim(), s.r, HoldKind::Shared);
       is_urgent(s, HoldKind::Shared);
     },
     fence, 15},
    {"fence_who_has_not_taken_it",
     [](Scene& s) {
       s.hold(s.peer(), s.r);
       s.begin(s.first, s.r);
       ASSERT_TRUE(s.domain.engine.release(s.peer(), s.r, HoldKind::Exclusive));
       rm_node& node = s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1);
       store(node.flags, static_cast<std::uint8_t>(RM_NODE_FLAG_EMERGENCY));
     },
     fence, 15},
    {"let_go_of_what_was_fenced",
     [](Scene& s) {
       s.hold(s.victim(), s.r);
       rm_node& node = s.wait(s.other(), s.r, RM_WAIT_EXCLUSIVE, 1);
       store(node.flags, static_cast<std::uint8_t>(RM_NODE_FLAG_EMERGENCY));
       fence(s);
     },
     [](Scene& s) { (void)s.domain.engine.release(s.victim(), s.r, HoldKind::Exclusive); }, 1},
};

INSTANTIATE_TEST_SUITE_P(Fences, LockKill, ::testing::ValuesIn(kFences),
                         [](const auto& operation) { return std::string(operation.param.name); });

INSTANTIATE_TEST_SUITE_P(Operations, LockKill, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

INSTANTIATE_TEST_SUITE_P(WaitsForAny, LockKill, ::testing::ValuesIn(kAnyOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

INSTANTIATE_TEST_SUITE_P(Waits, LockKill, ::testing::ValuesIn(kAsyncOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::lock::test
