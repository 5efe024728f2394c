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

namespace bench {

/// Two calls and nothing else.
struct alignas(64) CalledLine {
  std::atomic<std::uint64_t> word{0};

  [[nodiscard, gnu::noinline]] bool lock() noexcept;
  [[nodiscard, gnu::noinline]] bool unlock() noexcept;
};

/// The same with the books, of the calling thread's record.
struct alignas(64) BookedLine {
  std::atomic<std::uint64_t> word{0};
  std::uint64_t acquired_at = 0;
  std::uint32_t acquisitions = 0;
  std::uint32_t hold_index = 0;

  [[nodiscard, gnu::noinline]] bool lock() noexcept;
  [[nodiscard, gnu::noinline]] bool unlock() noexcept;
};

}  // namespace bench
