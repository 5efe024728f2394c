// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/name_search.hpp"

#include "resmgr/abi/names.hpp"
#include "resmgr/base/hash.hpp"
#include "resmgr/base/spin.hpp"
#include "resmgr/registry/name_lookup.hpp"

namespace resmgr::registry {
namespace {

using Outcome = Search::Outcome;

// Compares one cell that is not free.
Search examine(const Tables& tables, const Word* cell, Word identity, const NameKey& key,
               std::string_view name) noexcept {
  if (!is_cell_of(tables, cell, identity, key, name)) return {};
  if (load_acquire(cell[kIdentity]) != identity) {
    return {.outcome = Outcome::Moved, .handle = {}};
  }
  const Handle handle = cell_handle(identity);
  // No writer leaves a name with generation 0, or with a slot that is not there.
  if (handle.is_null() || identity >= tables.identity_end) return {};
  return {.outcome = Outcome::Found, .handle = handle};
}

Search search_row(const Tables& tables, const IndexState& state, const NameKey& key,
                  std::string_view name) noexcept {
  const std::uint32_t cells = state.cells();
  std::uint32_t place = state.home(key.hash);
  for (std::uint32_t step = 0; step < cells; ++step, place = (place + 1) & (cells - 1)) {
    const Word* const cell = tables.index.at(state.first + place);
    if (cell == nullptr) break;
    const Word identity = load_acquire(cell[kIdentity]);
    if (identity == 0) break;
    const Search candidate = examine(tables, cell, identity, key, name);
    if (candidate.outcome != Outcome::Absent) return candidate;
  }
  return {};
}

// Until the writer does not come between. REQUIRES: a name of 1 to kMaxNameBytes.
Search search(const Tables& tables, std::string_view name) noexcept {
  const NameKey key = name_key(name, tables.secrets);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const Word word = load_acquire(*tables.index_state);
    const auto state = IndexState::decode(word, tables.index.count());
    if (!state) return {.outcome = Outcome::Damaged, .handle = {}};
    if (tables.current->part().state != word) tables.current->refresh();
    const Search result = search_once(tables, word, *state, key, name);
    if (result.outcome != Outcome::Moved) return result;
    cpu_relax();
  }
  return {.outcome = Outcome::Moved, .handle = {}};
}

}  // namespace

bool is_named(const Word* entry, std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
  if (load_field<std::uint8_t>(entry, 0) != name.size()) return false;
  const Word* word = entry + 1;
  Word difference = 0;
  const char* text = name.data();
  std::size_t left = name.size();
  for (; left > kWordBytes; text += kWordBytes, left -= kWordBytes) {
    difference |= load_acquire(*word++) ^ load_word(text);
  }
  // The last word may begin inside the one before: its bytes are taken from the whole name.
  difference |= load_acquire(*word) ^ load_last_word(name.data(), name.size());
  return difference == 0;
}

bool is_cell_of(const Tables& tables, const Word* cell, Word identity, const NameKey& key,
                std::string_view name) noexcept {
  if (cell_difference<3>(cell, identity ^ name.size(), key) != 0) return false;
  if (name.size() <= kCellNameBytes) return true;
  const Word* const entry = tables.entries.at(cell_handle(identity).slot());
  return entry != nullptr && is_named(entry, name);
}

Search search_once(const Tables& tables, Word word, const IndexState& state, const NameKey& key,
                   std::string_view name) noexcept {
  const Search result = search_row(tables, state, key, name);
  // An index that was replaced meanwhile may have been cleared under the search, and filled again:
  // with the same name and handle in a cell, and others in between.
  if (load_acquire(*tables.index_state) != word) return {.outcome = Outcome::Moved, .handle = {}};
  return result;
}

Handle find_handle(const Tables& tables, std::string_view name) noexcept {
  if (is_of_words<3>(name)) {
    const Handle handle = find_at_home<3>(tables, tables.current->part(), name);
    if (!handle.is_null()) [[likely]]
      return handle;
  }
  if (name.empty() || name.size() > kMaxNameBytes) return {};
  return search(tables, name).handle;
}

Result<Handle> find_name(const Tables& tables, std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxNameBytes) return fail(ErrorCode::InvalidName);
  const Search result = search(tables, name);
  switch (result.outcome) {
    case Outcome::Found:
      return result.handle;
    // What is registered is valid, so validity is worth a look only now.
    case Outcome::Absent:
      return fail(is_in_alphabet(name) ? ErrorCode::NotFound : ErrorCode::InvalidName);
    case Outcome::Moved:
      break;
    case Outcome::Damaged:
      return fail(ErrorCode::InvalidArgument, "damaged name index");
  }
  return fail(ErrorCode::WouldBlock, "the name index is being rebuilt");
}

}  // namespace resmgr::registry
