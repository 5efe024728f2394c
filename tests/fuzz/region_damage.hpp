// SPDX-License-Identifier: Apache-2.0
//
// What is needed to damage a region on purpose and to see who strays out of a table.
//
// What it is: a script of bytes that chooses what is written where; a header that keeps the tables
// of a region apart, and one that a hostile peer wrote; and fences, the gaps between tables that
// nobody may look at. The address sanitizer stops whoever does; without it fences do nothing. What
// it is not: calls; tests/lock/damage.hpp and tests/registry/damage.hpp make them. Lifetime: a
// script borrows its bytes; fences borrow the mapping and must go before it, because the next one
// may lie at the same addresses. Thread-safety: plain values.
//
//   const rm_region_header header = with_gaps(region.header());
//   ...                                       // a file with that header, attached as `region`
//   const Fences fences(region.bytes(), tables);
//   Script script(bytes);
//   while (!script.over()) script.scribble(tables[script.next_below(tables.size())]);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/abi/layout.h"

namespace resmgr::test {

/// Bytes that decide, read from their start; zeros once they are used up.
class Script {
 public:
  explicit Script(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool over() const { return bytes_.empty(); }
  std::uint8_t next();
  /// Below `end`, which is above 0 and at most 2^24.
  std::size_t next_below(std::size_t end);
  /// Writes up to 23 bytes somewhere into `table`.
  void scribble(std::span<std::byte> table);
  /// Writes one 32-bit number at `place`, a multiple of 4: often a small one, which looks like a
  /// link, a state or an identity that exists, and so leads further than any other does, or one
  /// just beside a bound, as the capacities in `bounds` are.
  void plant(std::span<std::byte> bytes, std::size_t place, const Capacities& bounds);

 private:
  std::span<const std::uint8_t> bytes_;
};

/// The header of a region with the same tables, a gap in front of each and one behind the last.
[[nodiscard]] rm_region_header with_gaps(rm_region_header header);

/// A header in which a peer wrote something, mostly a few numbers, and mostly with a checksum that
/// is right again: whoever can write the one can write the other.
[[nodiscard]] rm_region_header damaged(rm_region_header header, Script& script);

template <typename T>
[[nodiscard]] std::span<std::byte> bytes_of(T* first, std::size_t count) {
  return std::as_writable_bytes(std::span<T>(first, count));
}

/// While it lives, what is in `region` and in none of `tables` is out of bounds.
class Fences {
 public:
  Fences(std::span<std::byte> region, std::vector<std::span<std::byte>> tables);
  Fences(const Fences&) = delete;
  Fences& operator=(const Fences&) = delete;
  ~Fences();

 private:
  std::span<std::byte> region_;
};

}  // namespace resmgr::test
