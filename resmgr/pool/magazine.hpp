// SPDX-License-Identifier: Apache-2.0
//
// Magazine: the blocks that one thread has at hand.
//
// The block that was freed last has a place of its own: whoever allocates one and frees it, again
// and again, finds it there without having to wait for the number of blocks that the last call
// stored.
//
// What it is: a stack of blocks of this process, pushed and popped by plain stores. What another
// process allocated and this one frees is in it too, once it is this one's. What it is not:
// refilled or emptied by itself; see BlockPool. Blocks keep their tags meanwhile, so that all of
// them come back when the process dies (I3), and a magazine that is never emptied costs nobody else
// anything but these blocks.
//
// Lifetime: of its pool, in whose list it is. Thread-safety: one thread; others may read its
// numbers.
//
//   if (void* block = magazine.pop()) ...      // null: none at hand
//   if (!magazine.push(block)) ...             // full, or not a block that may be freed here
#pragma once

#include <algorithm>
#include <array>
#include <boost/intrusive/list_hook.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/pool/depot.hpp"
#include "resmgr/pool/planted_bug.hpp"

namespace resmgr::pool {

/// What a magazine has counted since it was made.
struct MagazineCounts {
  std::uint64_t freed = 0;      ///< pushed, of this process's blocks
  std::uint64_t foreign = 0;    ///< freed, of other processes' blocks
  std::uint64_t taken = 0;      ///< blocks from the depot
  std::uint64_t returned = 0;   ///< blocks to the depot
  std::uint64_t refills = 0;    ///< allocations that had to ask the depot
  std::uint64_t overflows = 0;  ///< frees that had to
  std::uint32_t cached = 0;     ///< at hand now

  /// Allocated from it: what came in, less what is there and what went out.
  [[nodiscard]] std::uint64_t allocated() const noexcept {
    return taken + freed + foreign - returned - cached;
  }
};

/// On lines of its own: magazines of two threads may be made one behind the other.
class alignas(64) Magazine : public boost::intrusive::list_base_hook<> {
 public:
  static constexpr std::uint32_t kMost = 512;  ///< blocks, but for the one that was freed last

  /// `limit`: at most so many blocks, 1 to kMost. `cursor`: the group to take blocks of first.
  Magazine(const PoolTables& tables, Owner owner, std::uint32_t limit,
           std::uint32_t cursor) noexcept
      : blocks_(tables.blocks),
        blocks_bytes_(tables.blocks_bytes),
        stride_(tables.stride),
        tags_(tables.tags),
        numbers_(tables.numbers),
        limit_(std::clamp(limit, std::uint32_t{1}, kMost)),
        cached_(cached_tag(owner)),
        allocated_(allocated_tag(owner)),
        cursor_(cursor) {}

  /// Null if there is none, or the uppermost was given to somebody else already: drop_spoiled().
  [[nodiscard, gnu::always_inline]] void* pop() noexcept {
    std::byte* const last = load_relaxed(last_.block);
    if (last) [[likely]] {
      if (load_relaxed(*last_.tag) != cached_) [[unlikely]]
        return nullptr;
      store_relaxed(*last_.tag, allocated_);
      store_relaxed(last_.block, nullptr);
      return last;
    }
    const std::uint32_t count = load_relaxed(count_);
    if (count == 0) [[unlikely]]
      return nullptr;
    const TakenBlock& top = stack_[count - 1];
    if (load_relaxed(*top.tag) != cached_) [[unlikely]]
      return nullptr;
    store_relaxed(*top.tag, allocated_);
    store_relaxed(count_, count - 1);
    return top.block;
  }

  /// False if it has no room, or `block` is not what this process has allocated.
  [[nodiscard, gnu::always_inline]] bool push(void* block) noexcept {
    const std::uint64_t offset = offset_of(block);
    if (offset >= blocks_bytes_) [[unlikely]]
      return false;
    const std::uint64_t number = numbers_.at(offset);
    std::uint16_t* const tag = tags_ + number;
    if (number * stride_ != offset || (load_relaxed(*tag) != allocated_ && !planted::kTrustFrees))
        [[unlikely]]
      return false;
    auto* const begin = static_cast<std::byte*>(block);
    if (load_relaxed(last_.block) == nullptr) [[likely]] {
      last_.tag = tag;
      store_relaxed(last_.block, begin);
    } else {
      const std::uint32_t count = load_relaxed(count_);
      if (count >= load_relaxed(limit_)) [[unlikely]]
        return false;
      stack_[count] = {.block = begin, .tag = tag};
      store_relaxed(count_, count + 1);
    }
    store_relaxed(*tag, cached_);
    bump(freed_);
    return true;
  }

  /// The tag of a block; null if no block begins there.
  [[nodiscard]] std::uint16_t* tag_of(void* block) const noexcept {
    const std::uint64_t offset = offset_of(block);
    if (offset >= blocks_bytes_) return nullptr;
    const std::uint64_t number = numbers_.at(offset);
    return number * stride_ == offset ? tags_ + number : nullptr;
  }

  /// Blocks at hand.
  [[nodiscard]] std::uint32_t count() const noexcept {
    return load_relaxed(count_) + (load_relaxed(last_.block) != nullptr ? 1 : 0);
  }
  [[nodiscard]] std::uint32_t limit() const noexcept { return load_relaxed(limit_); }
  /// From any thread.
  void set_limit(std::uint32_t limit) noexcept {
    store_relaxed(limit_, std::clamp(limit, std::uint32_t{1}, kMost));
  }
  /// The uppermost block was freed twice, and is somebody else's: it is dropped.
  [[nodiscard]] bool drop_spoiled() noexcept;
  /// Takes blocks out of the depot until it is half full. Returns how many.
  std::uint32_t refill(const Depot& depot, Owner owner) noexcept;
  /// Gives blocks back until it is half full.
  void make_room(const Depot& depot) noexcept;
  /// Gives all of them back.
  void flush(const Depot& depot) noexcept;

  /// Gives all of them back, and takes nor gives any from then on. From any thread, while its own
  /// does not use it.
  void close(const Depot& depot) noexcept {
    flush(depot);
    blocks_bytes_ = 0;  // no address is a block's
  }

  /// Pushes a block that the caller took over from another process, see Depot::take_over().
  /// REQUIRES: has_room(); `tag` is its tag.
  void push_foreign(void* block, std::uint16_t* tag) noexcept {
    const std::uint32_t count = load_relaxed(count_);
    stack_[count] = {.block = static_cast<std::byte*>(block), .tag = tag};
    store_relaxed(count_, count + 1);
    bump(foreign_);
  }
  [[nodiscard]] bool has_room() const noexcept {
    return load_relaxed(count_) < load_relaxed(limit_);
  }

  [[nodiscard]] MagazineCounts counts() const noexcept;

 private:
  [[nodiscard]] std::uint64_t offset_of(const void* block) const noexcept {
    return reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(blocks_);
  }
  void put_last_away(const Depot& depot) noexcept;
  void give_back_above(const Depot& depot, std::uint32_t kept) noexcept;

  // What a pair touches comes first.
  std::byte* blocks_;
  std::uint64_t blocks_bytes_;
  std::uint64_t stride_;
  std::uint16_t* tags_;
  BlockNumbers numbers_;
  TakenBlock last_;
  std::uint32_t limit_;
  std::uint32_t count_ = 0;
  std::uint16_t cached_;
  std::uint16_t allocated_;
  std::uint64_t freed_ = 0;
  std::uint32_t cursor_;
  std::uint64_t foreign_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t returned_ = 0;
  std::uint64_t refills_ = 0;
  std::uint64_t overflows_ = 0;
  std::array<TakenBlock, kMost> stack_;
};

}  // namespace resmgr::pool
