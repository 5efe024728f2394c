// SPDX-License-Identifier: Apache-2.0
//
// CurrentIndex: the part of the index table that this process last saw in use, ready for look-ups.
//
// What it is: a checked copy of what index_state says, so that a look-up decodes and checks nothing
// and has one word to compare in the end. What it is not: up to date; who uses it compares
// index_state with the copy's word after his search, and refreshes it where they differ. That one
// comparison is enough: no state of an index comes twice (in 2^32 rebuilds), so it stood there all
// the time since it was copied.
// Lifetime: borrows the tables; the region owns it. Thread-safety: thread-safe.
//
//   const IndexPart part = current.part();
//   Line* line = part.line(key.hash);
//   if (load_acquire(*tables.index_state) != part.state) current.refresh();
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/registry/index_state.hpp"
#include "resmgr/registry/records.hpp"

namespace resmgr::registry {

inline constexpr std::size_t kCellWords = sizeof(rm_index_cell) / kWordBytes;

/// A part of the table, inside it whatever the region says, and the state that it belongs to.
struct IndexPart {
  Word state = 0;
  const Word* cells = nullptr;
  std::uint64_t line_shift = 0;  ///< 64 - log2(lines)

  /// The first cell of a hash's home.
  [[nodiscard]] const Word* line(std::uint64_t hash) const noexcept {
    return cells + (hash >> line_shift) * (RM_INDEX_LINE_CELLS * kCellWords);
  }
};

class CurrentIndex {
 public:
  /// Knows no part yet. REQUIRES: a table of at least kMinIndexEntries cells.
  CurrentIndex(const Word& index_state, const Records<rm_index_cell>& index) noexcept
      : index_state_(index_state), index_(index), cells_(index.at(0)) {}

  /// What was found by the last refresh(); where nothing was, of a state that index_state never
  /// has.
  [[nodiscard]] IndexPart part() const noexcept {
    // Parts that mix two refreshes are inside the table too, and their state is not the current one
    // any more: it is read first, written last, and the others only after a newer one was seen.
    const Word state = state_.load(std::memory_order_acquire);
    const Word* const cells = cells_.load(std::memory_order_acquire);
    return {
        .state = state, .cells = cells, .line_shift = line_shift_.load(std::memory_order_acquire)};
  }

  /// Copies what index_state says now, unless another thread just does or it says nothing valid.
  void refresh() noexcept {
    if (busy_.exchange(true, std::memory_order_acquire)) return;
    const Word word = load_acquire(index_state_);
    if (const auto state = IndexState::decode(word, index_.count())) {
      cells_.store(index_.at(state->first), std::memory_order_release);
      line_shift_.store(state->shift + std::countr_zero(RM_INDEX_LINE_CELLS),
                        std::memory_order_release);
      state_.store(word);
      // Of this store and stop()'s one is the later; if it is this, the other flag is seen here.
      if (stopped_.load()) state_.store(kNoState);
    }
    busy_.store(false, std::memory_order_release);
  }

  /// From here on there is no part, so that whoever would use it asks elsewhere.
  void stop() noexcept {
    stopped_.store(true);
    state_.store(kNoState);
  }

 private:
  /// Has bits that no valid state has.
  static constexpr Word kNoState = ~Word{0};

  const Word& index_state_;
  const Records<rm_index_cell> index_;
  std::atomic<Word> state_{kNoState};
  std::atomic<const Word*> cells_;
  std::atomic<std::uint64_t> line_shift_{63};
  std::atomic<bool> busy_{false};
  std::atomic<bool> stopped_{false};
};

}  // namespace resmgr::registry
