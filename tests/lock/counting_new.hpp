// SPDX-License-Identifier: Apache-2.0
//
// Counting of heap allocations: a program that links counting_new.cpp has its operator new
// replaced.
//
// What it is: a count of what all threads allocate between two calls. What it is not: a count of
// direct calls of malloc. Thread-safety: any thread, one count at a time.
//
//   start_counting_allocations();
//   work();
//   EXPECT_EQ(stop_counting_allocations(), 0u);
#pragma once

#include <cstdint>

namespace resmgr::lock::test {

void start_counting_allocations() noexcept;
/// How many there were.
[[nodiscard]] std::uint64_t stop_counting_allocations() noexcept;

}  // namespace resmgr::lock::test
