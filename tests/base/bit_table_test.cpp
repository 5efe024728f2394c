// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/bit_table.hpp"

#include <gtest/gtest.h>

#include <cstddef>

namespace resmgr {
namespace {

TEST(BitTable, EachBitIsItsOwn) {
  constexpr std::size_t kBits = 100'000;
  BitTable table(kBits);
  for (std::size_t bit = 0; bit < kBits; bit += 7) table.set(bit);
  for (std::size_t bit = 0; bit < kBits; ++bit) ASSERT_EQ(table[bit], bit % 7 == 0) << bit;
  table.set(7, false);
  EXPECT_FALSE(table[7]);
  EXPECT_TRUE(table[0] && table[14]);
  table.set(kBits - 1);
  EXPECT_TRUE(table[kBits - 1]);
}

TEST(BitTable, ClearMakesAllZero) {
  BitTable table(100'000);
  table.set(0);
  table.set(99'999);
  table.clear();
  EXPECT_FALSE(table[0] || table[99'999]);
  table.set(5);
  EXPECT_TRUE(table[5]);
}

TEST(BitTable, OfNothingIsThereToo) {
  BitTable table(0);
  table.clear();
}

}  // namespace
}  // namespace resmgr
