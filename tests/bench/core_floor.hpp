// SPDX-License-Identifier: Apache-2.0
//
// What the machine asks for a pair that is kept in books, whoever writes the code.
//
// What it is: the least of a library's lock that processes share: a call each way, the thread's
// own record, a compare-and-swap each way; and, in books, what a death, a blame and a leak report
// need of each hold: which resource, where in the code, since when, how often, by which entry of
// the holder. What it is not: a lock for use: it checks nothing (no generation, no tenure, no
// order, no tick, no error). So it is a floor for core/pair_vs_cas, not a peer. Lifetime: a
// resource and a record of the caller's. Thread-safety: a record belongs to one thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "tests/bench/harness.hpp"

namespace bench {

/// A resource's line.
struct alignas(64) FloorSlot {
  std::atomic<std::uint64_t> word{0};
  std::uint64_t acquired_at = 0;
  std::uint32_t acquisitions = 0;
  std::uint32_t hold_index = 0;
};

/// What a thread holds; a plain reader may look at any time.
struct FloorRecord {
  alignas(64) std::uint64_t id = 1;
  std::uint64_t time = 1;  ///< kept by somebody else
  alignas(64) std::atomic<std::uint64_t> bitmap{0};
  alignas(64) std::atomic<std::uint64_t> holds[64]{};
  const void* places[64]{};
};

/// Two calls and nothing else.
[[gnu::noinline]] bool floor_lock(FloorSlot& slot) noexcept;
[[gnu::noinline]] bool floor_unlock(FloorSlot& slot) noexcept;
/// The same with the books, of the calling thread's record.
[[gnu::noinline]] bool floor_acquire(FloorSlot& slot, const void* place) noexcept;
[[gnu::noinline]] bool floor_release(FloorSlot& slot) noexcept;

void pair_floor_of_calls_vs_cas(Run& run);
void pair_floor_of_books_vs_cas(Run& run);

}  // namespace bench
