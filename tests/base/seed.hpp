// SPDX-License-Identifier: Apache-2.0
//
// The seed of a randomised test: RESMGR_SEED, or a new one; printed, so that a failure can be
// repeated.
//
//   std::mt19937_64 random(resmgr::test::seed());
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace resmgr::test {

[[nodiscard]] inline std::uint64_t seed() {
  const char* given = std::getenv("RESMGR_SEED");
  const std::uint64_t value = given ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::cout << "RESMGR_SEED=" << value << '\n';
  return value;
}

}  // namespace resmgr::test
