// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: bytes written over a lock region, and calls of the engine on it. See
// tests/lock/damage.hpp for how the bytes are read.
#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/lock/damage.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)resmgr::lock::test::play_damage(std::span(data, size));
  return 0;
}
