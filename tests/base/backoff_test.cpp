// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/backoff.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>

namespace resmgr {
namespace {

constexpr std::uint64_t kFirst = 1'000'000;
constexpr std::uint64_t kLongest = 1'000'000'000;

TEST(BackoffTest, DoublesUpToTheLongestPause) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Backoff backoff(kFirst, seed);
    for (std::uint64_t due = kFirst; due < kLongest; due *= 2) {
      const std::uint64_t pause = backoff.next(kLongest);
      EXPECT_LE(pause, due);
      EXPECT_GE(pause, due / 2);
    }
    for (int i = 0; i < 10; ++i) {
      const std::uint64_t pause = backoff.next(kLongest);
      EXPECT_LE(pause, kLongest);
      EXPECT_GE(pause, kLongest / 2);
    }
    backoff.reset();
    EXPECT_LE(backoff.next(kLongest), kFirst);
  }
}

TEST(BackoffTest, GoesOnFromAShorterLongestPause) {
  constexpr std::uint64_t kShort = 50'000'000;
  Backoff backoff(kFirst, 1);
  for (int i = 0; i < 20; ++i) EXPECT_LE(backoff.next(kShort), kShort);
  EXPECT_LE(backoff.next(kLongest), kShort);
  EXPECT_GE(backoff.next(kLongest), kShort);
}

TEST(BackoffTest, ThoseWhoFailedTogetherDoNotComeBackTogether) {
  constexpr std::size_t kMany = 100;
  std::set<std::uint64_t> pauses;
  for (std::uint64_t seed = 0; seed < kMany; ++seed) {
    pauses.insert(Backoff(kLongest, seed).next(kLongest));
  }
  EXPECT_GT(pauses.size(), kMany / 2);
}

}  // namespace
}  // namespace resmgr
