// SPDX-License-Identifier: Apache-2.0
//
// BlockNumbers: which block an address is, by a multiplication.
//
// What it is: the division by the stride of a pool, exact for every offset of its blocks, and the
// check that an address is where a block begins. What it is not: for blocks of one byte.
//
// Of the stride's trailing zeros all are shifted away that leave two bits of it, and what remains
// is multiplied by the reciprocal of what remains of the stride, rounded up: the product is too
// large by less than one part of 2^64 / offset, which never reaches the next number as long as
// offset times stride, both shifted, is below 2^64.
// Lifetime and thread-safety: a plain value.
//
//   const BlockNumbers numbers(stride);
//   const std::uint64_t number = numbers.at(offset);   // of the block that `offset` lies in
//   if (number * stride != offset) ...                 // not where it begins
#pragma once

#include <bit>
#include <cstdint>

#include "resmgr/base/hash.hpp"

namespace resmgr::pool {

class BlockNumbers {
 public:
  constexpr BlockNumbers() noexcept = default;
  /// REQUIRES: `stride` is above 1.
  constexpr explicit BlockNumbers(std::uint64_t stride) noexcept
      : shift_(shift_of(stride)), reciprocal_(~std::uint64_t{0} / (stride >> shift_) + 1) {}

  /// Whether all offsets below `bytes` have exact numbers.
  [[nodiscard]] static constexpr bool are_exact(std::uint64_t stride,
                                                std::uint64_t bytes) noexcept {
    const unsigned shift = shift_of(stride);
    return (WideProduct{stride >> shift} * (bytes >> shift)) >> 64 == 0;
  }

  [[nodiscard]] constexpr std::uint64_t at(std::uint64_t offset) const noexcept {
    return static_cast<std::uint64_t>((WideProduct{offset >> shift_} * reciprocal_) >> 64);
  }

 private:
  // A power of two keeps a 2: the reciprocal of 1 has a bit too many.
  [[nodiscard]] static constexpr unsigned shift_of(std::uint64_t stride) noexcept {
    const auto zeros = static_cast<unsigned>(std::countr_zero(stride));
    return std::has_single_bit(stride) ? zeros - 1 : zeros;
  }

  unsigned shift_ = 0;
  std::uint64_t reciprocal_ = 0;
};

}  // namespace resmgr::pool
