// SPDX-License-Identifier: Apache-2.0
//
// The chains of dependency edges, as the writer and the readers of the graph walk them.
//
// What it is: the two chains that each edge is in, described by offsets, and a walk along one. What
// it is not: the graph; see dependencies.hpp. Lifetime: borrows the tables. Thread-safety: the walk
// beside the writer; its result counts if chains_seq stood still meanwhile (see read_chains()).
//
//   std::uint32_t budget = tables.dependencies.count();
//   Walk walk = walk_edges(tables, slot, kNeeds, budget, needed);
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/chains.hpp"
#include "resmgr/registry/entry.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// One of the two chains an edge is in. `here` is the end whose chain it is.
struct Side {
  std::size_t head;
  std::size_t next;
  std::size_t previous;
  std::size_t here;
  std::size_t there;
};

inline constexpr Side kNeeds{.head = offsetof(rm_entry, needs_link),
                             .next = offsetof(rm_dependency, next_needs_link),
                             .previous = offsetof(rm_dependency, prev_needs_link),
                             .here = offsetof(rm_dependency, from),
                             .there = offsetof(rm_dependency, to)};
inline constexpr Side kNeeded{.head = offsetof(rm_entry, needed_link),
                              .next = offsetof(rm_dependency, next_needed_link),
                              .previous = offsetof(rm_dependency, prev_needed_link),
                              .here = offsetof(rm_dependency, to),
                              .there = offsetof(rm_dependency, from)};

/// Appends the other ends of the edges of one resource. Broken if a link or an end can't be; what
/// was appended counts for nothing then. `budget` bounds the records, and is counted down.
[[nodiscard]] inline Walk walk_edges(const Tables& tables, std::uint32_t slot, const Side& side,
                                     std::uint32_t& budget, std::vector<std::uint32_t>& others) {
  const Word* const entry = tables.entries.at(slot);
  if (entry == nullptr) return Walk::Broken;
  return walk_chain(tables.dependencies, load_field<std::uint32_t>(entry, side.head), side.next,
                    budget, [&](const Word* record) {
                      others.push_back(load_field<std::uint32_t>(record, side.there));
                      return load_field<std::uint32_t>(record, side.here) == slot;
                    });
}

/// Slots to handles. Broken where there is no resource: an edge to nobody is not how a writer
/// leaves things.
[[nodiscard]] inline Walk to_handles(const Tables& tables, const std::vector<std::uint32_t>& slots,
                                     std::vector<Handle>& handles) {
  for (const std::uint32_t slot : slots) {
    const Handle handle = live_handle(tables, slot);
    if (handle.is_null()) return Walk::Broken;
    handles.push_back(handle);
  }
  return Walk::Whole;
}

}  // namespace resmgr::registry
