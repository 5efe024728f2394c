// SPDX-License-Identifier: Apache-2.0
//
// Scripts of damage, by chance; tests/fuzz/pool_region_fuzz.cpp looks for worse ones.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/base/seed.hpp"
#include "tests/pool/damage.hpp"

namespace resmgr::pool::test {
namespace {

/// A run that does not come back ends the program, and with it the test.
constexpr unsigned kWatchdogSeconds = 60;

TEST(PoolScript, EveryCallReturns) {
  std::mt19937_64 random(resmgr::test::seed());
  constexpr std::size_t kRounds = 3000;
  std::size_t calls = 0;
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<std::uint8_t> script(32 + random() % 480);
    const std::uint64_t small = random() % 3;
    std::ranges::generate(script, [&] {
      return static_cast<std::uint8_t>(random() % 3 < small ? random() % 8 : random());
    });
    ::alarm(kWatchdogSeconds);
    calls += play_damage(script);
  }
  ::alarm(0);
  EXPECT_GT(calls, kRounds);
}

TEST(PoolScript, AnUndamagedOneIsPlayedToo) {
  EXPECT_GT(play_damage(std::vector<std::uint8_t>(64, 0)), 0u);
  EXPECT_EQ(play_damage({}), 0u);
}

}  // namespace
}  // namespace resmgr::pool::test
