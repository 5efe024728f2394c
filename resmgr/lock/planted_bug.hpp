// SPDX-License-Identifier: Apache-2.0
//
// Planted bugs: one wrong step of the protocol each, compiled in by -Dplanted_bug=NAME alone.
//
// What it is: constants that are false in every build but those of tests/lock/planted_bugs.py,
// where one of them is true and a test has to notice. What it is not: a feature. Each names the
// rule it breaks. Lifetime and thread-safety: constants.
//
//   if (planted::kQuietTimeout) return;
#pragma once

#include <string_view>

namespace resmgr::lock::planted {

#ifdef RESMGR_PLANTED_BUG
inline constexpr std::string_view kName = RESMGR_PLANTED_BUG;
#else
inline constexpr std::string_view kName;
#endif

// ---- acquire and release -----------------------------------------------------------------------
/// A1: the generation is not looked at (I10).
inline constexpr bool kIgnoreGeneration = kName == "ignore_generation";
/// A1: newcomers pass those who wait.
inline constexpr bool kBarge = kName == "barge";
/// L1: the release forgets who waits.
inline constexpr bool kTwoStepRelease = kName == "two_step_release";
/// I10: a fenced hold releases its successor's.
inline constexpr bool kIgnoreTenure = kName == "ignore_tenure";
/// s2: a shared hold begins although the latch is taken.
inline constexpr bool kBlindShare = kName == "blind_share";
/// s4: a false HELD is taken back in silence.
inline constexpr bool kSilentFalseHold = kName == "silent_false_hold";
/// l2: the other cells and the word are not looked at again.
inline constexpr bool kSharedReleaseNoRecheck = kName == "shared_release_no_recheck";
/// l2: the second look comes before the store that it has to follow.
inline constexpr bool kSharedReleaseLate = kName == "shared_release_late";
/// D1, D2: the word says SHARED before the cell does.
inline constexpr bool kDowngradeWordFirst = kName == "downgrade_word_first";
/// A hold freed from another thread is taken out by a plain store.
inline constexpr bool kPlainForeignFree = kName == "plain_foreign_free";
/// Retiring forgets those who wait (I6).
inline constexpr bool kForgetRemoved = kName == "forget_removed";

// ---- service -----------------------------------------------------------------------------------
/// S0: WORK is cleared after it was done, not before.
inline constexpr bool kLateWorkClear = kName == "late_work_clear";
/// S1: what the dead hold stays theirs (I4).
inline constexpr bool kTrustDead = kName == "trust_dead";
/// S5: unlatches although WORK was left meanwhile.
inline constexpr bool kBlindUnlatch = kName == "blind_unlatch";
/// S6: leaves the rest to a holder who is not there.
inline constexpr bool kLeaveToNobody = kName == "leave_to_nobody";
/// GX1, GX2: the node is told before the word.
inline constexpr bool kNodeFirst = kName == "node_first";
/// GX3: a sleeping waiter is not woken.
inline constexpr bool kNoWake = kName == "no_wake";
/// GX4: the offer is never turned into a hold.
inline constexpr bool kGrantingStays = kName == "granting_stays";
/// GX5: a grant that lost its node stays in the word.
inline constexpr bool kNoUndo = kName == "no_undo";
/// GS1: the cell is HELD before the node says so.
inline constexpr bool kNoOffer = kName == "no_offer";
/// GS2: an offer is taken back when something else is asked meanwhile (I7). It takes its time, so
/// that something is.
inline constexpr bool kTakeBackOffer = kName == "take_back_offer";

// ---- waiting -----------------------------------------------------------------------------------
/// T3: a waiter who gives up does not knock.
inline constexpr bool kQuietTimeout = kName == "quiet_timeout";
/// A node's sequence number is the same in its next wait (I5).
inline constexpr bool kSameSequence = kName == "same_sequence";
/// Order: the newest of one priority is served first.
inline constexpr bool kLifoQueue = kName == "lifo_queue";
/// Edits of a queue don't show in its sequence number.
inline constexpr bool kQuietEdits = kName == "quiet_edits";
/// Those we wait for keep their places in the queues where they wait.
inline constexpr bool kNoLoan = kName == "no_loan";
/// Who waits for our holds is asked before our own wait shows; some time before, so that one comes.
inline constexpr bool kInheritFirst = kName == "inherit_first";

// ---- deadlocks ---------------------------------------------------------------------------------
/// I7: the walk comes before the node is seen.
inline constexpr bool kCheckBeforePublish = kName == "check_before_publish";
/// I7: whoever finds the cycle is the victim.
inline constexpr bool kVictimSelf = kName == "victim_self";
/// I7: an Emergency request is a victim like others.
inline constexpr bool kEmergencyVictim = kName == "emergency_victim";
/// I8: only one shared holder is followed.
inline constexpr bool kFirstHolderOnly = kName == "first_holder_only";
/// I8: earlier waiters are not followed.
inline constexpr bool kNoQueueEdges = kName == "no_queue_edges";
/// I8: a cycle is believed at first sight.
inline constexpr bool kNoSecondPass = kName == "no_second_pass";
/// Who is being offered the resource still waits for those before him.
inline constexpr bool kOfferedWaits = kName == "offered_waits";
/// I8: an offer to one who has given up keeps others waiting for him.
inline constexpr bool kTrustOffers = kName == "trust_offers";

// ---- pools -------------------------------------------------------------------------------------
/// A node is used again while a queue still links it.
inline constexpr bool kReuseLinkedNode = kName == "reuse_linked_node";
/// A cell is freed while a chain still links it.
inline constexpr bool kFreeLinkedCell = kName == "free_linked_cell";

// ---- recovery ----------------------------------------------------------------------------------
/// R3: only words that name the dead are looked at.
inline constexpr bool kNamedOnly = kName == "named_only";
/// R3: the lists of a dead latch holder are believed.
inline constexpr bool kTrustLists = kName == "trust_lists";
/// R3: who was taken out of the queue for a grant that never came is not put back.
inline constexpr bool kNoRelink = kName == "no_relink";
/// R3: what the dead offered stays an offer.
inline constexpr bool kKeepOffers = kName == "keep_offers";
/// R3: a node that its owner died on the way to push stays LINKED.
inline constexpr bool kKeepUnpushed = kName == "keep_unpushed";

}  // namespace resmgr::lock::planted
