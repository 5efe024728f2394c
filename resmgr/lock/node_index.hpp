// SPDX-License-Identifier: Apache-2.0
//
// NodeIndex: the wait nodes of a region, sorted by the resource that they say they wait for.
//
// What it is: one pass and one sort for a recoverer who has many resources to look at, so that his
// work is that of the table, whatever is in it. What it is not: kept up to date: who began to wait
// since build() is not in it, and what is in it may wait no more.
//
// Lifetime: borrows the tables. All memory is taken at once, and touched when used. Thread-safety:
// one thread.
//
//   NodeIndex index(tables);
//   index.build();
//   for (const NodeIndex::Entry& entry : index.of(slot)) look_at(tables.nodes[entry.node]);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

class NodeIndex {
 public:
  struct Entry {
    std::uint32_t slot = 0;
    std::uint32_t node = 0;
    std::uint16_t context = 0;
  };

  /// May throw std::bad_alloc.
  explicit NodeIndex(const LockTables& tables);

  /// All nodes that somebody has, as they are now.
  void build() noexcept;
  /// Those of a slot, by context.
  [[nodiscard]] std::span<const Entry> of(std::uint32_t slot) const noexcept;
  /// Those of a slot and a context.
  [[nodiscard]] std::span<const Entry> of(std::uint32_t slot, std::uint16_t context) const noexcept;
  [[nodiscard]] std::span<const Entry> all() const noexcept { return entries_; }

 private:
  const LockTables& t_;
  std::vector<Entry> entries_;
};

}  // namespace resmgr::lock
