// SPDX-License-Identifier: Apache-2.0
//
// Generations: in which order a slot's generations come.
//
// What it is: from a first one, which differs from domain to domain, up to the highest that handles
// have room for, then from 1 up to the one before the first; so each slot has all of them, each
// once, whichever it began with, and is retired then. A client that keeps a handle of a domain that
// is over finds it stale in the next one (I10), but for one chance in 2^24; in 2^12 where handles
// are compact. What it is not: a secret. 0 is no generation: the slot was never used.
//
// Lifetime and thread-safety: a plain value.
//
//   const auto order = Generations::of(tables);
//   if (!order.are_used_up(last)) use(order.after(last));
#pragma once

#include <cstdint>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

class Generations {
 public:
  /// Those of a domain. Where its first one can't be, which only damage does, it is 1.
  [[nodiscard]] static Generations of(const Tables& tables) noexcept {
    const std::uint32_t highest = highest_generation(tables.flags);
    const std::uint32_t first = load_relaxed(tables.root->first_generation);
    return {first == 0 || first > highest ? 1 : first, highest};
  }

  [[nodiscard]] std::uint32_t first() const noexcept { return first_; }
  /// The next one of a slot whose last one that was, or that was never used.
  [[nodiscard]] std::uint32_t after(std::uint32_t last) const noexcept {
    if (last == 0) return first_;
    return last == highest_ ? 1 : last + 1;
  }
  /// There is none after it. What is too high, only damage makes so; a handle must not repeat even
  /// then.
  [[nodiscard]] bool are_used_up(std::uint32_t last) const noexcept {
    return last > highest_ || (last != 0 && after(last) == first_);
  }

 private:
  constexpr Generations(std::uint32_t first, std::uint32_t highest) noexcept
      : first_(first), highest_(highest) {}

  std::uint32_t first_;
  std::uint32_t highest_;
};

}  // namespace resmgr::registry
