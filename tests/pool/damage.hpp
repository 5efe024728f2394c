// SPDX-License-Identifier: Apache-2.0
//
// play_damage(): a script of bytes that is written into a pool, and calls on it.
//
// What it is: what a hostile peer may do to a pool, as bytes that a fuzzer can choose: a header,
// and tables while others allocate, free, grow, die and are recovered. It ends the program where a
// block lies outside of the pool; the sanitizers do so where anything else does. What it is not: a
// check that blocks are had once: a peer can spoil that. Lifetime: none. Thread-safety: one thread.
//
//   (void)play_damage(std::span(data, size));
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace resmgr::pool::test {

/// Returns how many calls were made.
std::size_t play_damage(std::span<const std::uint8_t> script);

}  // namespace resmgr::pool::test
