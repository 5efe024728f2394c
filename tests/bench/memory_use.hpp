// SPDX-License-Identifier: Apache-2.0
//
// How much memory this process has, as the kernel counts its pages.
//
// What it is: a snapshot of /proc/self/smaps_rollup, exact where the counters in /proc/self/status
// lag behind by some pages for each processor. What it is not: memory of files that nobody mapped;
// a domain tells of its regions itself. Thread-safety: any thread.
//
//   const MemoryUse before = MemoryUse::now();
#pragma once

#include <cstdint>

namespace bench {

struct MemoryUse {
  std::uint64_t resident = 0;   ///< bytes, of files and regions too
  std::uint64_t anonymous = 0;  ///< bytes of heap, stacks and the like

  /// Gives freed heap back to the kernel first, so that earlier work hides nothing. Throws Skip
  /// where the kernel does not tell.
  [[nodiscard]] static MemoryUse now();
};

}  // namespace bench
