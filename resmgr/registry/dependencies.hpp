// SPDX-License-Identifier: Apache-2.0
//
// Dependencies: which resources can't work without which others.
//
// What it is: a directed graph without cycles over the registered resources: "from needs to". An
// edge that would close a cycle is refused with the cycle named; what is needed can't be
// unregistered; teardown goes from what needs to what is needed (teardown_order.hpp). What it is
// not: the wait-for graph; nobody waits here. Lifetime: borrows the tables. Thread-safety: the
// reading functions beside the writer at any time; one DependencyWriter.
//
//   DependencyWriter graph(tables);
//   auto ok = graph.add(frame, buffer);                      // frame needs buffer
//   auto needed = read_needs(tables, frame).value();         // buffer
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/record_pool.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// What a resource needs directly, the latest edge first. Errors: StaleHandle, InvalidArgument
/// (damaged), WouldBlock (see read_chains()).
[[nodiscard]] Result<std::vector<Handle>> read_needs(const Tables& tables, Handle handle);
/// What needs it directly. Errors: as read_needs().
[[nodiscard]] Result<std::vector<Handle>> read_needed_by(const Tables& tables, Handle handle);

class DependencyWriter {
 public:
  explicit DependencyWriter(const Tables& tables) noexcept;

  /// `from` needs `to`. Errors: StaleHandle (either), InvalidArgument (the same resource),
  /// AlreadyExists, DependencyCycle (names in detail()), InUse (`to` is being unregistered),
  /// CapacityExceeded.
  Result<void> add(Handle from, Handle to);
  /// add() of two that nobody had a chance to add edges to. REQUIRES: both are prepared or
  /// registered, and check_room() was content.
  void add_first(Handle from, Handle to) noexcept;
  /// Whether there is room for one more edge. Errors: CapacityExceeded.
  [[nodiscard]] Result<void> check_room() const noexcept;
  /// Errors: StaleHandle (either), NotFound.
  Result<void> remove(Handle from, Handle to) noexcept;
  /// Whether any resource needs the one in `slot`.
  [[nodiscard]] bool is_needed(std::uint32_t slot) const noexcept;

  /// Removes all edges from and to an entry. REQUIRES: it is not published any more.
  void drop_all(std::uint32_t slot) noexcept;
  /// Keeps the edges that the chains of `live` resources lead to, rebuilds the other links, and
  /// makes the free list anew.
  void recover(const std::vector<bool>& live);

 private:
  [[nodiscard]] std::uint32_t locate(std::uint32_t from, std::uint32_t to) const noexcept;
  [[nodiscard]] std::vector<std::uint32_t> path(std::uint32_t from, std::uint32_t to) const;
  void unlink(std::uint32_t link) noexcept;

  Tables tables_;
  RecordPool<rm_dependency> pool_;
};

}  // namespace resmgr::registry
