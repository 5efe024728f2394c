// SPDX-License-Identifier: Apache-2.0
//
// NameIndex: the writer's side of the name index.
//
// What it is: insertion and removal in the half of the index table that is in use, and rebuilding
// into the other half when it gets full or littered; readers go on in the old half and notice when
// it is replaced. It starts at one page and doubles, so a small domain pays little. What it is not:
// the readers' search; see name_lookup.hpp. Lifetime: borrows the tables. Thread-safety: for the
// writer alone, readers beside it.
//
//   NameIndex index(tables);
//   index.insert(hash_bytes(name, tables.name_seed), slot + 1);
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

class NameIndex {
 public:
  explicit NameIndex(const Tables& tables) noexcept : tables_(tables) {}

  /// Asks for the memory that find() and insert() of that hash look at first.
  void prefetch(std::uint64_t hash) const noexcept;
  /// The link of the entry of that name, prepared ones included; 0 if there is none.
  [[nodiscard]] std::uint32_t find(std::uint64_t hash, std::string_view name) const noexcept;
  /// REQUIRES: find() says 0, and fewer than `slots` names are in the index.
  void insert(std::uint64_t hash, std::uint32_t link) noexcept;
  /// Does nothing if it is not there.
  void erase(std::uint64_t hash, std::uint32_t link) noexcept;
  /// Makes the index anew from the entries of the slots marked in `live`. Of several of one name,
  /// which only damage leaves, the first is found; the mark of the others is taken away.
  void rebuild(std::vector<bool>& live) noexcept;

 private:
  [[nodiscard]] IndexState state() const noexcept;
  [[nodiscard]] std::uint32_t find_in(const IndexState& state, std::uint64_t hash,
                                      std::string_view name) const noexcept;
  [[nodiscard]] Word* bucket_words(const IndexState& state, std::uint32_t bucket) const noexcept;
  [[nodiscard]] std::uint32_t half_buckets() const noexcept { return tables_.index_buckets / 2; }
  /// An empty half for at least `buckets` buckets, not yet in use.
  [[nodiscard]] IndexState clear_other_half(std::uint32_t buckets) const noexcept;
  /// Puts a word into the first free place from its home on.
  void place(const IndexState& state, Word word) const noexcept;
  void make_room(const IndexState& state) noexcept;
  void publish(const IndexState& state, std::uint32_t names) const noexcept;

  Tables tables_;
};

}  // namespace resmgr::registry
