// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/mover.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>

#include "tests/drivers/dma/support.hpp"

namespace drivers::dma {
namespace {

constexpr std::byte kUntouched{0x5a};

/// Fills `length` bytes in the middle of a buffer and compares with one byte after another.
void expect_fill(std::size_t length, std::uint64_t pattern) {
  constexpr std::size_t kMargin = 16;
  Bytes memory(length + 2 * kMargin, kUntouched);
  Bytes expected = memory;
  for (std::size_t i = 0; i < length; ++i) {
    expected[kMargin + i] = static_cast<std::byte>(pattern >> (8 * (i % 8)));
  }
  Mover::system()->fill(std::span(memory).subspan(kMargin, length), pattern);
  ASSERT_EQ(memory, expected) << length << " bytes of " << pattern;
}

TEST(MoverTest, FillsAnyLengthWithThePattern) {
  for (const std::uint64_t pattern :
       std::initializer_list<std::uint64_t>{0x0807060504030201, 0, 0x7777777777777777, 0xff}) {
    for (std::size_t length = 1; length < 70; ++length) expect_fill(length, pattern);
    for (const std::size_t length : {4095u, 4096u, 4097u, 8191u, 8192u, 12'300u, 70'001u}) {
      expect_fill(length, pattern);
    }
  }
}

TEST(MoverTest, CopiesWhatItIsTold) {
  std::mt19937_64 random(test_seed());
  const Bytes from = random_bytes(1000, random);
  Bytes to(from.size(), kUntouched);
  Bytes expected = to;
  std::copy(from.begin() + 3, from.begin() + 900, expected.begin() + 7);
  Mover::system()->copy(to.data() + 7, from.data() + 3, 897);
  EXPECT_EQ(to, expected);
}

}  // namespace
}  // namespace drivers::dma
