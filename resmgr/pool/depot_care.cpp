// SPDX-License-Identifier: Apache-2.0
//
// What is done with a depot now and then: taking back what the dead had, giving up its end, and
// counting.
#include <algorithm>
#include <bit>

#include "resmgr/pool/depot.hpp"
#include "resmgr/pool/planted_bug.hpp"

namespace resmgr::pool {
namespace {

// Which of four tags, of blocks that are taken, name the dead. What he had allocated is first made
// what he had in a magazine, so that nobody frees it any more (D3).
std::uint32_t theirs_of_four(TagWord& tags, std::uint32_t taken, Owner dead,
                             int attempts) noexcept {
  TagWord seen = __atomic_load_n(&tags, __ATOMIC_RELAXED);
  for (; attempts != 0; --attempts) {
    std::uint32_t theirs = 0;
    TagWord next = seen;
    for (unsigned i = 0; i < kTagsAWord; ++i) {
      const auto tag = static_cast<std::uint16_t>(seen >> 16 * i);
      if ((taken >> i & 1) == 0 || owner_in(tag) != dead) continue;
      if (planted::kKeepAllocated && is_allocated(tag)) continue;
      theirs |= 1u << i;
      next &= ~(TagWord{RM_POOL_TAG_ALLOCATED} << 16 * i);
    }
    if (next == seen || planted::kBlindRecovery) return theirs;
    if (__atomic_compare_exchange_n(&tags, &seen, next, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
      return theirs;
    }
  }
  return 0;
}

}  // namespace

// A group's tags lie on one line, and four of them are swapped at once: others swap single ones.
std::uint32_t Depot::blocks_of(std::uint32_t group, std::uint32_t taken,
                               Owner dead) const noexcept {
  void* const line = &t_.tags[group * RM_POOL_GROUP_BLOCKS];
  auto* const words = static_cast<TagWord*>(line);
  std::uint32_t theirs = 0;
  for (unsigned i = 0; i < RM_POOL_GROUP_BLOCKS / kTagsAWord; ++i) {
    const std::uint32_t of_word = taken >> kTagsAWord * i & 0xf;
    if (of_word != 0)
      theirs |= theirs_of_four(words[i], of_word, dead, kPatience) << kTagsAWord * i;
  }
  return theirs;
}

// One swap a group does the rest of it: stopped before or after, it is not begun or done. The word
// is read before the tags, so acquire.
std::uint32_t Depot::recover_group(std::uint32_t group, Owner dead) const noexcept {
  std::uint64_t& word = t_.words[group];
  std::uint64_t seen = load_acquire(word);
  for (int attempts = kPatience; attempts != 0; --attempts) {
    const std::uint32_t theirs = blocks_of(group, taken_in(seen) & valid(group, t_.capacity), dead);
    // Blocks of a claim that did not end are in the depot still.
    const bool claimed = claimant_of(seen) == dead && !planted::kKeepClaim;
    if (theirs == 0 && !claimed) return 0;
    std::uint64_t next = seen & ~std::uint64_t{theirs};
    if (claimed) next ^= claim_of(dead);
    if (cas(word, seen, planted::kSameVersion ? next : raised(next))) {
      note_room(group);
      return static_cast<std::uint32_t>(std::popcount(theirs));
    }
  }
  return 0;
}

void Depot::note_recovered(std::uint32_t blocks) const noexcept {
  atomic(t_.control->recovered).fetch_add(blocks, std::memory_order_relaxed);  // a count
}

std::uint32_t Depot::recover(Owner dead) const noexcept {
  if (dead == 0 || dead > RM_POOL_MAX_OWNER) return 0;
  std::uint32_t recovered = 0;
  const std::uint32_t end = groups_below(high_water());
  for (std::uint32_t group = 0; group < end; ++group) recovered += recover_group(group, dead);
  note_recovered(recovered);
  return recovered;
}

bool Depot::claim_end(std::uint32_t group, std::uint32_t begin, Owner owner) const noexcept {
  std::uint64_t& word = t_.words[group];
  std::uint64_t seen = load_relaxed(word);
  const std::uint32_t first = group * RM_POOL_GROUP_BLOCKS;
  const std::uint32_t from = begin > first ? begin - first : 0;
  const std::uint32_t end = bits_between(from, RM_POOL_GROUP_BLOCKS);
  for (int attempts = kAttempts; attempts != 0; --attempts) {
    if (claimant_of(seen) != 0) return false;
    if ((taken_in(seen) & end) != 0 && !planted::kShrinkBlindly) return false;
    // Acquires what was written into the blocks: it is before the pages go.
    if (cas(word, seen, seen | claim_of(owner))) return true;
  }
  return false;
}

// From the end down, as far as blocks are free; returns where that ends.
std::uint32_t Depot::claim_down_to(Owner owner, std::uint32_t from,
                                   std::uint32_t to) const noexcept {
  std::uint32_t reached = from;
  while (reached > to) {
    const std::uint32_t group = (reached - 1) / RM_POOL_GROUP_BLOCKS;
    const std::uint32_t begin = std::max(group * RM_POOL_GROUP_BLOCKS, to);
    if (!claim_end(group, begin, owner)) break;
    reached = begin;
  }
  return reached;
}

// The claims that claim_down_to() made: what is of this owner in between is his.
void Depot::end_claims(Owner owner, std::uint32_t begin, std::uint32_t end) const noexcept {
  for (std::uint32_t group = begin / RM_POOL_GROUP_BLOCKS; group < groups_below(end); ++group) {
    if (begin == end) return;
    atomic(t_.words[group]).fetch_xor(claim_of(owner), std::memory_order_release);
  }
}

Census Depot::count() const noexcept {
  Census census{.limit = limit()};
  const std::uint32_t end = groups_below(high_water());
  for (std::uint32_t group = 0; group < end; ++group) {
    const std::uint64_t word = load_acquire(t_.words[group]);
    const std::uint32_t below = valid(group, census.limit);
    const std::uint32_t taken = taken_in(word) & valid(group, t_.capacity);
    const std::uint32_t room = ~taken & below;
    census.in_depot += static_cast<std::uint32_t>(std::popcount(room));
    if (claimant_of(word) != 0) ++census.claimed_groups;
    if (taken != 0) census.split += static_cast<std::uint32_t>(std::popcount(room));
    for (std::uint32_t left = taken; left != 0; left &= left - 1) {
      const auto bit = static_cast<std::uint32_t>(std::countr_zero(left));
      const std::uint16_t tag = load_relaxed(t_.tags[group * RM_POOL_GROUP_BLOCKS + bit]);
      ++(is_allocated(tag) ? census.allocated : census.cached);
    }
  }
  return census;
}

std::uint32_t Depot::count_taken() const noexcept {
  std::uint32_t taken = 0;
  const std::uint32_t end = groups_below(high_water());
  for (std::uint32_t group = 0; group < end; ++group) {
    taken += static_cast<std::uint32_t>(std::popcount(taken_in(load_relaxed(t_.words[group]))));
  }
  return taken;
}

}  // namespace resmgr::pool
