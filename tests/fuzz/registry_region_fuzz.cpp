// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: bytes written over a registry region and its header, every call of a reader, and
// what a new authority makes of the rest. See tests/registry/damage.hpp for how the bytes are read.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/registry/damage.hpp"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // A failed expectation ends the program, as any other finding does.
  GTEST_FLAG_SET(throw_on_failure, true);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)resmgr::registry::test::play_damage(std::span(data, size));
  return 0;
}
