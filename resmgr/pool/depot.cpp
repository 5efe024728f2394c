// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/depot.hpp"

#include <algorithm>
#include <bit>

#include "resmgr/pool/planted_bug.hpp"

namespace resmgr::pool {
namespace {

constexpr std::uint32_t kRun = RM_POOL_RUN_GROUPS;

constexpr std::uint32_t kWholeGroup = ~std::uint32_t{0};

// Four at a time: nobody looks at the tags of blocks that are in the depot.
void tag_group(std::uint16_t* tags, std::uint16_t tag) noexcept {
  void* const line = tags;
  auto* const words = static_cast<TagWord*>(line);
  const TagWord four = tag * TagWord{0x0001'0001'0001'0001};
  for (unsigned i = 0; i < RM_POOL_GROUP_BLOCKS / kTagsAWord; ++i) {
    __atomic_store_n(&words[i], four, __ATOMIC_RELAXED);
  }
}

constexpr std::uint32_t lowest_bits(std::uint32_t bits, std::size_t count) noexcept {
  std::uint32_t chosen = 0;
  if (static_cast<std::size_t>(std::popcount(bits)) <= count) return bits;
  for (; count != 0; --count) {
    const std::uint32_t lowest = bits & (~bits + 1);
    chosen |= lowest;
    bits &= ~lowest;
  }
  return chosen;
}

}  // namespace

// The claim acquires what those released who gave these blocks back: what they wrote into them was
// before. Its end releases the tags, for who reads the bits and then the tags (recovery).
Depot::Look Depot::take_from(std::uint32_t group, Owner owner, std::span<TakenBlock> out,
                             std::uint32_t limit, std::uint32_t& count) const noexcept {
  std::uint64_t& word = t_.words[group];
  std::uint64_t seen = load_relaxed(word);
  std::uint32_t room = 0;
  for (int attempts = kAttempts;; --attempts) {
    room = ~taken_in(seen) & valid(group, limit);
    if (room == 0) return Look::Empty;
    if (claimant_of(seen) != 0 || attempts == 0) return Look::Busy;
    if (atomic(word).compare_exchange_weak(seen, seen | claim_of(owner), std::memory_order_acquire,
                                           std::memory_order_relaxed)) {
      break;
    }
  }
  const std::uint32_t chosen = lowest_bits(room, out.size() - count);
  if (planted::kTagAfterBit) atomic(word).fetch_or(chosen, std::memory_order_relaxed);
  const std::uint32_t first = group * RM_POOL_GROUP_BLOCKS;
  const std::uint16_t tag = cached_tag(owner);
  TakenBlock* next = out.data() + count;
  if (chosen == kWholeGroup) {
    tag_group(&t_.tags[first], tag);
    for (std::uint32_t number = first; number < first + RM_POOL_GROUP_BLOCKS; ++number) {
      *next++ = {.block = t_.block(number), .tag = &t_.tags[number]};
    }
  } else {
    for (std::uint32_t left = chosen; left != 0; left &= left - 1) {
      const std::uint32_t number = first + static_cast<std::uint32_t>(std::countr_zero(left));
      store_relaxed(t_.tags[number], tag);
      *next++ = {.block = t_.block(number), .tag = &t_.tags[number]};
    }
  }
  count += static_cast<std::uint32_t>(std::popcount(chosen));
  // The claimant's name and the bits are as the claim left them: nobody else changes those.
  const std::uint64_t ended = claim_of(owner) | (planted::kTagAfterBit ? 0 : chosen);
  atomic(word).fetch_xor(ended, std::memory_order_release);
  return Look::Took;
}

std::uint32_t Depot::take(Owner owner, std::span<TakenBlock> out,
                          std::uint32_t& cursor) const noexcept {
  const std::uint32_t limit = this->limit();
  const std::uint32_t groups = groups_below(limit);
  if (groups == 0 || out.empty()) return 0;
  std::uint32_t group = cursor < groups ? cursor : 0;
  std::uint32_t count = 0;
  // Other processors have these lines: they come while the first words are waited for.
  __builtin_prefetch(&t_.words[group], 1);
  for (std::size_t i = 0; i < out.size() / RM_POOL_GROUP_BLOCKS && group + i < groups; ++i) {
    __builtin_prefetch(&t_.tags[(group + i) * RM_POOL_GROUP_BLOCKS], 1);
  }
  bool empty_run = group % kRun == 0;
  // Once around, but not on and on for the rest of what is wanted.
  for (std::uint32_t left = groups; left != 0 && (count == 0 || left + kRun > groups);) {
    if (group % kRun == 0 && is_full(group / kRun)) {
      const std::uint32_t skipped = std::min({kRun, groups - group, left});
      left -= skipped;
      group += skipped;
    } else {
      const Look look = take_from(group, owner, out, limit, count);
      empty_run = empty_run && look == Look::Empty;
      if (count == out.size()) {
        cursor = group;
        return count;
      }
      --left;
      ++group;
      if ((group % kRun == 0 || group == groups) && empty_run) note_full((group - 1) / kRun, limit);
    }
    if (group == groups) group = 0;
    if (group % kRun == 0) empty_run = true;
  }
  cursor = group;
  if (count == 0) count = take_everywhere(owner, out, limit, cursor);
  return count;
}

// Before it is said that there is none: whatever the hints say, and again where somebody was just
// taking some.
std::uint32_t Depot::take_everywhere(Owner owner, std::span<TakenBlock> out, std::uint32_t limit,
                                     std::uint32_t& cursor) const noexcept {
  if (planted::kStaleFull) return 0;
  std::uint32_t count = 0;
  bool busy = true;
  for (int attempts = kAttempts; busy && attempts != 0; --attempts) {
    busy = false;
    for (std::uint32_t group = 0; group < groups_below(limit); ++group) {
      const Look look = take_from(group, owner, out, limit, count);
      busy = busy || look == Look::Busy;
      if (look == Look::Took) {
        note_room(group);
        cursor = group;
        return count;
      }
    }
  }
  return 0;
}

bool Depot::has_room(std::uint32_t run, std::uint32_t limit) const noexcept {
  const std::uint32_t end = std::min((run + 1) * kRun, groups_below(limit));
  for (std::uint32_t group = run * kRun; group < end; ++group) {
    if ((~taken_in(load(t_.words[group])) & valid(group, limit)) != 0) return true;
  }
  return false;
}

// The hint is set, then the words are looked at again; who gives back clears a bit, then looks at
// the hint: all of it seq_cst, so that one of the two sees the other.
void Depot::note_full(std::uint32_t run, std::uint32_t limit) const noexcept {
  const std::uint64_t bit = std::uint64_t{1} << run % 64;
  atomic(t_.full[run / 64]).fetch_or(bit, std::memory_order_seq_cst);
  if (has_room(run, limit)) atomic(t_.full[run / 64]).fetch_and(~bit, std::memory_order_seq_cst);
}

void Depot::note_room(std::uint32_t group) const noexcept {
  const std::uint32_t run = group / kRun;
  const std::uint64_t bit = std::uint64_t{1} << run % 64;
  if (planted::kStaleFull || (load(t_.full[run / 64]) & bit) == 0) [[likely]]
    return;
  atomic(t_.full[run / 64]).fetch_and(~bit, std::memory_order_seq_cst);
}

// Releases what was written into the blocks; seq_cst for note_room().
std::uint32_t Depot::clear(std::uint32_t group, std::uint32_t bits) const noexcept {
  std::uint64_t& word = t_.words[group];
  std::uint64_t seen = load_relaxed(word);
  for (int attempts = kPatience; !cas(word, seen, seen & ~std::uint64_t{bits}); --attempts) {
    if (attempts != 0) continue;
    // A hostile peer does nothing but change it. Without a look at what it was nobody is waited
    // for.
    atomic(word).fetch_and(~std::uint64_t{bits}, std::memory_order_seq_cst);
    seen = bits;
    break;
  }
  note_room(group);
  return bits & ~taken_in(seen);
}

std::uint32_t Depot::give_back(std::span<const TakenBlock> blocks) const noexcept {
  std::uint32_t refused = 0;
  // Those who take blocks have these lines, which come while bits are gathered.
  for (std::size_t i = 0; i < blocks.size(); i += RM_POOL_GROUP_BLOCKS) {
    __builtin_prefetch(&t_.words[(blocks[i].tag - t_.tags) / RM_POOL_GROUP_BLOCKS], 1);
  }
  for (std::size_t i = 0; i < blocks.size();) {
    const auto number = static_cast<std::uint32_t>(blocks[i].tag - t_.tags);
    const std::uint32_t group = number / RM_POOL_GROUP_BLOCKS;
    const std::uint16_t* const first = &t_.tags[group * RM_POOL_GROUP_BLOCKS];
    std::uint32_t bits = 0;
    // Blocks that came together mostly lie side by side.
    for (; i < blocks.size(); ++i) {
      const auto place = static_cast<std::size_t>(blocks[i].tag - first);
      if (place >= RM_POOL_GROUP_BLOCKS) break;
      const std::uint32_t bit = std::uint32_t{1} << place;
      refused += (bits & bit) != 0 ? 1 : 0;
      bits |= bit;
    }
    refused += static_cast<std::uint32_t>(std::popcount(clear(group, bits)));
  }
  if (refused != 0) [[unlikely]]
    note_refused(refused);
  return refused;
}

bool Depot::grow(std::uint32_t seen, std::uint32_t to) const noexcept {
  if (to > t_.capacity || to <= seen) return false;
  // First: recovery looks below it. A mark that is too high costs it a few looks.
  std::uint32_t mark = load(t_.control->high_water);
  while (mark < to && !cas(t_.control->high_water, mark, to)) {
  }
  if (!cas(t_.control->limit, seen, to)) return false;
  note_room(seen / RM_POOL_GROUP_BLOCKS);
  return true;
}

std::uint32_t Depot::high_water() const noexcept {
  return std::min(load(t_.control->high_water), t_.capacity);
}

void Depot::note_refused(std::uint32_t blocks) const noexcept {
  atomic(t_.control->refused).fetch_add(blocks, std::memory_order_relaxed);  // a count, no more
}

}  // namespace resmgr::pool
