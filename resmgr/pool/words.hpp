// SPDX-License-Identifier: Apache-2.0
//
// The word of a group of blocks, and the tag of a block: how they are taken apart and put together.
//
// What it is: names for the bits of resmgr/abi/pool_layout.h. What it is not: access to them; see
// resmgr/pool/depot.hpp. Lifetime and thread-safety: pure functions.
//
//   const std::uint32_t room = ~taken_in(word) & valid;
#pragma once

#include <cstdint>

#include "resmgr/abi/pool_layout.h"

namespace resmgr::pool {

/// Whose blocks are: a client of the domain, by its number plus 1; 0 is nobody's.
using Owner = std::uint16_t;

[[nodiscard]] constexpr std::uint32_t taken_in(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word);
}
[[nodiscard]] constexpr Owner claimant_of(std::uint64_t word) noexcept {
  return static_cast<Owner>(word >> RM_POOL_CLAIMANT_SHIFT);
}
[[nodiscard]] constexpr std::uint64_t claim_of(Owner owner) noexcept {
  return std::uint64_t{owner} << RM_POOL_CLAIMANT_SHIFT;
}
/// The next version, whose overflow falls off at the top.
[[nodiscard]] constexpr std::uint64_t raised(std::uint64_t word) noexcept {
  return word + (std::uint64_t{1} << RM_POOL_VERSION_SHIFT);
}

/// Several tags of one group, as one number.
using TagWord [[gnu::may_alias]] = std::uint64_t;
inline constexpr unsigned kTagsAWord = sizeof(TagWord) / sizeof(std::uint16_t);

[[nodiscard]] constexpr std::uint16_t cached_tag(Owner owner) noexcept {
  return owner & RM_POOL_TAG_OWNER_MASK;
}
[[nodiscard]] constexpr std::uint16_t allocated_tag(Owner owner) noexcept {
  return static_cast<std::uint16_t>(cached_tag(owner) | RM_POOL_TAG_ALLOCATED);
}
[[nodiscard]] constexpr Owner owner_in(std::uint16_t tag) noexcept {
  return tag & RM_POOL_TAG_OWNER_MASK;
}
[[nodiscard]] constexpr bool is_allocated(std::uint16_t tag) noexcept {
  return (tag & RM_POOL_TAG_ALLOCATED) != 0;
}

/// The bits of blocks `begin` to `end` (at most 32) of a group.
[[nodiscard]] constexpr std::uint32_t bits_between(std::uint32_t begin,
                                                   std::uint32_t end) noexcept {
  const auto below = [](std::uint32_t bit) {
    return static_cast<std::uint32_t>((std::uint64_t{1} << bit) - 1);
  };
  return end <= begin ? 0 : below(end) & ~below(begin);
}

}  // namespace resmgr::pool
