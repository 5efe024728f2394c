// SPDX-License-Identifier: Apache-2.0
//
// The statuses that resmgrctl ends with.
//
// What it is: the numbers of the manual. Lifetime and thread-safety: constants.
#pragma once

namespace resmgrctl {

inline constexpr int kDone = 0;
inline constexpr int kFound = 1;     ///< doctor: findings; policy check: mistakes; drain: holders;
                                     ///< health: degraded
inline constexpr int kCantTell = 2;  ///< it could not be done, or can't be told
inline constexpr int kCritical = 3;  ///< health

}  // namespace resmgrctl
