// SPDX-License-Identifier: Apache-2.0
//
// cpu_relax: one polite turn of a spinning loop.
//
// What it is: the processor's hint that this thread waits for memory to change. What it is not: a
// yield; the scheduler hears nothing. Thread-safety: any thread.
#pragma once

namespace resmgr {

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // longer than yield, which many cores ignore
#endif
}

}  // namespace resmgr
