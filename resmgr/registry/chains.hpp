// SPDX-License-Identifier: Apache-2.0
//
// Chains of records (pairs, shares, dependency edges), read beside the writer.
//
// What it is: the retry loop around a walk, and a walk that no damage makes endless. A record that
// left its chain is not used again before chains_seq was bumped; a walk during which chains_seq
// stood still saw only records of its own chain. What it is not: an interpretation of records.
// Lifetime: borrows the tables. Thread-safety: any number of readers beside the writer.
//
//   auto ok = read_chains(tables, [&] { found.clear(); return walk(found); });
#pragma once

#include <cstddef>
#include <cstdint>

#include "resmgr/base/error.hpp"
#include "resmgr/base/spin.hpp"
#include "resmgr/registry/name_search.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// What a walk found the chains to be like.
enum class Walk {
  Whole,   ///< as it should be
  Stale,   ///< the resource it is about is gone
  Broken,  ///< links that can't be: damage, or a change meanwhile
};

/// Repeats `walk` until no record left a chain while it ran. Errors: StaleHandle, InvalidArgument
/// (damaged chains), WouldBlock (the writer changed chains during each of kMaxAttempts attempts, or
/// is in the middle of a Change).
template <typename WalkFunction>
[[nodiscard]] Result<void> read_chains(const Tables& tables, WalkFunction&& walk) {
  bool moved = false;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const std::uint32_t before = load_acquire(tables.root->chains_seq);
    const Walk outcome = walk();
    moved = load_acquire(tables.root->chains_seq) != before;
    if (outcome == Walk::Stale) return fail(ErrorCode::StaleHandle);
    if (outcome == Walk::Whole && !moved) return {};
    cpu_relax();
  }
  // Where a resource comes or goes, one chain of an edge is ahead of the other.
  const bool changing = (load_acquire(tables.root->changes_seq) & 1u) != 0;
  return moved || changing ? fail(ErrorCode::WouldBlock, "the registry is being changed")
                           : fail(ErrorCode::InvalidArgument, "damaged chain in the registry");
}

/// Follows one chain from `link`: calls `visit(record)` for each record, which returns whether the
/// record belongs there, and reads the next link at byte `next_offset`. Whole unless a link leads
/// nowhere, `visit` refused, or `budget` records were not the end; `budget` is counted down.
template <typename T, typename Visit>
[[nodiscard]] Walk walk_chain(const Records<T>& records, std::uint32_t link,
                              std::size_t next_offset, std::uint32_t& budget, Visit&& visit) {
  while (link != 0) {
    const Word* const record = records.find(link);
    if (record == nullptr || budget == 0) return Walk::Broken;
    --budget;
    if (!visit(record)) return Walk::Broken;
    link = load_field<std::uint32_t>(record, next_offset);
  }
  return Walk::Whole;
}

}  // namespace resmgr::registry
