// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/name_index.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/registry/name_lookup.hpp"
#include "resmgr/registry/name_search.hpp"

namespace resmgr::registry {
namespace {

bool is_free(Word identity) noexcept { return identity == 0 || identity == RM_INDEX_TOMBSTONE; }

// Whether both are of one resource, whatever they say of its name.
bool same_handle(Word identity, Word other) noexcept {
  return ((identity ^ other) & ~Word{RM_INDEX_NAME_MASK}) == 0;
}

std::size_t name_bytes_of(Word identity) noexcept {
  return identity & RM_INDEX_NAME_MASK & ~Word{RM_INDEX_UNPUBLISHED};
}

std::uint32_t shift_for(std::uint32_t cells) noexcept {
  return 64 - static_cast<std::uint32_t>(std::countr_zero(cells));
}

}  // namespace

NameIndex::NameIndex(const Tables& tables) noexcept
    : tables_(tables),
      known_word_(kSmallestState),
      known_state_(IndexState::of(kSmallestState, tables.index.count())) {}

const IndexState& NameIndex::state() noexcept {
  const Word word = load_relaxed(*tables_.index_state);
  if (word != known_word_) [[unlikely]] {
    // Only a region that was damaged from outside has no valid state; its names are lost then.
    const std::uint32_t total = tables_.index.count();
    known_word_ = word;
    known_state_ = IndexState::of(IndexState::is_valid(word, total) ? word : kSmallestState, total);
  }
  return known_state_;
}

Word* NameIndex::cell(const IndexState& state, std::uint32_t place) const noexcept {
  return tables_.index.at(state.first + place);
}

bool NameIndex::contains(const NameKey& key, std::string_view name) noexcept {
  return contains_in(state(), key, name);
}

bool NameIndex::contains_in(const IndexState& state, const NameKey& key,
                            std::string_view name) const noexcept {
  return find_in(state, key.hash, [&](const Word* words, Word identity) {
           // Prepared or published: a name is taken once.
           return is_cell_of(tables_, words, identity & ~Word{RM_INDEX_UNPUBLISHED}, key, name);
         }) != nullptr;
}

template <typename IsIt>
Word* NameIndex::find_in(const IndexState& state, std::uint64_t hash, IsIt&& is_it) const noexcept {
  const std::uint32_t cells = state.cells();
  std::uint32_t place = state.home(hash);
  for (std::uint32_t step = 0; step < cells; ++step, place = (place + 1) & (cells - 1)) {
    Word* const words = cell(state, place);
    const Word identity = load_relaxed(words[kIdentity]);
    if (identity == 0) break;
    if (is_it(words, identity)) return words;
  }
  return nullptr;
}

Word* NameIndex::find_cell(std::uint64_t name_hash, Handle handle) noexcept {
  return find_in(state(), name_hash,
                 [&](const Word*, Word identity) { return same_handle(identity, handle.bits()); });
}

void NameIndex::place(const IndexState& state, const NameKey& key, Word identity) const noexcept {
  const std::uint32_t cells = state.cells();
  std::uint32_t place = state.home(key.hash);
  for (std::uint32_t step = 0; step < cells; ++step, place = (place + 1) & (cells - 1)) {
    Word* const words = cell(state, place);
    const Word present = load_relaxed(words[kIdentity]);
    if (!is_free(present)) continue;
    store_release(words[kFirst], key.first);
    store_release(words[kLast], key.last);
    store_release(words[kMiddle], key.middle);
    store_release(words[kIdentity], identity);
    if (present == RM_INDEX_TOMBSTONE) count_tombstones(-1);
    return;
  }
}

void NameIndex::count_tombstones(int more) const noexcept {
  store_release(tables_.root->index_tombstones,
                load_relaxed(tables_.root->index_tombstones) + static_cast<std::uint32_t>(more));
}

IndexState NameIndex::clear_other_half(std::uint32_t cells) noexcept {
  const IndexState& now = state();
  const std::uint32_t count = std::clamp(cells, kMinIndexEntries, half_cells());
  const IndexState next{.first = now.first == 0 ? half_cells() : 0,
                        .shift = shift_for(count),
                        .rebuilds = now.rebuilds + 1};
  Word* const words = cell(next, 0);
  reserve(tables_, words, std::size_t{count} * sizeof(rm_index_cell));
  for (std::size_t i = 0; i < count; ++i) store_release(words[i * kCellWords], Word{0});
  return next;
}

void NameIndex::publish(const IndexState& state, std::uint32_t names) const noexcept {
  // Readers that still search the old half learn of it here, before that half is cleared again.
  store_release(tables_.root->index_state, state.encode());
  store_release(tables_.root->index_names, names);
  store_release(tables_.root->index_tombstones, 0);
}

void NameIndex::make_room() noexcept {
  const IndexState now = state();
  const std::uint32_t cells = now.cells();
  const std::uint32_t names = load_relaxed(tables_.root->index_names);
  const std::uint32_t tombstones = load_relaxed(tables_.root->index_tombstones);
  const bool can_grow = cells < half_cells();
  // At full size up to 9/16 are names; what is above is for tombstones, so that rebuilding stays
  // rare.
  const std::uint32_t limit = can_grow ? index_is_full_at(cells) : cells / 4 * 3;
  if (names + tombstones < limit) return;

  const bool crowded = names >= limit / 2;
  const IndexState next = clear_other_half(crowded && can_grow ? cells * 2 : cells);
  // Homes are the upper bits of the hash, so this goes through both halves in order.
  std::uint32_t moved = 0;
  for (std::uint32_t i = 0; i < cells; ++i) {
    const Word* const words = cell(now, i);
    const Word identity = load_relaxed(words[kIdentity]);
    if (is_free(identity)) continue;
    NameKey key{.first = words[kFirst], .last = words[kLast], .middle = words[kMiddle], .hash = 0};
    key.hash = name_hash(key.first, key.last, key.middle, name_bytes_of(identity), tables_.secrets);
    place(next, key, identity);
    ++moved;
  }
  publish(next, moved);
}

void NameIndex::insert(const NameKey& key, Handle handle, std::size_t name_bytes) noexcept {
  make_room();
  place(state(), key, cell_identity(handle, name_bytes) | RM_INDEX_UNPUBLISHED);
  bump(tables_.root->index_names);
}

void NameIndex::publish(std::uint64_t name_hash, Handle handle) noexcept {
  Word* const words = find_cell(name_hash, handle);
  if (words == nullptr) return;
  store_release(words[kIdentity], load_relaxed(words[kIdentity]) & ~Word{RM_INDEX_UNPUBLISHED});
}

void NameIndex::erase(std::uint64_t name_hash, Handle handle) noexcept {
  Word* const words = find_cell(name_hash, handle);
  if (words == nullptr) return;
  const IndexState now = state();
  const std::uint32_t mask = now.cells() - 1;
  auto place =
      static_cast<std::uint32_t>(words - cell(now, 0)) / static_cast<std::uint32_t>(kCellWords);
  store_release(words[kIdentity], RM_INDEX_TOMBSTONE);
  count_tombstones(+1);
  store_release(tables_.root->index_names, load_relaxed(tables_.root->index_names) - 1);
  // No search goes on behind the last cell of a row, so there tombstones can become free.
  if (load_relaxed(cell(now, (place + 1) & mask)[kIdentity]) != 0) return;
  for (Word* last = words; load_relaxed(last[kIdentity]) == RM_INDEX_TOMBSTONE;
       last = cell(now, place)) {
    store_release(last[kIdentity], Word{0});
    count_tombstones(-1);
    place = (place - 1) & mask;
  }
}

void NameIndex::rebuild(std::vector<bool>& live) noexcept {
  const auto most = static_cast<std::uint32_t>(std::ranges::count(live, true));
  std::uint32_t cells = kMinIndexEntries;
  while (cells < half_cells() && index_is_full_at(cells) <= most) cells *= 2;
  const IndexState next = clear_other_half(cells);
  std::uint32_t names = 0;
  for (std::uint32_t slot = 0; slot < live.size(); ++slot) {
    if (!live[slot]) continue;
    const auto entry = load_record<rm_entry>(tables_.entries.at(slot));
    const std::string_view name(entry.name, entry.name_bytes);
    const NameKey key = name_key(name, tables_.secrets);
    live[slot] = !contains_in(next, key, name);
    if (!live[slot]) continue;
    place(next, key, cell_identity(Handle(slot, entry.generation), name.size()));
    ++names;
  }
  publish(next, names);
}

}  // namespace resmgr::registry
