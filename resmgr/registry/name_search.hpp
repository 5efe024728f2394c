// SPDX-License-Identifier: Apache-2.0
//
// The thorough half of a look-up by name.
//
// What it is: a search along the index until a free cell, which compares every candidate, and the
// retries that running beside a writer takes. All loops are bounded by the capacity, whatever the
// region contains. What it is not: the first attempt; that is name_lookup.hpp.
// Lifetime: borrows the tables. Thread-safety: any number of readers beside the writer.
//
//   Result<Handle> handle = find_name(tables, "gpu0/frame/3");
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_key.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// How often a reader starts over when a writer changed what it was reading.
inline constexpr int kMaxAttempts = 64;

/// Whether the entry is named `name`. The bytes are each current; who needs them to belong together
/// reads the entry's first word before and after.
[[nodiscard]] bool is_named(const Word* entry, std::string_view name) noexcept;

/// Whether the cell, whose first word is `identity`, is that of `name`: in the cell alone, or for a
/// long name in the entry too. True only means something if the first word is the same after.
[[nodiscard]] bool is_cell_of(const Tables& tables, const Word* cell, Word identity,
                              const NameKey& key, std::string_view name) noexcept;

/// What one search along the index found out.
struct Search {
  enum class Outcome {
    Found,
    Absent,
    Moved,    ///< the writer came between: neither found nor absent
    Damaged,  ///< no index to search in
  };
  Outcome outcome = Outcome::Absent;
  Handle handle;  ///< if Found, else null
};

/// Searches the index of `state`, the decoded form of `word`. Both Found and Absent mean that this
/// index was in use all the time.
[[nodiscard]] Search search_once(const Tables& tables, Word word, const IndexState& state,
                                 const NameKey& key, std::string_view name) noexcept;

/// The resource of that name, null if find_name() has an error for it.
[[nodiscard]] Handle find_handle(const Tables& tables, std::string_view name) noexcept;

/// The resource of that name. Errors: NotFound, InvalidName, InvalidArgument (damaged index),
/// WouldBlock (the writer changed the index at each of kMaxAttempts attempts).
[[nodiscard]] Result<Handle> find_name(const Tables& tables, std::string_view name) noexcept;

}  // namespace resmgr::registry
