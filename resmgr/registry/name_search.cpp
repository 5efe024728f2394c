// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/name_search.hpp"

#include <optional>

#include "resmgr/base/hash.hpp"
#include "resmgr/base/spin.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_lookup.hpp"
#include "resmgr/registry/names.hpp"

namespace resmgr::registry {
namespace {

enum class Outcome { Found, Absent, Moved };

struct Search {
  Outcome outcome = Outcome::Absent;
  Handle handle;
};

// Compares one candidate of the index.
Search examine(const Tables& tables, std::uint32_t link, std::string_view name) noexcept {
  const Word* const entry = tables.entries.find(link);
  if (entry == nullptr) return {};
  const Word identity = load_acquire(entry[0]);
  if ((identity & kNameIdentityMask) != name.size() || !is_named(entry, name)) return {};
  const Word after = load_acquire(entry[0]);
  // A change of the lifecycle alone is no other resource.
  if (handle_of(link - 1, after) != handle_of(link - 1, identity) ||
      (after & kNameIdentityMask) != name.size()) {
    return {.outcome = Outcome::Moved, .handle = {}};
  }
  const Handle handle = handle_of(link - 1, identity);
  if (handle.is_null()) return {};  // no writer leaves a name with generation 0
  return {.outcome = Outcome::Found, .handle = handle};
}

Search search(const Tables& tables, const IndexState& state, std::uint64_t hash,
              std::string_view name) noexcept {
  const std::uint32_t buckets = state.buckets();
  std::uint32_t bucket = state.home(hash);
  for (std::uint32_t step = 0; step < buckets; ++step, bucket = (bucket + 1) & (buckets - 1)) {
    const Word* const words =
        tables.index + (std::size_t{state.first} + bucket) * RM_INDEX_BUCKET_WORDS;
    bool ends_here = false;
    for (std::size_t i = 0; i < RM_INDEX_BUCKET_WORDS; ++i) {
      const Word word = load_acquire(words[i]);
      const auto link = static_cast<std::uint32_t>(word);
      if (word == 0) ends_here = true;
      if (word != index_word(hash, link)) continue;
      const Search candidate = examine(tables, link, name);
      if (candidate.outcome != Outcome::Absent) return candidate;
    }
    if (ends_here) break;
  }
  return {};
}

}  // namespace

bool is_named(const Word* entry, std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
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

Result<Handle> find_name(const Tables& tables, std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxNameBytes) return fail(ErrorCode::InvalidName);
  const std::uint64_t hash = hash_bytes(name, tables.name_seed);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const Word word = load_acquire(tables.root->index_state);
    const auto state = IndexState::decode(word, tables.index_buckets);
    if (!state) return fail(ErrorCode::InvalidArgument, "damaged name index");
    const Search result = search(tables, *state, hash, name);
    if (result.outcome == Outcome::Found) return result.handle;
    // An index that was replaced meanwhile may have been cleared under the search.
    if (result.outcome == Outcome::Absent && load_acquire(tables.root->index_state) == word) {
      // What is registered is valid, so validity is worth a look only now.
      return fail(is_in_alphabet(name) ? ErrorCode::NotFound : ErrorCode::InvalidName);
    }
    cpu_relax();
  }
  return fail(ErrorCode::WouldBlock, "the name index is being rebuilt");
}

}  // namespace resmgr::registry
