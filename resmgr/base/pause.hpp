// SPDX-License-Identifier: Apache-2.0
//
// pause_for: the calling thread sleeps.
//
// What it is: at most so long, in nanoseconds of CLOCK_MONOTONIC; a signal ends it. What it is not:
// a way to wait for something that could be waited for. Thread-safety: any thread.
//
//   pause_for(1'000'000);
#pragma once

#include <cstdint>
#include <ctime>

namespace resmgr {

inline void pause_for(std::uint64_t ns) noexcept {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const timespec time{.tv_sec = static_cast<time_t>(ns / kSecond),
                      .tv_nsec = static_cast<long>(ns % kSecond)};
  (void)::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

}  // namespace resmgr
