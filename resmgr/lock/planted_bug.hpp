// SPDX-License-Identifier: Apache-2.0
//
// Planted bugs: one wrong step of the protocol each, compiled in by -Dplanted_bugs=true alone.
//
// What it is: constants that are false, and gone from the code, in every build but that of
// tests/lock/planted_bugs.py, where the environment's RESMGR_PLANTED_BUG names the one that is
// true, and a test has to notice. What it is not: a feature. Each names the rule it breaks.
// Lifetime and thread-safety: constants.
//
//   if (planted::kQuietTimeout) return;
#pragma once

#include <string_view>

#ifdef RESMGR_PLANTED_BUGS
#include <cstdlib>
#endif

namespace resmgr::lock::planted {

#ifdef RESMGR_PLANTED_BUGS
[[nodiscard]] inline std::string_view chosen() noexcept {
  const char* name = std::getenv("RESMGR_PLANTED_BUG");
  return name == nullptr ? "" : name;
}
inline const std::string_view kName = chosen();
#else
inline constexpr std::string_view kName;
#endif

// ---- acquire and release -----------------------------------------------------------------------
/// A1: the generation is not looked at (I10).
inline const bool kIgnoreGeneration = kName == "ignore_generation";
/// A1: newcomers pass those who wait.
inline const bool kBarge = kName == "barge";
/// L1: the release forgets who waits.
inline const bool kTwoStepRelease = kName == "two_step_release";
/// I10: a fenced hold releases its successor's.
inline const bool kIgnoreTenure = kName == "ignore_tenure";
/// s2: a shared hold begins although the latch is taken.
inline const bool kBlindShare = kName == "blind_share";
/// s4: a false HELD is taken back in silence.
inline const bool kSilentFalseHold = kName == "silent_false_hold";
/// l2: the other cells and the word are not looked at again.
inline const bool kSharedReleaseNoRecheck = kName == "shared_release_no_recheck";
/// l2: the second look comes before the store that it has to follow.
inline const bool kSharedReleaseLate = kName == "shared_release_late";
/// D1, D2: the word says SHARED before the cell does.
inline const bool kDowngradeWordFirst = kName == "downgrade_word_first";
/// A hold freed from another thread is taken out by a plain store.
inline const bool kPlainForeignFree = kName == "plain_foreign_free";
/// Retiring forgets those who wait (I6).
inline const bool kForgetRemoved = kName == "forget_removed";

// ---- fencing -----------------------------------------------------------------------------------
/// F3: holds after a fence have the tenure of those before it (I10).
inline const bool kSameTenure = kName == "same_tenure";
/// F2: who was granted it, and took it a moment later, has it all the same (I1).
inline const bool kKeepUntaken = kName == "keep_untaken";
/// F1: the next release takes REVOKED away, and the fast path is open again.
inline const bool kForgetFence = kName == "forget_fence";
/// Who was fenced acquires before he has let go of what he had (I10).
inline const bool kAcquireFenced = kName == "acquire_fenced";

// ---- service -----------------------------------------------------------------------------------
/// S0: WORK is cleared after it was done, not before.
inline const bool kLateWorkClear = kName == "late_work_clear";
/// S1: what the dead hold stays theirs (I4).
inline const bool kTrustDead = kName == "trust_dead";
/// S5: unlatches although WORK was left meanwhile.
inline const bool kBlindUnlatch = kName == "blind_unlatch";
/// S6: leaves the rest to a holder who is not there.
inline const bool kLeaveToNobody = kName == "leave_to_nobody";
/// S4: what is quarantined is granted.
inline const bool kGrantQuarantined = kName == "grant_quarantined";
/// GX1, GX2: the node is told before the word.
inline const bool kNodeFirst = kName == "node_first";
/// GX3: a sleeping waiter is not woken.
inline const bool kNoWake = kName == "no_wake";
/// GX4: the offer is never turned into a hold.
inline const bool kGrantingStays = kName == "granting_stays";
/// GX5: a grant that lost its node stays in the word.
inline const bool kNoUndo = kName == "no_undo";
/// GS1: the cell is HELD before the node says so.
inline const bool kNoOffer = kName == "no_offer";
/// GS2: an offer is taken back when something else is asked meanwhile (I7). It takes its time, so
/// that something is.
inline const bool kTakeBackOffer = kName == "take_back_offer";

// ---- waiting -----------------------------------------------------------------------------------
/// T3: a waiter who gives up does not knock.
inline const bool kQuietTimeout = kName == "quiet_timeout";
/// A node's sequence number is the same in its next wait (I5).
inline const bool kSameSequence = kName == "same_sequence";
/// Order: the newest of one priority is served first.
inline const bool kLifoQueue = kName == "lifo_queue";
/// Edits of a queue don't show in its sequence number.
inline const bool kQuietEdits = kName == "quiet_edits";
/// Those we wait for keep their places in the queues where they wait.
inline const bool kNoLoan = kName == "no_loan";
/// Who waits for our holds is asked before our own wait shows; some time before, so that one comes.
inline const bool kInheritFirst = kName == "inherit_first";
/// I7: who lent his rank does not look for the cycles that closed once his own wait is over.
inline const bool kHurriedLender = kName == "hurried_lender";
/// Nor does the borrower, should the lender have died.
inline const bool kTrustLenders = kName == "trust_lenders";
/// What is held shared is not to be seen while an upgrade of it is offered (I2).
inline const bool kHiddenShare = kName == "hidden_share";

/// I11: each member of a group is decided by its own word.
inline const bool kOwnWords = kName == "own_words";

// ---- deadlocks ---------------------------------------------------------------------------------
/// I7: the walk comes before the node is seen.
inline const bool kCheckBeforePublish = kName == "check_before_publish";
/// I7: whoever finds the cycle is the victim.
inline const bool kVictimSelf = kName == "victim_self";
/// I7: an Emergency request is a victim like others.
inline const bool kEmergencyVictim = kName == "emergency_victim";
/// I8: only one shared holder is followed.
inline const bool kFirstHolderOnly = kName == "first_holder_only";
/// I8: earlier waiters are not followed.
inline const bool kNoQueueEdges = kName == "no_queue_edges";
/// I8: a cycle is believed at first sight.
inline const bool kNoSecondPass = kName == "no_second_pass";
/// Who is being offered the resource still waits for those before him.
inline const bool kOfferedWaits = kName == "offered_waits";
/// I8: an offer to one who has given up keeps others waiting for him.
inline const bool kTrustOffers = kName == "trust_offers";
/// I8: a task whose thread is blocked is taken to go on.
inline const bool kForgetTasks = kName == "forget_tasks";

/// I11: a group is stuck if one of its members is.
inline const bool kEveryAlternative = kName == "every_alternative";

// ---- pools -------------------------------------------------------------------------------------
/// A node is used again while a queue still links it.
inline const bool kReuseLinkedNode = kName == "reuse_linked_node";
/// A cell is freed while a chain still links it.
inline const bool kFreeLinkedCell = kName == "free_linked_cell";

// ---- recovery ----------------------------------------------------------------------------------
/// S1: whatever the dead did with it, the next holder is not warned.
inline const bool kWarnNobody = kName == "warn_nobody";
/// A2: who was taken for dead takes what he was granted all the same.
inline const bool kTakeBlindly = kName == "take_blindly";
/// R3: only words that name the dead are looked at.
inline const bool kNamedOnly = kName == "named_only";
/// R3: the lists of a dead latch holder are believed.
inline const bool kTrustLists = kName == "trust_lists";
/// R3: who was taken out of the queue for a grant that never came is not put back.
inline const bool kNoRelink = kName == "no_relink";
/// R3: what the dead offered stays an offer.
inline const bool kKeepOffers = kName == "keep_offers";
/// R3: a node that its owner died on the way to push stays LINKED.
inline const bool kKeepUnpushed = kName == "keep_unpushed";
/// Q2: nobody is told that it is quiet (I6).
inline const bool kSilentLift = kName == "silent_lift";

}  // namespace resmgr::lock::planted
