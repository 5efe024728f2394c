// SPDX-License-Identifier: Apache-2.0
//
// How the program ends. The values are part of its interface; --help explains them.
#pragma once

namespace demo {

inline constexpr int kSuccess = 0;
inline constexpr int kCheckFailed = 1;
inline constexpr int kCouldNotRun = 2;

}  // namespace demo
