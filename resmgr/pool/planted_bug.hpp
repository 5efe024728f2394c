// SPDX-License-Identifier: Apache-2.0
//
// Planted bugs of pools: see resmgr/lock/planted_bug.hpp, which this goes on from.
//
//   if (!planted::kKeepClaim) ...
#pragma once

#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::pool::planted {

using lock::planted::kName;

/// Blocks are marked as taken before their tags say by whom (I3).
inline const bool kTagAfterBit = kName == "pool_tag_after_bit";
/// Recovery leaves the claims of the dead (I3).
inline const bool kKeepClaim = kName == "pool_keep_claim";
/// Who frees what another process allocated does not look whether it still has it.
inline const bool kBlindForeignFree = kName == "pool_blind_foreign_free";
/// Recovery takes back what somebody may just be freeing.
inline const bool kBlindRecovery = kName == "pool_blind_recovery";
/// Recovery leaves no sign of what it took back.
inline const bool kSameVersion = kName == "pool_same_version";
/// Recovery takes back what magazines have, and not what is allocated.
inline const bool kKeepAllocated = kName == "pool_keep_allocated";
/// The limit is lowered though a block behind it is in use.
inline const bool kShrinkBlindly = kName == "pool_shrink_blindly";
/// Who finds a group empty believes it for ever.
inline const bool kStaleFull = kName == "pool_stale_full";
/// A block is pushed without a look at its tag.
inline const bool kTrustFrees = kName == "pool_trust_frees";

}  // namespace resmgr::pool::planted
