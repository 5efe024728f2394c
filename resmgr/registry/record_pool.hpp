// SPDX-License-Identifier: Apache-2.0
//
// RecordPool: takes and gives back the records of one table of chains.
//
// What it is: a free list through the records' first field, and a high-water mark above which pages
// were never touched. What it is not: crash-safe in itself; recovery makes it anew from the chains
// (`reset()`). Lifetime: borrows the tables. Thread-safety: for the writer alone.
//
//   RecordPool<rm_share> pool(tables.shares, tables.root->shares, tables.root->chains_seq);
//   std::uint32_t link = pool.take();   // 0: the table is full
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/atomic.hpp"
#include "resmgr/registry/records.hpp"

namespace resmgr::registry {

template <typename T>
class RecordPool {
 public:
  RecordPool(const Records<T>& records, rm_record_pool& state, std::uint32_t& chains_seq) noexcept
      : records_(records), state_(&state), chains_seq_(&chains_seq) {}

  [[nodiscard]] const Records<T>& records() const noexcept { return records_; }
  /// Records that take() can still give.
  [[nodiscard]] std::uint32_t available() const noexcept {
    const std::uint32_t used = load_relaxed(state_->used);
    return used < records_.count() ? records_.count() - used : 0;
  }
  /// A link to an unused record, 0 if there is none.
  [[nodiscard]] std::uint32_t take() noexcept {
    std::uint32_t link = load_relaxed(state_->free_link);
    if (const Word* record = records_.find(link); record != nullptr) {
      store_release(state_->free_link, load_field<std::uint32_t>(record, 0));
    } else {
      const std::uint32_t mark = load_relaxed(state_->high_water);
      if (mark >= records_.count()) return 0;
      store_release(state_->high_water, mark + 1);
      link = mark + 1;
    }
    bump(state_->used);
    return link;
  }
  /// Takes a record back that no chain leads to any more.
  void give_back(std::uint32_t link) noexcept {
    Word* const record = records_.find(link);
    if (record == nullptr) return;
    warn_readers();
    store_field<std::uint32_t>(record, 0, load_relaxed(state_->free_link));
    store_release(state_->free_link, link);
    store_release(state_->used, load_relaxed(state_->used) - 1);
  }
  /// Gives back all records of the chain that starts at byte `head_offset` of `owner` and goes on
  /// at byte `next_offset` of each record.
  void give_back_chain(Word* owner, std::size_t head_offset, std::size_t next_offset) noexcept {
    std::uint32_t link = load_field<std::uint32_t>(owner, head_offset);
    store_field<std::uint32_t>(owner, head_offset, 0);
    for (std::uint32_t budget = records_.count(); budget > 0 && link != 0; --budget) {
      const Word* const record = records_.find(link);
      if (record == nullptr) return;
      const auto next = load_field<std::uint32_t>(record, next_offset);
      give_back(link);
      link = next;
    }
  }
  /// Marks the records of such a chain in `in_use` (a flag for each record below the high-water
  /// mark), and ends the chain where it leads nowhere, or to a record that is marked already.
  void mark_chain(Word* owner, std::size_t head_offset, std::size_t next_offset,
                  std::vector<bool>& in_use) const noexcept {
    Word* from = owner;
    std::size_t offset = head_offset;
    for (;;) {
      const auto link = load_field<std::uint32_t>(from, offset);
      if (link == 0) return;
      if (link > in_use.size() || in_use[link - 1]) {
        store_field<std::uint32_t>(from, offset, 0);
        return;
      }
      in_use[link - 1] = true;
      from = records_.find(link);
      offset = next_offset;
    }
  }
  /// Makes the free list anew: free is whatever `in_use` (a flag for each record below the
  /// high-water mark) does not mark.
  void reset(const std::vector<bool>& in_use) noexcept {
    warn_readers();
    std::uint32_t used = 0;
    std::uint32_t free_link = 0;
    // Downwards, so that low records are taken first.
    for (std::uint32_t i = high_water(); i-- > 0;) {
      if (in_use[i]) {
        ++used;
      } else {
        store_field<std::uint32_t>(records_.at(i), 0, free_link);
        free_link = i + 1;
      }
    }
    store_release(state_->high_water, high_water());
    store_release(state_->free_link, free_link);
    store_release(state_->used, used);
  }
  /// Records from this index on were never used.
  [[nodiscard]] std::uint32_t high_water() const noexcept {
    const std::uint32_t mark = load_relaxed(state_->high_water);
    return mark < records_.count() ? mark : records_.count();
  }

 private:
  /// Those that still stand on a record that was in a chain find out by this number. Released, so
  /// that who sees it sees the chain without the record too.
  void warn_readers() noexcept { store_release(*chains_seq_, load_relaxed(*chains_seq_) + 1); }

  Records<T> records_;
  rm_record_pool* state_;
  std::uint32_t* chains_seq_;
};

}  // namespace resmgr::registry
