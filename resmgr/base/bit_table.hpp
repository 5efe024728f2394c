// SPDX-License-Identifier: Apache-2.0
//
// BitTable: a bit for each entry of a large table, of which few are ever set.
//
// What it is: memory that is paid where a bit is set, and given back by clear(); so who needs the
// bits now and then has them ready, and is no larger for it. What it is not: small for a small
// table: a page at least. Lifetime: owns its memory. Thread-safety: one thread.
//
//   BitTable seen(tables.node_count);
//   if (!seen[i]) seen.set(i);
//   seen.clear();
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "resmgr/base/mapping.hpp"

namespace resmgr {

class BitTable {
 public:
  /// All bits are 0. Throws std::bad_alloc.
  explicit BitTable(std::size_t bits) : memory_(reserve(bits)) {}

  /// REQUIRES: `bit` is below the number that it was made for, here and in set().
  [[nodiscard]] bool operator[](std::size_t bit) const noexcept {
    return (words()[bit / kWordBits] >> bit % kWordBits & 1) != 0;
  }
  void set(std::size_t bit, bool to = true) noexcept {
    const std::uint64_t mask = std::uint64_t{1} << bit % kWordBits;
    std::uint64_t& word = words()[bit / kWordBits];
    word = to ? word | mask : word & ~mask;
  }
  void clear() noexcept { memory_.discard(); }

 private:
  static constexpr std::size_t kWordBits = 64;

  [[nodiscard]] static Mapping reserve(std::size_t bits) {
    auto memory = Mapping::map_anonymous((bits / kWordBits + 1) * sizeof(std::uint64_t));
    if (!memory) throw std::bad_alloc();
    return std::move(*memory);
  }
  [[nodiscard]] std::uint64_t* words() const noexcept {
    return reinterpret_cast<std::uint64_t*>(memory_.data());
  }

  Mapping memory_;
};

}  // namespace resmgr
