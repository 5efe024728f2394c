// SPDX-License-Identifier: Apache-2.0
//
// The fast half of a look-up by name: straight-line code for short names.
//
// What it is: one line of the index, compared word by word without a branch in between. What costs
// is the way from the name to the verdict: the next look-up begins before this one is through, if
// few enough instructions hang on the loads, and none of the branches is mispredicted. So it looks
// at a name's home alone, and answers only what it is sure of. What it is not: an answer to
// everything. Names that are elsewhere or not there, cells that just change, and an index that was
// replaced give no handle, and the caller asks find_handle(), which searches on and retries.
// Lifetime: borrows the tables. Thread-safety: any number of readers beside the writer; no lock, no
// store.
//
//   const Handle handle = find_at_home<2>(tables, tables.current->part(), "gpu0/frame/3");
//   return !handle.is_null() ? handle : find_handle(tables, "gpu0/frame/3");
#pragma once

#include <cstddef>
#include <string_view>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/current_index.hpp"
#include "resmgr/registry/name_key.hpp"
#include "resmgr/registry/records.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// The words of a cell.
enum CellWord : std::size_t { kIdentity = 0, kFirst = 1, kLast = 2, kMiddle = 3 };

/// What a cell says of a published resource.
[[nodiscard]] inline Word cell_identity(Handle handle, std::size_t name_bytes) noexcept {
  return handle.bits() | name_bytes;
}
[[nodiscard]] inline Handle cell_handle(Word identity) noexcept {
  return Handle::from_bits(identity & ~Word{RM_INDEX_NAME_MASK});
}

/// Which bits of a cell's words differ from a name of up to `Words` words of 8 bytes;
/// `handle_bits` are the cell's first word with the name's length taken out by exclusive or.
template <int Words>
[[nodiscard]] inline Word cell_difference(const Word* cell, Word handle_bits,
                                          const NameKey& key) noexcept {
  Word difference = handle_bits & RM_INDEX_NAME_MASK;
  difference |= load_acquire(cell[kFirst]) ^ key.first;
  difference |= load_acquire(cell[kLast]) ^ key.last;
  if constexpr (Words == 3) difference |= load_acquire(cell[kMiddle]) ^ key.middle;
  return difference;
}

/// The cell of a line that may be a key's. Names whose last words are equal seldom share a line;
/// then the second of them is not found here.
[[nodiscard]] inline const Word* likely_cell(const Word* line, const NameKey& key) noexcept {
  // Computed, for a branch would be mispredicted every other time.
  return line + static_cast<std::size_t>(load_acquire(line[kLast]) != key.last) * kCellWords;
}

/// Asks for the memory of a key's home.
inline void prefetch_home(const Tables& tables, const NameKey& key) noexcept {
  // Who registers looks nothing up, so nobody else may have noticed that the index grew.
  if (tables.current->part().state != load_acquire(*tables.index_state)) tables.current->refresh();
  __builtin_prefetch(tables.current->part().line(key.hash));
}

/// Looks for a name of up to `Words` words at its home in `part` alone: the handle, or the null one
/// where that is not the end of it, as it is when `part` is not in use any more.
/// REQUIRES: is_of_words<Words>(name).
template <int Words>
[[nodiscard, gnu::always_inline]] inline Handle find_at_home(const Tables& tables,
                                                             const IndexPart& part,
                                                             std::string_view name) noexcept {
  const NameKey key = short_key<Words>(name, tables.secrets);
  const Word* const cell = likely_cell(part.line(key.hash), key);
  const Word identity = load_acquire(cell[kIdentity]);
  const Word handle_bits = identity ^ name.size();
  if (cell_difference<Words>(cell, handle_bits, key) != 0) return {};
  // The words belong to that identity only if it was there before and after. In an index that is
  // rebuilt it can come back, after another name's words were there.
  if (load_acquire(cell[kIdentity]) != identity ||
      load_acquire(*tables.index_state) != part.state || identity >= tables.identity_end)
      [[unlikely]] {
    return {};
  }
  return Handle::from_bits(handle_bits);
}

}  // namespace resmgr::registry
