// SPDX-License-Identifier: Apache-2.0
//
// Change: what is registered changes, in several stores.
//
// What it is: the mark in the region that entry, index and counters contradict each other until the
// last of these stores, which may be long after the first: their writer can be stopped in between.
// Whoever compares them looks whether rm_registry_region.changes_seq is even, and stood still
// meanwhile. What it is not: a lock; nor anything that a look-up asks, which is right at each
// store. Lifetime: borrows the tables. Thread-safety: the writer's.
//
//   const Change change(tables);
//   ...                          // an entry, its cell in the index, the counters
#pragma once

#include <cstdint>

#include "resmgr/base/atomic.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

class Change {
 public:
  explicit Change(const Tables& tables) noexcept
      // Odd already: a writer before this one died in the middle.
      : seq_(tables.root->changes_seq), value_(load_relaxed(seq_) | 1u) {
    store_release(seq_, value_);
  }
  ~Change() { store_release(seq_, value_ + 1); }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

 private:
  std::uint32_t& seq_;
  std::uint32_t value_;
};

}  // namespace resmgr::registry
