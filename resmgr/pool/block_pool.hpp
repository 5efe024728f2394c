// SPDX-License-Identifier: Apache-2.0
//
// BlockPool: blocks of one size, as this process sees them: the depot that all processes share, and
// the magazines of its threads.
//
// What it is: allocate and free in constant time, mostly without a locked instruction; growth by
// need up to a maximum, after asking whoever pays; double frees and foreign pointers refused. What
// it is not: an allocator of objects (hal::ObjectPool is), nor registered anywhere.
//
// A block belongs to the process that allocated it, until somebody frees it, any process, or adopts
// it. When a process dies, what belongs to it comes back: who was handed a block by it, and did not
// adopt it, has it no more.
//
// What is refused: a pointer that is not the beginning of a block of this pool, and a block that is
// not allocated, at once. Where two threads of one process free the same block in the same moment,
// it is noticed when the second would be allocated or leaves its magazine, and is counted in
// PoolStatistics::refused.
//
// In a child of fork() the pool is closed: it gives nothing, and takes nothing back. So it is when
// this process leaves the domain whose client it was (close()): its number is somebody else's then.
//
// Lifetime: shared by those who use it; blocks are valid as long as it. Threads may end before it
// or after. Thread-safety: all functions from any thread, unless the pool was made for one.
//
//   auto pool = BlockPool::create({.shape = {.block_bytes = 4096, .max_blocks = 1024}}).value();
//   void* frame = pool->try_allocate();            // null: there is none
//   if (pool->try_free(frame) != ErrorCode{}) ...  // not one of the pool's, or freed before
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "resmgr/base/error.hpp"
#include "resmgr/pool/depot.hpp"
#include "resmgr/pool/magazine.hpp"
#include "resmgr/pool/placement.hpp"
#include "resmgr/pool/pool_region.hpp"
#include "resmgr/pool/pool_types.hpp"
#include "resmgr/pool/sizing.hpp"
#include "resmgr/pool/thread_magazines.hpp"

namespace resmgr::pool {

/// Who pays for blocks. Called under no lock, by the thread that needs them or gives them up.
struct PoolPayer {
  /// Before the pool gets so many bytes more. An error keeps it as it is, and is what the
  /// allocation returns. Must not throw. Empty: nobody is asked.
  std::function<Result<void>(std::uint64_t bytes)> may_grow = {};
  /// After it gave so many bytes up, or did not need them. Must not throw.
  std::function<void(std::uint64_t bytes)> gave_up = {};
};

struct PoolSettings {
  PoolShape shape = {};
  std::uint32_t initial_blocks = 0;  ///< there from the start; at most shape.max_blocks
  std::string name = "resmgr-pool";  ///< what /proc shows
  Owner owner = 1;                   ///< the client that this process is, plus 1
  bool thread_safe = true;           ///< false: one magazine, for who calls from one thread
  PoolPayer payer = {};
  Placement placement = {};      ///< its maker's; shape.huge_pages follows from it
  MemoryCalls* calls = nullptr;  ///< null: the system's; must outlive the pool
  bool adaptive = true;          ///< adapt() changes sizes
};

class BlockPool : public std::enable_shared_from_this<BlockPool> {
 public:
  /// A new pool. Errors: InvalidArgument, System, CapacityExceeded, Unsupported (see PoolRegion),
  /// those of payer.may_grow.
  [[nodiscard]] static Result<std::shared_ptr<BlockPool>> create(PoolSettings settings);
  /// One that another process made; `settings.shape` is its maker's, and `initial_blocks` what
  /// adapt() leaves it. Errors:
  /// those of PoolRegion::attach(), InvalidArgument (owner).
  [[nodiscard]] static Result<std::shared_ptr<BlockPool>> attach(UniqueFd fd,
                                                                 PoolSettings settings);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  /// A block; null if there is none: allocate() says why.
  [[nodiscard, gnu::always_inline]] void* try_allocate() noexcept {
    Magazine* const magazine = this->magazine();
    if (magazine) [[likely]] {
      if (void* const block = magazine->pop()) [[likely]]
        return block;
    }
    return allocate_slowly(nullptr);
  }
  /// The same for who wants to know. Errors: PoolExhausted (requested() and available() in blocks),
  /// those of payer.may_grow, Disconnected (closed).
  [[nodiscard]] Result<void*> allocate() noexcept;

  /// Gives a block back. ErrorCode{}: done. InvalidArgument: it is no block of this pool, or not
  /// allocated. Disconnected: closed.
  [[nodiscard, gnu::always_inline]] ErrorCode try_free(void* block) noexcept {
    Magazine* const magazine = this->magazine();
    if (magazine && magazine->push(block)) [[likely]]
      return ErrorCode{};
    return free_slowly(block);
  }
  /// The same as a Result.
  Result<void> free(void* block) noexcept;

  /// Makes a block that another process allocated this process's: it stays when the other dies.
  /// ErrorCode{}: it is. InvalidArgument: it is no block of this pool, or not allocated (any more).
  /// Disconnected: closed.
  [[nodiscard]] ErrorCode adopt(void* block) noexcept;

  /// Empties the calling thread's magazine: others get what it had at hand.
  void flush() noexcept;

  /// Gives up memory behind the last block in use, down to `blocks` if it can. Returns how many
  /// blocks fewer there are now. What lies in magazines is in use.
  std::uint32_t shrink(std::uint32_t blocks) noexcept;
  /// Looks at what happened since the last call, and fits the sizes of magazines and pool to it,
  /// see Sizing. For a timer of its owner's, a few times a second at most: it looks at every group.
  Adaptation adapt() noexcept;
  /// Grows to at least so many blocks. Errors: as allocate().
  Result<void> reserve(std::uint32_t blocks) noexcept;

  /// Gives back what all threads have at hand; every call returns Disconnected from then on.
  /// Idempotent. REQUIRES: no other thread is inside a call.
  void close() noexcept;

  /// Takes back what a dead process had; see Depot::recover(), for what is required.
  std::uint32_t recover(Owner dead) noexcept { return depot_.recover(dead); }

  [[nodiscard]] PoolStatistics statistics() const noexcept;
  [[nodiscard]] const PoolRegion& region() const noexcept { return region_; }
  [[nodiscard]] const Depot& depot() const noexcept { return depot_; }
  [[nodiscard]] Owner owner() const noexcept { return owner_; }
  /// The number of the block that begins there; nothing if none does. At any time.
  [[nodiscard]] std::optional<std::uint32_t> find_number(const void* block) const noexcept;
  /// Where the memory of the blocks that there are lies; what this process did not touch is counted
  /// apart. Errors: System. May throw std::bad_alloc.
  [[nodiscard]] Result<NodePages> nodes() const;
  /// The number of the block that begins there, below capacity; as an offset it is the same in all
  /// processes. REQUIRES: it is one of the pool's.
  [[nodiscard]] std::uint32_t number_of(const void* block) const noexcept;

  // For ThreadMagazines and PoolForks.
  void close_magazine(Magazine& magazine) noexcept;
  void before_fork() noexcept { mutex_.lock(); }
  void after_fork_in_parent() noexcept { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  using Magazines = boost::intrusive::list<Magazine>;
  enum class Growth : std::uint8_t { Grown, Refused };

  BlockPool(PoolRegion region, PoolSettings settings) noexcept;
  [[nodiscard]] static Result<PoolRegion> make_region(PoolSettings& settings) noexcept;
  [[nodiscard]] static Result<std::shared_ptr<BlockPool>> make(PoolRegion region,
                                                               PoolSettings settings);
  [[nodiscard]] Magazine* magazine() const noexcept {
    Magazine* const known = known_magazine(serial_);
    return known ? known : sole_;
  }
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }
  /// The calling thread's, made if need be; null if it can't be had.
  [[nodiscard]] Magazine* find_magazine() noexcept;
  [[nodiscard]] Magazine* add_magazine();
  [[gnu::cold, gnu::noinline]] void* allocate_slowly(Error* why) noexcept;
  [[nodiscard]] void* allocate_from(Magazine& magazine, Error* why) noexcept;
  [[nodiscard]] bool drop_spoiled(Magazine& magazine) noexcept;
  [[gnu::cold, gnu::noinline]] ErrorCode free_slowly(void* block) noexcept;
  [[nodiscard]] ErrorCode free_into(Magazine& magazine, void* block) noexcept;
  [[nodiscard]] bool grow(Error* why) noexcept;
  [[nodiscard]] Result<void> grow_by(std::uint32_t seen, std::uint32_t blocks) noexcept;
  void look_at_peak() noexcept;
  [[nodiscard]] std::span<std::byte> memory_of(std::uint32_t begin,
                                               std::uint32_t end) const noexcept;
  /// Of all magazines, those that are gone too. REQUIRES: `mutex_` is held.
  [[nodiscard]] MagazineCounts sum_of_counts() const noexcept;

  // What a pair touches comes first.
  Magazine* sole_ = nullptr;  ///< of a pool that is made for one thread
  std::uint64_t serial_;
  PoolRegion region_;
  Depot depot_;
  Owner owner_;
  std::atomic<std::uint32_t> magazine_blocks_;
  std::atomic<bool> closed_{false};
  std::atomic<std::uint32_t> peak_{0};
  std::atomic<std::uint32_t> recent_peak_{0};  ///< since adapt() was called
  std::atomic<std::uint64_t> adaptations_{0};
  std::atomic<std::uint64_t> given_up_bytes_{0};
  std::atomic<std::uint32_t> refills_until_look_{0};
  PoolPayer payer_;
  Placement placement_;
  MemoryCalls& calls_;
  bool adaptive_;
  HugePages pages_ = HugePages::None;
  mutable std::mutex mutex_;  ///< of what follows
  Magazines magazines_;
  MagazineCounts gone_;  ///< of magazines that were closed
  std::uint32_t made_ = 0;
  Sizing sizing_;
  MagazineCounts adapted_at_;  ///< the counts when adapt() was called
};

}  // namespace resmgr::pool
