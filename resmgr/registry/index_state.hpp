// SPDX-License-Identifier: Apache-2.0
//
// IndexState: which part of the index table is in use.
//
// What it is: the decoded form of rm_registry_region.index_state: the first cell, the number of
// cells (a power of two) and how often the index was rebuilt. What it is not: trusted; decode()
// says whether the part lies inside the table. Lifetime and thread-safety: plain values.
//
//   auto state = IndexState::decode(load_acquire(root.index_state), tables.index.count());
//   if (state) cell = tables.index.at(state->first + state->home(key.hash));
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/registry/records.hpp"

namespace resmgr::registry {

struct IndexState {
  std::uint32_t first = 0;     ///< cell of the table: 0, or the first of its second half
  std::uint32_t shift = 0;     ///< 64 - log2(cells)
  std::uint32_t rebuilds = 0;  ///< modulo 2^32

  [[nodiscard]] constexpr std::uint32_t cells() const noexcept { return 1u << (64 - shift); }
  /// The cell, counted from `first`, where the search for a hash begins: the first of a line.
  [[nodiscard]] std::uint32_t home(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>(hash >> shift) & ~(RM_INDEX_LINE_CELLS - 1);
  }

  [[nodiscard]] constexpr Word encode() const noexcept {
    return Word{rebuilds} << RM_INDEX_REBUILDS_SHIFT | (first != 0 ? RM_INDEX_SECOND_ARRAY : 0) |
           shift;
  }
  /// Whether that part is inside a table of `total` cells.
  [[nodiscard]] static constexpr bool is_valid(Word word, std::uint32_t total) noexcept {
    const IndexState state = of(word, total);
    return (static_cast<std::uint32_t>(word) & ~RM_INDEX_PART_MASK) == 0 &&
           state.shift >= 64 - 31 && state.cells() >= kMinIndexEntries &&
           state.cells() <= total / 2;
  }
  /// REQUIRES: is_valid().
  [[nodiscard]] static constexpr IndexState of(Word word, std::uint32_t total) noexcept {
    return {.first = (word & RM_INDEX_SECOND_ARRAY) != 0 ? total / 2 : 0,
            .shift = static_cast<std::uint32_t>(word) & RM_INDEX_SIZE_MASK,
            .rebuilds = static_cast<std::uint32_t>(word >> RM_INDEX_REBUILDS_SHIFT)};
  }
  /// The two together: nothing if that part is not inside the table.
  [[nodiscard]] static std::optional<IndexState> decode(Word word, std::uint32_t total) noexcept {
    if (!is_valid(word, total)) return std::nullopt;
    return of(word, total);
  }
};

/// With which every domain starts: the smallest index.
inline constexpr Word kSmallestState =
    IndexState{.first = 0,
               .shift = 64 - static_cast<std::uint32_t>(std::countr_zero(kMinIndexEntries)),
               .rebuilds = 0}
        .encode();

}  // namespace resmgr::registry
