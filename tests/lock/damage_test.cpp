// SPDX-License-Identifier: Apache-2.0
//
// A lock region full of garbage: calls return. The sanitizers see to it that nothing outside of the
// region is touched; tests/fuzz/lock_region_fuzz.cpp looks for worse garbage than chance makes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/lock/damage.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

/// A run that does not come back ends the program, and with it the test.
constexpr unsigned kWatchdogSeconds = 60;

TEST(Damage, EveryCallReturns) {
  const std::uint64_t seed = seed_from_environment();
  const std::uint64_t rounds = rounds_from_environment(kSanitized ? 1'000 : 4'000);
  std::mt19937_64 random(seed);
  std::uint64_t calls = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    std::vector<std::uint8_t> script(32 + random() % 480);
    // Small numbers are links, states and identities that exist; large ones are out of range.
    const std::uint64_t small = random() % 3;
    std::generate(script.begin(), script.end(), [&] {
      return static_cast<std::uint8_t>(random() % 3 < small ? random() % 8 : random());
    });
    ::alarm(kWatchdogSeconds);
    calls += play_damage(script);
  }
  ::alarm(0);
  EXPECT_GT(calls, rounds);
}

TEST(Damage, AnUndamagedScriptIsPlayedToo) {
  const std::vector<std::uint8_t> quiet(64, 0);
  EXPECT_GT(play_damage(quiet), 0u);
  EXPECT_EQ(play_damage({}), 0u);
}

}  // namespace
}  // namespace resmgr::lock::test
