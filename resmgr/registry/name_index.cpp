// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/name_index.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "resmgr/abi/layout.h"
#include "resmgr/base/hash.hpp"
#include "resmgr/registry/name_search.hpp"

namespace resmgr::registry {
namespace {

constexpr std::uint32_t kSmallestBuckets = kMinIndexEntries / RM_INDEX_BUCKET_WORDS;

bool is_free(Word word) noexcept { return word == 0 || word == RM_INDEX_TOMBSTONE; }

std::uint32_t shift_for(std::uint32_t buckets) noexcept {
  return 64 - static_cast<std::uint32_t>(std::countr_zero(buckets));
}

}  // namespace

IndexState NameIndex::state() const noexcept {
  // Only a region that was damaged from outside has no valid state; its names are lost then.
  constexpr IndexState kSmallest{.first = 0, .shift = kMinIndexShift, .rebuilds = 0};
  return IndexState::decode(load_relaxed(tables_.root->index_state), tables_.index_buckets)
      .value_or(kSmallest);
}

Word* NameIndex::bucket_words(const IndexState& state, std::uint32_t bucket) const noexcept {
  return tables_.index + (std::size_t{state.first} + bucket) * RM_INDEX_BUCKET_WORDS;
}

void NameIndex::prefetch(std::uint64_t hash) const noexcept {
  const IndexState now = state();
  __builtin_prefetch(bucket_words(now, now.home(hash)), 1);
}

std::uint32_t NameIndex::find(std::uint64_t hash, std::string_view name) const noexcept {
  return find_in(state(), hash, name);
}

std::uint32_t NameIndex::find_in(const IndexState& now, std::uint64_t hash,
                                 std::string_view name) const noexcept {
  const std::uint32_t buckets = now.buckets();
  std::uint32_t bucket = now.home(hash);
  for (std::uint32_t step = 0; step < buckets; ++step, bucket = (bucket + 1) & (buckets - 1)) {
    const Word* const words = bucket_words(now, bucket);
    bool ends_here = false;
    for (std::size_t i = 0; i < RM_INDEX_BUCKET_WORDS; ++i) {
      const Word word = load_relaxed(words[i]);
      const auto link = static_cast<std::uint32_t>(word);
      if (word == 0) ends_here = true;
      if (word != index_word(hash, link)) continue;
      const Word* const entry = tables_.entries.find(link);
      if (entry != nullptr && load_field<std::uint8_t>(entry, 0) == name.size() &&
          is_named(entry, name)) {
        return link;
      }
    }
    if (ends_here) break;
  }
  return 0;
}

void NameIndex::place(const IndexState& state, Word word) const noexcept {
  const std::uint32_t buckets = state.buckets();
  std::uint32_t bucket = state.home(word);
  for (std::uint32_t step = 0; step < buckets; ++step, bucket = (bucket + 1) & (buckets - 1)) {
    Word* const words = bucket_words(state, bucket);
    for (std::size_t i = 0; i < RM_INDEX_BUCKET_WORDS; ++i) {
      const Word present = load_relaxed(words[i]);
      if (!is_free(present)) continue;
      store_release(words[i], word);
      if (present == RM_INDEX_TOMBSTONE) {
        store_release(tables_.root->index_tombstones,
                      load_relaxed(tables_.root->index_tombstones) - 1);
      }
      return;
    }
  }
}

IndexState NameIndex::clear_other_half(std::uint32_t buckets) const noexcept {
  const IndexState now = state();
  const std::uint32_t count = std::clamp(buckets, kSmallestBuckets, half_buckets());
  const IndexState next{.first = now.first == 0 ? half_buckets() : 0,
                        .shift = shift_for(count),
                        .rebuilds = now.rebuilds + 1};
  Word* const words = bucket_words(next, 0);
  for (std::size_t i = 0; i < std::size_t{count} * RM_INDEX_BUCKET_WORDS; ++i) {
    store_release(words[i], Word{0});
  }
  return next;
}

void NameIndex::publish(const IndexState& state, std::uint32_t names) const noexcept {
  // Readers that still search the old half learn of it here, before that half is cleared again.
  store_release(tables_.root->index_state, state.encode());
  store_release(tables_.root->index_names, names);
  store_release(tables_.root->index_tombstones, 0);
}

void NameIndex::make_room(const IndexState& now) noexcept {
  const std::uint32_t words = now.buckets() * RM_INDEX_BUCKET_WORDS;
  const std::uint32_t names = load_relaxed(tables_.root->index_names);
  const std::uint32_t tombstones = load_relaxed(tables_.root->index_tombstones);
  const bool can_grow = now.buckets() < half_buckets();
  // At full size it may be half full of names; the quarter above is for tombstones, so that
  // rebuilding stays rare.
  const std::uint32_t limit = can_grow ? words / 2 : words / 4 * 3;
  if (names + tombstones < limit) return;

  const bool crowded = names >= words / 4;
  const IndexState next = clear_other_half(crowded && can_grow ? now.buckets() * 2 : now.buckets());
  // Homes are the upper bits of the hash, so this goes through both halves in order.
  const Word* const old = bucket_words(now, 0);
  std::uint32_t moved = 0;
  for (std::uint32_t i = 0; i < words; ++i) {
    const Word word = load_relaxed(old[i]);
    if (is_free(word)) continue;
    place(next, word);
    ++moved;
  }
  publish(next, moved);
}

void NameIndex::insert(std::uint64_t hash, std::uint32_t link) noexcept {
  make_room(state());
  place(state(), index_word(hash, link));
  bump(tables_.root->index_names);
}

void NameIndex::erase(std::uint64_t hash, std::uint32_t link) noexcept {
  const IndexState now = state();
  const Word wanted = index_word(hash, link);
  const std::uint32_t buckets = now.buckets();
  std::uint32_t bucket = now.home(hash);
  for (std::uint32_t step = 0; step < buckets; ++step, bucket = (bucket + 1) & (buckets - 1)) {
    Word* const words = bucket_words(now, bucket);
    bool ends_here = false;
    Word* found = nullptr;
    for (std::size_t i = 0; i < RM_INDEX_BUCKET_WORDS; ++i) {
      const Word word = load_relaxed(words[i]);
      if (word == 0) ends_here = true;
      if (word == wanted) found = &words[i];
    }
    if (found != nullptr) {
      // No search passes a bucket with a free word, so there it can become free as well.
      store_release(*found, ends_here ? Word{0} : RM_INDEX_TOMBSTONE);
      if (!ends_here) bump(tables_.root->index_tombstones);
      store_release(tables_.root->index_names, load_relaxed(tables_.root->index_names) - 1);
      return;
    }
    if (ends_here) return;
  }
}

void NameIndex::rebuild(std::vector<bool>& live) noexcept {
  const auto most = static_cast<std::uint32_t>(std::ranges::count(live, true));
  const IndexState next = clear_other_half(std::bit_ceil(most + 1));
  std::uint32_t names = 0;
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    if (!live[slot]) continue;
    const auto entry = load_record<rm_entry>(tables_.entries.at(slot));
    const std::string_view name(entry.name, entry.name_bytes);
    const std::uint64_t hash = hash_bytes(name, tables_.name_seed);
    live[slot] = find_in(next, hash, name) == 0;
    if (!live[slot]) continue;
    place(next, index_word(hash, slot + 1));
    ++names;
  }
  publish(next, names);
}

}  // namespace resmgr::registry
