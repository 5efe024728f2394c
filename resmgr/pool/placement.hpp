// SPDX-License-Identifier: Apache-2.0
//
// Placement: on which NUMA nodes the memory of a pool lies, in pages of what size, and whether it
// is there before it is used.
//
// What it is: what an author may ask for, and how the kernel is asked. Bind and lock are promises:
// where they can't be kept there is an error. All else is as well as can be had: huge pages fall
// back to those that the kernel joins by itself, and these to small ones. What it is not: a
// decision; a pool's maker decides, and those who attach take what there is, for pages are shared.
//
// The kernel's policy belongs to the file: it holds for whoever touches a page first.
// Lifetime: plain values; MemoryCalls is borrowed. Thread-safety: any thread.
//
//   const Placement placement{.numa = NumaPolicy::Interleave, .nodes = {0, 1}, .prefault = true};
//   auto placed = apply_policy(region.blocks(), placement, MemoryCalls::of_the_system());
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/pool/pool_types.hpp"

namespace resmgr::pool {

/// The kernel, as far as memory is placed by it. Each returns 0 or an errno.
class MemoryCalls {
 public:
  MemoryCalls() = default;
  MemoryCalls(const MemoryCalls&) = delete;
  MemoryCalls& operator=(const MemoryCalls&) = delete;
  virtual ~MemoryCalls() = default;
  [[nodiscard]] static MemoryCalls& of_the_system() noexcept;

  /// mbind; `mode` is MPOL_*, `nodes` a bit for each node, 64 to a word.
  [[nodiscard]] virtual int bind(std::span<std::byte> memory, int mode,
                                 std::span<const std::uint64_t> nodes) noexcept = 0;
  /// madvise; `advice` is MADV_*.
  [[nodiscard]] virtual int advise(std::span<std::byte> memory, int advice) noexcept = 0;
  [[nodiscard]] virtual int lock(std::span<std::byte> memory) noexcept = 0;
  virtual void unlock(std::span<std::byte> memory) noexcept = 0;
  /// For each page: its node, or a negative errno (ENOENT: nobody touched it).
  [[nodiscard]] virtual int nodes_of(std::span<void* const> pages,
                                     std::span<int> nodes) noexcept = 0;
};

/// Errors: InvalidArgument (nodes that the policy does not go with).
[[nodiscard]] Result<void> check_placement(const Placement& placement) noexcept;

/// What becomes of the pages that are touched from now on, of the whole pool. Returns the pages
/// that it will have at best: Transparent or None. `reserved`: they are huge already. Errors:
/// InvalidArgument (as check_placement, or this machine has no such node), System.
[[nodiscard]] Result<HugePages> apply_policy(std::span<std::byte> memory,
                                             const Placement& placement, bool reserved,
                                             MemoryCalls& calls) noexcept;

/// Makes memory that is about to be given out ready, as the placement says. Errors: System (it
/// can't be locked: the limit RLIMIT_MEMLOCK, or no memory).
[[nodiscard]] Result<void> make_ready(std::span<std::byte> memory, const Placement& placement,
                                      MemoryCalls& calls) noexcept;

/// How many pages lie on which node.
struct NodePages {
  std::vector<std::uint64_t> by_node;  ///< pages of 4 KiB
  std::uint64_t untouched = 0;         ///< that this process has not mapped
};
/// Errors: System. May throw std::bad_alloc.
[[nodiscard]] Result<NodePages> count_pages(std::span<std::byte> memory, MemoryCalls& calls);

}  // namespace resmgr::pool
