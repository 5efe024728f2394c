// SPDX-License-Identifier: Apache-2.0
//
// Depot: the blocks of a pool that nobody has, for all processes that map it.
//
// What it is: who takes blocks claims a group of 32, tags those that he wants, and ends the claim
// by the one operation that marks them as taken; who gives some back clears their bits by one
// operation a group. What it is not: fast for a single block; magazines stand before it, see
// resmgr/pool/magazine.hpp. Nor does it believe anything: whatever a peer writes, no block outside
// of the pool is had, and no call loops for ever; but a peer can spoil the pool.
//
// D1. Whether a block is in the depot says its group's bit alone, which one operation changes: no
//     block is lost or had twice, at whatever instruction a process is killed (I3).
// D2. A bit is set by the claimant of its group alone, after the tag that says by whom.
// D3. An allocated block changes owners by a swap of its tag. So does one of the dead before it
// comes
//     back: of recovery and who frees it one is first, and the other leaves it. Then its bit is
//     cleared by a swap that saw the version of the group before the tag: if it came back
//     meanwhile, by another's recovery, and somebody took it anew, the swap fails.
// D4. Nobody waits for a claim: its group is passed over. A stopped process keeps 32 blocks from
//     others at most, for each thread that it has.
//
// Lifetime: borrows the mapping. Thread-safety: all functions from any thread of any process.
//
//   Depot depot(region.tables());
//   TakenBlock got[64];
//   const std::uint32_t count = depot.take(owner, got, cursor);
#pragma once

#include <cstdint>
#include <span>

#include "resmgr/base/atomic.hpp"
#include "resmgr/pool/planted_bug.hpp"
#include "resmgr/pool/pool_region.hpp"
#include "resmgr/pool/words.hpp"

namespace resmgr::pool {

/// A block that is not in the depot, and its tag.
struct TakenBlock {
  std::byte* block = nullptr;
  std::uint16_t* tag = nullptr;
};

/// How many blocks are where, at about one moment.
struct Census {
  std::uint32_t limit = 0;
  std::uint32_t in_depot = 0;   ///< below the limit
  std::uint32_t cached = 0;     ///< in magazines, of all processes
  std::uint32_t allocated = 0;  ///< in all processes
  std::uint32_t claimed_groups = 0;
  /// In the depot, beside blocks of the same group that are not: their pages can't be given up.
  std::uint32_t split = 0;
};

class Depot {
 public:
  explicit Depot(const PoolTables& tables) noexcept : t_(tables) {}

  /// Takes up to so many blocks as `out` has room for, and returns how many. `cursor` is the group
  /// to begin at, and becomes where to begin next time. 0: there is none below the limit that
  /// nobody else is just taking.
  [[nodiscard]] std::uint32_t take(Owner owner, std::span<TakenBlock> out,
                                   std::uint32_t& cursor) const noexcept;

  /// Gives back blocks that the caller's process has. REQUIRES: they are in the pool. Returns how
  /// many of them were not: they had been given back before.
  std::uint32_t give_back(std::span<const TakenBlock> blocks) const noexcept;
  /// Makes a block that another process has allocated the caller's: freed by it, or still
  /// allocated. False: it is not allocated. REQUIRES: `seen` is what its tag said.
  [[nodiscard]] bool take_over(std::uint16_t& tag, std::uint16_t seen,
                               std::uint16_t next) const noexcept {
    // Releases nothing: the block's bytes are handed over by whoever handed over the block.
    return is_allocated(seen) && (cas(tag, seen, next) || planted::kBlindForeignFree);
  }

  /// Blocks from this one on are not given out.
  [[nodiscard]] std::uint32_t limit() const noexcept {
    const std::uint32_t limit = load_acquire(t_.control->limit);
    return limit < t_.capacity ? limit : t_.capacity;
  }
  /// Raises the limit from `seen` to `to`. False: it was another, or there are not so many blocks.
  [[nodiscard]] bool grow(std::uint32_t seen, std::uint32_t to) const noexcept;
  /// Lowers the limit to at least `to`, but not below blocks that somebody has. Returns the limit
  /// that it is now. The pages behind it are the caller's to give back, before `release` is called:
  /// `discard(begin, end)`.
  template <typename Discard>
  std::uint32_t shrink(Owner owner, std::uint32_t to, Discard&& discard) const noexcept;

  /// Takes back all that a dead process had, and returns how many blocks. Can be stopped at any
  /// instruction and called again, while others go on. REQUIRES: the owner is dead, and nobody else
  /// has its number before this has returned.
  std::uint32_t recover(Owner dead) const noexcept;
  /// The same of one group, for who looks for them otherwise; see PoolRecovery. Counts nothing.
  /// Where a peer changes it all the time, it is left as it is. REQUIRES: there is such a group.
  std::uint32_t recover_group(std::uint32_t group, Owner dead) const noexcept;
  void note_recovered(std::uint32_t blocks) const noexcept;

  [[nodiscard]] Census count() const noexcept;
  /// Blocks that are out of the depot, at about one moment: a quick look at the words alone.
  [[nodiscard]] std::uint32_t count_taken() const noexcept;
  /// Blocks from this one on were never given out.
  [[nodiscard]] std::uint32_t high_water() const noexcept;
  void note_refused(std::uint32_t blocks) const noexcept;
  [[nodiscard]] const PoolTables& tables() const noexcept { return t_; }

 private:
  /// What became of a look at one group.
  enum class Look : std::uint8_t { Empty, Busy, Took };
  /// How many others may get in between before a group is passed over.
  static constexpr int kAttempts = 16;
  /// The same of who takes back what the dead had. Peers change a word now and then; one that does
  /// nothing else is hostile, and has spoilt that group.
  static constexpr int kPatience = 4096;

  [[nodiscard]] Look take_from(std::uint32_t group, Owner owner, std::span<TakenBlock> out,
                               std::uint32_t limit, std::uint32_t& count) const noexcept;
  [[nodiscard]] std::uint32_t take_everywhere(Owner owner, std::span<TakenBlock> out,
                                              std::uint32_t limit,
                                              std::uint32_t& cursor) const noexcept;
  [[nodiscard]] std::uint32_t clear(std::uint32_t group, std::uint32_t bits) const noexcept;
  [[nodiscard]] std::uint32_t blocks_of(std::uint32_t group, std::uint32_t taken,
                                        Owner dead) const noexcept;
  /// Claims a group all of whose blocks from `begin` on are in the depot.
  [[nodiscard]] bool claim_end(std::uint32_t group, std::uint32_t begin,
                               Owner owner) const noexcept;
  [[nodiscard]] std::uint32_t claim_down_to(Owner owner, std::uint32_t from,
                                            std::uint32_t to) const noexcept;
  void end_claims(Owner owner, std::uint32_t begin, std::uint32_t end) const noexcept;

  // ---- hints: which runs of groups have nothing -----------------------------------------------
  [[nodiscard]] bool is_full(std::uint32_t run) const noexcept {
    return (load_relaxed(t_.full[run / 64]) >> (run % 64) & 1) != 0;
  }
  void note_full(std::uint32_t run, std::uint32_t limit) const noexcept;
  void note_room(std::uint32_t group) const noexcept;
  [[nodiscard]] bool has_room(std::uint32_t run, std::uint32_t limit) const noexcept;

  /// Groups that have blocks below `limit`.
  [[nodiscard]] static constexpr std::uint32_t groups_below(std::uint32_t limit) noexcept {
    return (limit + RM_POOL_GROUP_BLOCKS - 1) / RM_POOL_GROUP_BLOCKS;
  }
  /// Bits of a group that are below `limit`.
  [[nodiscard]] static constexpr std::uint32_t valid(std::uint32_t group,
                                                     std::uint32_t limit) noexcept {
    const std::uint32_t begin = group * RM_POOL_GROUP_BLOCKS;
    if (limit <= begin) return 0;
    const std::uint32_t count = limit - begin;
    return bits_between(0, count < RM_POOL_GROUP_BLOCKS ? count : RM_POOL_GROUP_BLOCKS);
  }

  PoolTables t_;
};

template <typename Discard>
std::uint32_t Depot::shrink(Owner owner, std::uint32_t to, Discard&& discard) const noexcept {
  const std::uint32_t before = limit();
  if (to >= before) return before;
  const std::uint32_t reached = claim_down_to(owner, before, to);
  std::uint32_t seen = before;
  // Somebody changed it: he decides.
  const bool lowered = reached < before && cas(t_.control->limit, seen, reached);
  // While the claims last nobody has these blocks, nor gets them, even who read the limit before.
  if (lowered) discard(reached, before);
  end_claims(owner, reached, before);
  return limit();
}

}  // namespace resmgr::pool
