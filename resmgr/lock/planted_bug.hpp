// SPDX-License-Identifier: Apache-2.0
//
// Planted bugs: one wrong step of the protocol each, compiled in by -Dplanted_bug=NAME alone.
//
// What it is: constants that are false in every build but that of the mutation tests, where one of
// them is true and a test has to notice. What it is not: a feature. Each names the rule it breaks.
#pragma once

namespace resmgr::lock::planted {

#ifdef RESMGR_PLANTED_BUG_QUIET_TIMEOUT
inline constexpr bool kQuietTimeout = true;
#else
inline constexpr bool kQuietTimeout = false;  ///< T3: a waiter who gives up does not knock
#endif
#ifdef RESMGR_PLANTED_BUG_BLIND_UNLATCH
inline constexpr bool kBlindUnlatch = true;
#else
inline constexpr bool kBlindUnlatch = false;  ///< S5: unlatch although WORK was left meanwhile
#endif
#ifdef RESMGR_PLANTED_BUG_TWO_STEP_RELEASE
inline constexpr bool kTwoStepRelease = true;
#else
inline constexpr bool kTwoStepRelease = false;  ///< L1: the release forgets who waits
#endif
#ifdef RESMGR_PLANTED_BUG_NODE_FIRST
inline constexpr bool kNodeFirst = true;
#else
inline constexpr bool kNodeFirst = false;  ///< GX1, GX2: the node is told before the word
#endif
#ifdef RESMGR_PLANTED_BUG_NO_UNDO
inline constexpr bool kNoUndo = true;
#else
inline constexpr bool kNoUndo = false;  ///< GX5: a grant that lost its node stays in the word
#endif
#ifdef RESMGR_PLANTED_BUG_SILENT_FALSE_HOLD
inline constexpr bool kSilentFalseHold = true;
#else
inline constexpr bool kSilentFalseHold = false;  ///< s4: a false HELD is taken back in silence
#endif
#ifdef RESMGR_PLANTED_BUG_SHARED_RELEASE_NO_RECHECK
inline constexpr bool kSharedReleaseNoRecheck = true;
#else
inline constexpr bool kSharedReleaseNoRecheck = false;  ///< l2: the word is not looked at again
#endif
#ifdef RESMGR_PLANTED_BUG_CHECK_BEFORE_PUBLISH
inline constexpr bool kCheckBeforePublish = true;
#else
inline constexpr bool kCheckBeforePublish = false;  ///< I7: the walk comes before the node is seen
#endif
#ifdef RESMGR_PLANTED_BUG_VICTIM_SELF
inline constexpr bool kVictimSelf = true;
#else
inline constexpr bool kVictimSelf = false;  ///< I7: whoever finds the cycle is the victim
#endif
#ifdef RESMGR_PLANTED_BUG_FIRST_HOLDER_ONLY
inline constexpr bool kFirstHolderOnly = true;
#else
inline constexpr bool kFirstHolderOnly = false;  ///< I8: only one shared holder is followed
#endif
#ifdef RESMGR_PLANTED_BUG_NO_QUEUE_EDGES
inline constexpr bool kNoQueueEdges = true;
#else
inline constexpr bool kNoQueueEdges = false;  ///< I8: earlier waiters are not followed
#endif
#ifdef RESMGR_PLANTED_BUG_NO_WAKE
inline constexpr bool kNoWake = true;
#else
inline constexpr bool kNoWake = false;  ///< GX3: a sleeping waiter is not woken
#endif
#ifdef RESMGR_PLANTED_BUG_IGNORE_TENURE
inline constexpr bool kIgnoreTenure = true;
#else
inline constexpr bool kIgnoreTenure = false;  ///< I10: a fenced hold releases its successor's
#endif
#ifdef RESMGR_PLANTED_BUG_LIFO_QUEUE
inline constexpr bool kLifoQueue = true;
#else
inline constexpr bool kLifoQueue = false;  ///< order: the newest of one priority is served first
#endif

}  // namespace resmgr::lock::planted
