// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: bytes that came as a frame. They are refused, or decode to what encodes to them
// again. tests/fuzz/wire_corpus.cpp makes the frames to start from.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/abi/wire_support.hpp"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // A failed expectation ends the program, as any other finding does.
  GTEST_FLAG_SET(throw_on_failure, true);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using resmgr::wire::test::cut;
  using resmgr::wire::test::is_refused_or_exact;
  const auto bytes = std::as_bytes(std::span(data, size));
  EXPECT_TRUE(is_refused_or_exact(bytes));
  // Hardly any change of length comes with one of the number that says it.
  EXPECT_TRUE(is_refused_or_exact(cut(bytes, bytes.size())));
  return 0;
}
