// SPDX-License-Identifier: Apache-2.0
//
// Two threads that want the same lock all the time, to count up one number: nothing between two
// acquisitions, or some 200 ns of computing.
#pragma once

#include "tests/bench/harness.hpp"

namespace bench {

void contended2_vs_robust(Run& run);
void contended2_think_vs_robust(Run& run);

}  // namespace bench
