// SPDX-License-Identifier: Apache-2.0
//
// What authors say of a pool, and what they are told of it.
//
// What it is: plain values that the engine and libhal share. What it is not: behaviour; see
// resmgr/pool/placement.hpp and resmgr/pool/block_pool.hpp. Lifetime and thread-safety: plain
// values.
//
//   const Placement placement{.numa = NumaPolicy::Bind, .nodes = {1}, .prefault = true};
#pragma once

#include <cstdint>
#include <vector>

namespace resmgr::pool {

enum class NumaPolicy : std::uint8_t {
  Local,   ///< the node of the thread that touches a page first; nodes further off when it is full
  Prefer,  ///< the one node given, others when it is full
  Bind,    ///< the nodes given and no others, nearest first
  Interleave,  ///< the nodes given, in turn
};

enum class HugePages : std::uint8_t {
  None,         ///< pages of 4 KiB
  Transparent,  ///< the kernel joins pages to huge ones where it can
  /// Pages of 2 MiB out of the store that the machine's operator set apart, all of them taken when
  /// the pool is made; Transparent where there are not enough. A process that has such a pool must
  /// be trusted by the others: it can take pages out of it, which is SIGBUS where the store is
  /// empty.
  Reserved,
};

struct Placement {
  NumaPolicy numa = NumaPolicy::Local;
  /// Numbers of nodes, 0 to kMaxNumaNode: one for Prefer, at least one for Bind and Interleave,
  /// none for Local.
  std::vector<std::int32_t> nodes = {};
  HugePages huge_pages = HugePages::None;
  bool prefault = false;  ///< blocks have their pages before they are given out
  bool lock = false;      ///< and these stay in memory (mlock); means prefault
};

/// What BlockPool::adapt() changed.
struct Adaptation {
  std::uint32_t magazine_blocks_before = 0;
  std::uint32_t magazine_blocks = 0;
  std::uint32_t limit_before = 0;
  std::uint32_t limit = 0;
  std::uint64_t saved_bytes = 0;  ///< given up now

  [[nodiscard]] bool changed() const noexcept {
    return magazine_blocks != magazine_blocks_before || limit != limit_before;
  }
};

/// A snapshot; blocks, where nothing else is said.
struct PoolStatistics {
  std::uint64_t block_bytes = 0;
  std::uint32_t capacity = 0;
  std::uint32_t limit = 0;      ///< what it has grown to
  std::uint32_t used = 0;       ///< allocated, by all processes
  std::uint32_t cached = 0;     ///< in magazines, of all processes
  std::uint32_t free = 0;       ///< in the depot
  std::uint32_t peak = 0;       ///< the most that were out of the depot when this process looked
  std::uint32_t split = 0;      ///< free, but on pages that can't be given up for their neighbours
  std::uint64_t refused = 0;    ///< freed twice and noticed late, by all processes
  std::uint64_t recovered = 0;  ///< taken back from dead processes
  // Of this process alone.
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t refills = 0;    ///< allocations that asked the depot
  std::uint64_t overflows = 0;  ///< frees that did
  std::uint32_t magazines = 0;
  std::uint32_t magazine_blocks = 0;  ///< what a new one may hold
  std::uint64_t adaptations = 0;      ///< that changed something
  std::uint64_t given_up_bytes = 0;   ///< by shrinking, since this process has the pool
  HugePages pages = HugePages::None;  ///< what the pool's maker could have
  /// Bytes of the pool's memory on each node, in pages that this process has touched. Empty where
  /// it was not asked for, or the kernel does not say.
  std::vector<std::uint64_t> node_bytes = {};

  /// Share of the free blocks whose memory can't be given up, 0 to 1.
  [[nodiscard]] double fragmentation() const noexcept {
    return free == 0 ? 0 : static_cast<double>(split) / free;
  }
  /// Share of the allocations of this process that its magazines served, 0 to 1.
  [[nodiscard]] double hit_rate() const noexcept {
    return allocations <= refills
               ? 0
               : static_cast<double>(allocations - refills) / static_cast<double>(allocations);
  }
};

}  // namespace resmgr::pool
