// SPDX-License-Identifier: Apache-2.0
//
// current_processor: where the calling thread runs.
//
// What it is: one load from what the kernel keeps for each thread (rseq(2), as glibc registers it),
// and where that is not to be had the call. What it is not: still true when it returns.
// Thread-safety: any thread.
//
//   if (current_processor() == where_the_other_one_was) sleep_at_once();
#pragma once

#include <sched.h>
#include <sys/rseq.h>

#include <cstddef>
#include <cstdint>

namespace resmgr {

[[nodiscard]] inline std::uint32_t current_processor() noexcept {
  // Size 0: glibc was told not to register, or somebody else did.
  if (__rseq_size != 0) [[likely]] {
    const auto* const area = reinterpret_cast<const volatile struct rseq*>(
        static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset);
    return area->cpu_id;
  }
  return static_cast<std::uint32_t>(::sched_getcpu());
}

}  // namespace resmgr
