// SPDX-License-Identifier: Apache-2.0
//
// BlockNumbers: which block an address is, by a multiplication.
//
// What it is: the division by the stride of a pool, exact for every offset of its blocks, and the
// check that an address is where a block begins. What it is not: for blocks of one byte.
//
// The offset is multiplied by the reciprocal of the stride, rounded up: the product is too large by
// less than one part of 2^64 / offset, which never reaches the next number as long as offset times
// stride is below 2^64. Of a power of two the reciprocal is not rounded, and always exact.
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
      : reciprocal_(~std::uint64_t{0} / stride + 1) {}

  /// Whether all offsets below `bytes` have exact numbers.
  [[nodiscard]] static constexpr bool are_exact(std::uint64_t stride,
                                                std::uint64_t bytes) noexcept {
    return std::has_single_bit(stride) || (WideProduct{stride} * bytes) >> 64 == 0;
  }

  [[nodiscard]] constexpr std::uint64_t at(std::uint64_t offset) const noexcept {
    return static_cast<std::uint64_t>((WideProduct{offset} * reciprocal_) >> 64);
  }

 private:
  std::uint64_t reciprocal_ = 0;
};

}  // namespace resmgr::pool
