// SPDX-License-Identifier: Apache-2.0
//
// Pool: blocks of one size for a driver's threads, allocated and freed in a few nanoseconds.
//
// What it is: memory of a resource (type Memory, class "pool") that grows by need up to a maximum,
// charging the driver who needs it for what it grows by; threads have blocks at hand, so that most
// calls touch nothing that another thread does. What it is not: an allocator of objects (see
// hal/object_pool.hpp).
//
// Processes: in a served domain other processes attach() to a pool, with Rights::Write on it. An
// address means nothing to them; a block's number does. A block belongs to the process that
// allocated it until any process frees it. So one that is handed over goes with who allocated it
// when he dies, unless it was adopted: adopt() makes it the caller's. Of a process that died, at
// whatever instruction, resmgrd takes everything back, as long as the pool is registered.
//
// Owners: when the maker's process ends, the pool is an orphan as every resource is: those who have
// it go on with it. Whoever is restarted as its driver gets the same pool, blocks of others
// included, by create() with the same options; if nobody comes, it is unregistered after a while.
// Then, and when it is unregistered by its owner, nobody can attach to it, and blocks of who dies
// come back no more.
//
// Trust: a peer that may write a pool can spoil what is in it, give blocks to two, or lose them. It
// can't make a call read or write outside of the pool's blocks and tables, nor hang for ever. Do
// not attach to a pool of reserved huge pages of somebody you don't trust (resmgrd refuses them).
//
// Lifetime: a Pool goes before its manager, and blocks are valid as long as it. When the manager is
// closed, the pool is: every call returns Disconnected, and blocks are this process's no more. It
// unregisters nothing: who created it does, by handle(). Threads may end before it or after; what
// they had at hand comes back. In a child of fork() it is closed. Thread-safety: all functions from
// any thread, unless it was made for one; moving, assignment and destruction need it to be idle.
//
//   auto frames = hal::Pool::create(*manager, "gpu0/frames", {.block_bytes = 1 << 16,
//                                                             .max_blocks = 256}).value();
//   void* frame = frames.try_allocate();   // null: there is none, allocate() says why
//   frames.free(frame);
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <hal/export.hpp>
#include <hal/resource.hpp>

#include "resmgr/pool/pool_types.hpp"

namespace hal {

class ResourceManager;

using resmgr::pool::HugePages;
using resmgr::pool::NumaPolicy;
using PoolAdaptation = resmgr::pool::Adaptation;
using PoolPlacement = resmgr::pool::Placement;
using PoolStats = resmgr::pool::PoolStatistics;

struct PoolOptions {
  std::uint64_t block_bytes = 0;     ///< 1 to 2^32
  std::uint32_t max_blocks = 0;      ///< 1 to 2^27
  std::uint32_t initial_blocks = 0;  ///< there from the start; the rest comes when it is needed
  /// Bytes, a power of two up to 2^21. 0: of a cache line, or less for blocks that are smaller.
  std::uint64_t alignment = 0;
  bool thread_safe = true;  ///< false: all calls come from one thread at a time, which saves memory
  bool adaptive = true;     ///< adapt() changes sizes
  PoolPlacement placement = {};
  DriverId driver = {};  ///< the owner of the resource, who is charged
};

/// How a process uses a pool that another made.
struct PoolAttachOptions {
  bool thread_safe = true;  ///< as PoolOptions
  bool adaptive = true;     ///< adapt() changes what threads have at hand
  /// On whose behalf (as ResourceManager::fd), and who is charged for what the pool grows by
  /// because this process needs blocks, as long as this process has the pool open.
  DriverId driver = {};
};

class HAL_EXPORT Pool {
 public:
  /// Makes and registers a pool. In a served domain huge pages are Transparent ones where Reserved
  /// are asked for, and an orphan that has the same options and belonged to the same driver is
  /// adopted with all that is in it. Errors: InvalidArgument (an option out of range), InvalidName,
  /// AlreadyExists, BudgetExceeded (the initial blocks, or what an orphan has), CapacityExceeded,
  /// NotPermitted (the daemon's policy), Disconnected, System. Nothing is left registered then, but
  /// an orphan that was adopted, or if the daemon went away in the middle.
  [[nodiscard]] static Result<Pool> create(ResourceManager& manager, std::string_view name,
                                           const PoolOptions& options);
  /// Opens a pool that is registered. Errors: NotFound, InvalidName, InvalidArgument (not a pool,
  /// or its memory is damaged), VersionMismatch, NotPermitted (without Rights::Write),
  /// Disconnected, CapacityExceeded (descriptors, contexts), System.
  [[nodiscard]] static Result<Pool> attach(ResourceManager& manager, std::string_view name,
                                           const PoolAttachOptions& options = {});
  /// Errors: StaleHandle, and as by name.
  [[nodiscard]] static Result<Pool> attach(ResourceManager& manager, Handle pool,
                                           const PoolAttachOptions& options = {});

  /// An empty Pool: it has no blocks, and every call returns Disconnected.
  Pool() noexcept;
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();
  [[nodiscard]] explicit operator bool() const noexcept { return impl_ != nullptr; }

  /// A block; null if there is none.
  [[nodiscard]] void* try_allocate() noexcept;
  /// The same for who wants to know why. Errors: PoolExhausted (max_blocks is reached; blocks that
  /// other threads have at hand are in use), BudgetExceeded (it would have to grow), Disconnected,
  /// System.
  [[nodiscard]] Result<void*> allocate() noexcept;
  /// Gives a block back, whichever thread or process allocated it. Errors: InvalidArgument (not the
  /// beginning of a block of this pool, or not allocated: freed before), Disconnected.
  Result<void> free(void* block) noexcept;
  /// Gives back what the calling thread has at hand, so that others get it.
  void flush() noexcept;

  // For blocks that go from one process to another.
  /// What the block is called in all processes, below max_blocks. Errors: InvalidArgument (not the
  /// beginning of a block of this pool), Disconnected.
  [[nodiscard]] Result<std::uint32_t> number_of(const void* block) const noexcept;
  /// The block of that number, in this process, whoever has it. Errors: InvalidArgument (there is
  /// none), Disconnected.
  [[nodiscard]] Result<void*> block(std::uint32_t number) const noexcept;
  /// Makes a block that another process allocated this one's: it stays when the other dies. Errors:
  /// InvalidArgument (not a block of this pool, or not allocated any more), Disconnected.
  Result<void> adopt(void* block) noexcept;

  /// Grows to at least so many blocks. Errors: as allocate().
  Result<void> reserve(std::uint32_t blocks) noexcept;
  /// Gives up memory behind the last block in use, down to `blocks` if it can; what was charged for
  /// it comes back. Returns how many blocks fewer there are now: none, if this Pool was attached,
  /// for the owner decides.
  std::uint32_t shrink(std::uint32_t blocks) noexcept;
  /// Fits sizes to what happened since the last call, and says what it changed and saved. For a
  /// timer of the author's, a few times a second at most. Nothing happens unless the pool is
  /// adaptive.
  PoolAdaptation adapt() noexcept;

  /// Looks at every group of blocks. Of an empty Pool: zeros.
  [[nodiscard]] PoolStats stats() const noexcept;
  /// 0 for an empty Pool, as all below.
  [[nodiscard]] std::uint64_t block_bytes() const noexcept;
  [[nodiscard]] std::uint64_t alignment() const noexcept;
  [[nodiscard]] Handle handle() const noexcept;

 private:
  struct [[gnu::visibility("hidden")]] Impl;
  explicit Pool(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hal
