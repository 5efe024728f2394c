// SPDX-License-Identifier: Apache-2.0
//
// The fast half of a look-up by name: straight-line code for names of up to 32 bytes.
//
// What it is: a bucket of the index, one line of one entry, compared word by word without a branch
// in between, because a mispredicted one costs as much as all the rest. It answers only what
// it is sure of. What it is not: an answer to everything. Collisions, long names, names that are
// not there and entries that just change give the null handle, and the caller asks find_name(),
// which searches on and retries. Lifetime: borrows the tables. Thread-safety: any number of readers
// beside the writer; no lock, no store.
//
//   Handle handle = find_name_at_home(tables, "gpu0/frame/3");
//   if (handle.is_null()) ...
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "resmgr/abi/layout.h"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/hash.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/records.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// What must hold of an entry's first word for a name of `bytes`: that length, and published.
inline constexpr Word kNameIdentityMask = 0xff | Word{RM_STATE_UNPUBLISHED} << 8;

/// Buckets that the fast half looks at; nearly all names are in the first, one in ten in the
/// second.
inline constexpr int kInlineBuckets = 4;

/// The handle that an entry's first word stands for.
[[nodiscard]] inline Handle handle_of(std::uint32_t slot, Word identity) noexcept {
  return {slot, static_cast<std::uint32_t>(identity >> 32)};
}

template <std::size_t Count>
[[nodiscard]] inline Handle find_words_at_home(const Tables& tables,
                                               std::string_view name) noexcept {
  std::array<Word, Count> words;
  WordHash hash(tables.name_seed, name.size());
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((words[I] = load_word(name.data() + 8 * I)), ...);
  }(std::make_index_sequence<Count - 1>());
  words[Count - 1] = load_last_word(name.data(), name.size());
  if constexpr (Count >= 2) hash.pair(words[0], words[1]);
  if constexpr (Count >= 4) hash.pair(words[2], words[3]);
  if constexpr (Count % 2 != 0) hash.last(words[Count - 1]);

  const Word state = load_acquire(tables.root->index_state);
  const Word key = index_word(hash.value(), 0);
  std::uint64_t bucket = (hash.value() >> (state & 63)) + (state >> RM_INDEX_FIRST_SHIFT);
  for (int step = 0; step < kInlineBuckets; ++step, ++bucket) {
    if (bucket >= tables.index_buckets) [[unlikely]]
      return {};
    const Word* const pair = tables.index + bucket * RM_INDEX_BUCKET_WORDS;
    // The word of equal hash becomes its link alone, which is less than any other can be.
    const Word first = load_acquire(pair[0]) ^ key;
    const Word second = load_acquire(pair[1]) ^ key;
    const std::uint64_t slot = (first < second ? first : second) - 1;
    if (slot >= tables.entries.count()) [[unlikely]] {
      if (first == key || second == key) return {};  // a free word: the search would end here
      continue;
    }

    const Word* const entry = tables.entries.at(static_cast<std::uint32_t>(slot));
    const Word identity = load_acquire(entry[0]);
    Word difference = (identity & kNameIdentityMask) ^ name.size();
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((difference |= load_acquire(entry[1 + I]) ^ words[I]), ...);
    }(std::make_index_sequence<Count>());
    // The words belong to that identity only if it was there before and after.
    if (difference != 0 || load_acquire(entry[0]) != identity) [[unlikely]]
      return {};
    return handle_of(static_cast<std::uint32_t>(slot), identity);
  }
  return {};
}

/// The resource of that name if the fast half finds it, else the null handle.
[[nodiscard]] inline Handle find_name_at_home(const Tables& tables,
                                              std::string_view name) noexcept {
  const std::size_t words = (name.size() + 7) / 8;
  if (words == 2) return find_words_at_home<2>(tables, name);
  if (words == 3) return find_words_at_home<3>(tables, name);
  if (words == 4) return find_words_at_home<4>(tables, name);
  if (words == 1) return find_words_at_home<1>(tables, name);
  return {};
}

}  // namespace resmgr::registry
