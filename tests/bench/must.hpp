// SPDX-License-Identifier: Apache-2.0
//
// must(): the value of a result, or the end of the benchmark with the error's message.
//
// What it is: how benchmarks unwrap results outside and inside measured loops. What it is not:
// error handling for anything but a benchmark: it throws. Thread-safety: any thread.
//
//   auto manager = must(hal::ResourceManager::create());
#pragma once

#include <stdexcept>
#include <utility>

#include "resmgr/base/error.hpp"

namespace bench {

/// Out of the measured loop's way.
[[noreturn, gnu::cold, gnu::noinline]] inline void give_up(const resmgr::Error& error) {
  throw std::runtime_error(error.message());
}

template <typename T>
T must(resmgr::Result<T> result) {
  if (!result) [[unlikely]] {
    give_up(result.error());
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace bench
