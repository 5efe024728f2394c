// SPDX-License-Identifier: Apache-2.0
//
// Damage: a lock region that a hostile peer writes into, and every call of the engine on it.
//
// What it is: one run of a script made of bytes: some of them are written over tables of the
// region, some choose calls. Every call has to come back, with whatever result, and without a look
// outside of its table. So has attaching to a region whose header was damaged. What it is not: a
// check of results; nobody can hold anything in such a domain. Used by a test that makes its bytes
// up and by a fuzz target. Lifetime and thread-safety: a run has a domain of its own and needs no
// second thread.
//
//   play_damage(bytes);
#pragma once

#include <cstdint>
#include <span>

namespace resmgr::lock::test {

/// Returns how many calls were made.
std::uint64_t play_damage(std::span<const std::uint8_t> script);

}  // namespace resmgr::lock::test
