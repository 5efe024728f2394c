// SPDX-License-Identifier: Apache-2.0
//
// Pool: blocks of one size for a driver's threads, allocated and freed in a few nanoseconds.
//
// What it is: memory of a resource (type Memory, class "pool") that grows by need up to a maximum,
// charging its driver's budget for what it grows by; threads have blocks at hand, so that most
// calls touch nothing that another thread does. What it is not: an allocator of objects (see
// hal/object_pool.hpp), nor for other processes yet: of embedded domains alone.
//
// Lifetime: a Pool goes before its manager, and blocks are valid as long as it. It unregisters
// nothing: who created it does, by handle(). Threads may end before it or after; what they had at
// hand comes back. In a child of fork() it is closed. Thread-safety: all functions from any thread,
// unless it was made for one; moving, assignment and destruction need it to be idle.
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

class HAL_EXPORT Pool {
 public:
  /// Makes and registers a pool. Errors: InvalidArgument (an option out of range), InvalidName,
  /// AlreadyExists, BudgetExceeded (the initial blocks), CapacityExceeded, Unsupported (served
  /// domains), Disconnected, System. Nothing is left registered then.
  [[nodiscard]] static Result<Pool> create(ResourceManager& manager, std::string_view name,
                                           const PoolOptions& options);

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
  /// Gives a block back, whichever thread allocated it. Errors: InvalidArgument (not the beginning
  /// of a block of this pool, or not allocated: freed before), Disconnected.
  Result<void> free(void* block) noexcept;
  /// Gives back what the calling thread has at hand, so that others get it.
  void flush() noexcept;

  /// Grows to at least so many blocks. Errors: as allocate().
  Result<void> reserve(std::uint32_t blocks) noexcept;
  /// Gives up memory behind the last block in use, down to `blocks` if it can; what was charged for
  /// it comes back. Returns how many blocks fewer there are now.
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
  struct Impl;
  explicit Pool(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hal
