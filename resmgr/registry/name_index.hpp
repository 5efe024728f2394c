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
//   const NameKey key = name_key(name, tables.secrets);
//   if (!index.contains(key, name)) index.insert(key, handle, name.size());
//   index.publish(key.hash, handle);
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "resmgr/base/handle.hpp"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/name_key.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

class NameIndex {
 public:
  explicit NameIndex(const Tables& tables) noexcept;

  /// Whether the name is taken, by a prepared resource or a published one.
  [[nodiscard]] bool contains(const NameKey& key, std::string_view name) noexcept;
  /// Takes a name for a prepared resource, whose entry has it already. Readers don't find it.
  /// REQUIRES: contains() says no, and fewer than `slots` names are in the index.
  void insert(const NameKey& key, Handle handle, std::size_t name_bytes) noexcept;
  /// From here on readers find it. Does nothing if it is not there.
  void publish(std::uint64_t name_hash, Handle handle) noexcept;
  /// Does nothing if it is not there.
  void erase(std::uint64_t name_hash, Handle handle) noexcept;
  /// Makes the index anew from the entries of the slots marked in `live`, all of them published. Of
  /// several of one name, which only damage leaves, the first is found; the mark of the others is
  /// taken away.
  void rebuild(std::vector<bool>& live) noexcept;

 private:
  /// What index_state says, decoded again only if that is another word than last time.
  [[nodiscard]] const IndexState& state() noexcept;
  [[nodiscard]] Word* cell(const IndexState& state, std::uint32_t place) const noexcept;
  [[nodiscard]] std::uint32_t half_cells() const noexcept { return tables_.index.count() / 2; }
  [[nodiscard]] bool contains_in(const IndexState& state, const NameKey& key,
                                 std::string_view name) const noexcept;
  /// The first cell from the hash's home on of which `is_it(words, identity)` is true, or null.
  template <typename IsIt>
  [[nodiscard]] Word* find_in(const IndexState& state, std::uint64_t hash,
                              IsIt&& is_it) const noexcept;
  /// The cell of a resource, prepared or published, or null.
  [[nodiscard]] Word* find_cell(std::uint64_t name_hash, Handle handle) noexcept;
  /// An empty half for at least `cells` cells, not yet in use.
  [[nodiscard]] IndexState clear_other_half(std::uint32_t cells) noexcept;
  /// Fills the first free cell from its home on.
  void place(const IndexState& state, const NameKey& key, Word identity) const noexcept;
  void count_tombstones(int more) const noexcept;
  void make_room() noexcept;
  void publish(const IndexState& state, std::uint32_t names) const noexcept;

  Tables tables_;
  Word known_word_ = 0;
  IndexState known_state_;  ///< of known_word_
};

}  // namespace resmgr::registry
