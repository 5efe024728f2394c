// SPDX-License-Identifier: Apache-2.0
//
// IndexState: which part of the index table is in use.
//
// What it is: the decoded form of rm_registry_region.index_state: the first bucket, the number of
// buckets (a power of two) and how often the index was rebuilt. What it is not: trusted; decode()
// says whether the part lies inside the table. Lifetime and thread-safety: a plain value.
//
//   auto state = IndexState::decode(load_acquire(root.index_state), tables.index_buckets);
//   if (state) bucket = state->home(hash);
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/layout.h"
#include "resmgr/registry/records.hpp"

namespace resmgr::registry {

struct IndexState {
  std::uint32_t first = 0;     ///< bucket of the table
  std::uint32_t shift = 0;     ///< 64 - log2(buckets)
  std::uint32_t rebuilds = 0;  ///< modulo 2^24

  [[nodiscard]] std::uint32_t buckets() const noexcept { return 1u << (64 - shift); }
  /// The bucket, counted from `first`, where the search for a hash begins.
  [[nodiscard]] std::uint32_t home(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>(hash >> shift);
  }

  [[nodiscard]] constexpr Word encode() const noexcept {
    return Word{first} << RM_INDEX_FIRST_SHIFT |
           Word{rebuilds & 0xffffff} << RM_INDEX_REBUILDS_SHIFT | shift;
  }
  /// Nothing if that part is not inside a table of `total` buckets.
  [[nodiscard]] static std::optional<IndexState> decode(Word word, std::uint32_t total) noexcept {
    const IndexState state{
        .first = static_cast<std::uint32_t>(word >> RM_INDEX_FIRST_SHIFT),
        .shift = static_cast<std::uint32_t>(word & RM_INDEX_SHIFT_MASK),
        .rebuilds = static_cast<std::uint32_t>(word >> RM_INDEX_REBUILDS_SHIFT) & 0xffffff};
    if (state.shift < 64 - 31 || state.shift > 63) return std::nullopt;
    if (state.first > total || state.buckets() > total - state.first) return std::nullopt;
    return state;
  }
};

/// The shift of the smallest index, with which every domain starts.
inline constexpr std::uint32_t kMinIndexShift =
    64 - static_cast<std::uint32_t>(std::countr_zero(kMinIndexEntries / RM_INDEX_BUCKET_WORDS));

/// A word of the index: the upper half of a hash, and a link.
[[nodiscard]] constexpr Word index_word(std::uint64_t hash, std::uint32_t link) noexcept {
  return (hash & ~Word{0xffffffff}) | link;
}

}  // namespace resmgr::registry
