// SPDX-License-Identifier: Apache-2.0
//
// Pairs: the bounded key=value metadata of a resource.
//
// What it is: a chain of at most 16 records, written before the resource is published and never
// changed after. What it is not: an index; selectors read them all. Lifetime: borrows the tables.
// Thread-safety: reading beside the writer at any time; one PairWriter.
//
//   auto pairs = read_pairs(tables, handle);
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/abi/description.hpp"
#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/registry/record_pool.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

/// A pair as the registry keeps it, zero-terminated.
struct PairCopy {
  std::array<char, RM_PAIR_KEY_BYTES> key{};
  std::array<char, RM_PAIR_VALUE_BYTES> value{};
};

/// All pairs of a resource, in the order they were given. Errors: StaleHandle, InvalidArgument
/// (damaged), WouldBlock (see read_chains()).
[[nodiscard]] Result<std::vector<PairCopy>> read_pairs(const Tables& tables, Handle handle);

class PairWriter {
 public:
  explicit PairWriter(const Tables& tables) noexcept;

  /// check_pairs(), and whether there is room. Errors: InvalidArgument, CapacityExceeded.
  [[nodiscard]] Result<void> check(std::span<const PairText> pairs) const noexcept;
  /// Writes the pairs and returns the link to the first, 0 if there are none. REQUIRES: check().
  [[nodiscard]] std::uint32_t write(std::span<const PairText> pairs) noexcept;

  /// Gives all records of an entry back. REQUIRES: the entry is not published any more.
  void drop_all(Word* entry) noexcept;
  /// Cuts chains where they are damaged, and makes the free list anew.
  void recover(const std::vector<bool>& live);

 private:
  Tables tables_;
  RecordPool<rm_pair> pool_;
};

}  // namespace resmgr::registry
