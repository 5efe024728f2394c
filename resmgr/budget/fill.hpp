// SPDX-License-Identifier: Apache-2.0
//
// Fill: an amount, and how much of it there may be.
//
// What it is: what pressure is reckoned from. Lifetime and thread-safety: a plain value.
//
//   if (nearly.is_fuller_than(other)) return nearly;
#pragma once

#include <cstdint>

#include "resmgr/base/budgets.hpp"

namespace resmgr::budget {

struct Fill {
  std::uint64_t used = 0;
  std::uint64_t limit = kUnlimited;

  /// Whether so much of the limit is used; never without one, nor where nothing is used.
  [[nodiscard]] constexpr bool reaches(unsigned percent) const noexcept {
    return limit != kUnlimited && used != 0 && Wide{used} * 100 >= Wide{limit} * percent;
  }
  /// Whether a larger share of its limit is used.
  [[nodiscard]] constexpr bool is_fuller_than(const Fill& other) const noexcept {
    if (limit == kUnlimited || other.limit == kUnlimited) return limit < other.limit;
    return Wide{used} * other.limit > Wide{other.used} * limit;
  }

  friend constexpr bool operator==(const Fill&, const Fill&) noexcept = default;

 private:
  __extension__ using Wide = unsigned __int128;
};

}  // namespace resmgr::budget
