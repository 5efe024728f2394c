// SPDX-License-Identifier: Apache-2.0
//
// What the tests of meters share: rates that are awkward in different ways, and times.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "resmgr/budget/meter.hpp"

namespace resmgr::budget::test {

inline constexpr std::uint64_t kSecond = 1'000'000'000;

/// From the slowest to the fastest; powers of two and of ten, and primes.
inline constexpr std::uint64_t kRates[] = {1,
                                           2,
                                           3,
                                           7,
                                           1000,
                                           1024,
                                           999'983,
                                           1'000'000,
                                           999'999'937,
                                           1'000'000'000,
                                           1u << 31,
                                           10'000'000'019,
                                           1ull << 39,
                                           700'000'000'001,
                                           999'999'999'989,
                                           1'000'000'000'000};

/// Of CLOCK_MONOTONIC: at boot, an hour later, around where a word's time wraps (2^24 s), and
/// after years.
inline constexpr std::uint64_t kStarts[] = {0, 3600 * kSecond, ((1u << 24) - 5) * kSecond,
                                            (1u << 24) * kSecond,
                                            3'000'000'001 * kSecond + 123'456'789};

[[nodiscard]] inline MeterRate rate_of(std::uint64_t tokens_per_second, std::uint64_t burst) {
  auto rate = MeterRate::make(tokens_per_second, burst);
  if (!rate) throw std::invalid_argument(rate.error().message());
  return *rate;
}

/// Whether a charge was taken. It has to be one that can be.
[[nodiscard]] inline bool took(Result<Charge> charge) {
  EXPECT_TRUE(charge) << charge.error().message();
  return charge && charge->taken;
}

}  // namespace resmgr::budget::test
