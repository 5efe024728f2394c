// SPDX-License-Identifier: Apache-2.0
//
// Uncontended pairs: acquire and release by the public interface, beside other locks' lock and
// unlock. Each function measures one figure; bench_core.cpp says which.
#pragma once

#include "tests/bench/harness.hpp"

namespace bench {

void pair_vs_cas(Run& run);
void try_pair_vs_cas(Run& run);
void pair_by_options_vs_cas(Run& run);
/// Not ours: see tests/bench/floor_locks.hpp.
void pair_floor_of_calls_vs_cas(Run& run);
void pair_floor_of_books_vs_cas(Run& run);
void pair_vs_robust(Run& run);
void pair_1m_vs_cas(Run& run);
void pair_1m_floor_of_books_vs_cas(Run& run);
/// While so many other locks are held.
void pair_vs_absl(Run& run, unsigned held);
void shared_pair_vs_rwlock(Run& run);
void shared_pair_vs_boost(Run& run);
void handle_check(Run& run);

}  // namespace bench
