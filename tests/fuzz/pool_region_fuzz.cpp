// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: the memory of a pool, its header included, and calls on who has it. See
// tests/pool/damage.hpp for how the bytes are read.
#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/pool/damage.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)resmgr::pool::test::play_damage(std::span(data, size));
  return 0;
}
