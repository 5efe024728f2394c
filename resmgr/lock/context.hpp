// SPDX-License-Identifier: Apache-2.0
//
// Context: this process's side of one context, and its list of holds.
//
// What it is: the id that words and cells carry, the record in the lock region, the place where
// each hold was acquired, the cells it parked, a spare wait node, and room for a walk of the
// wait-for graph. What it is not: a thread. Lifetime: made by ContextTable and never freed while
// the process runs, so that a hold that outlives its domain finds a closed context, not freed
// memory.
//
// Thread-safety: a context acquires from one thread at a time. Releases may come from any thread:
// the hold list tells the context's own thread (plain stores) from others (atomic or).
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <source_location>

#include "resmgr/abi/layout.h"
#include "resmgr/base/atomic.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/mapping.hpp"
#include "resmgr/base/tick.hpp"
#include "resmgr/lock/planted_bug.hpp"

namespace resmgr::lock {

class LockEngine;
struct Wait;

/// What is different in each thread that runs; costs no call.
[[nodiscard]] inline const void* this_thread() noexcept { return __builtin_thread_pointer(); }

struct alignas(64) Context {
  // All that an uncontended pair reads of it lies on the first line, the tables among it.

  /// Null once the domain is closed or over: releases then do nothing.
  std::atomic<LockEngine*> engine{nullptr};
  rm_slot* slots = nullptr;
  rm_context* record = nullptr;
  std::uint64_t owner_bits = 0;  ///< the id, shifted to the owner field of a state word
  const Tick* tick = nullptr;
  std::uint64_t timed_at = kNeverTimed;  ///< the tick at which a hold of it was last timed exactly
  const void* thread = nullptr;          ///< this_thread() of the thread it belongs to, or null
  std::uint32_t slot_count = 0;          ///< 0 once closed or over, perhaps by another thread
  std::uint16_t id = 0;
  std::uint16_t resting_priority = 0;

  static constexpr std::uint64_t kNeverTimed = 1;  // no tick is odd

  std::uint64_t clock_reads_since = 0;  ///< ns, see LockEngine::stamp()
  std::uint32_t clock_reads = 0;
  std::uint32_t spare_node_link = 0;  ///< a free node kept for the next wait
  Wait* waits = nullptr;              ///< those begun and not over, newest first

  // The account of its driver, once it has charged it: what was, and what was granted, by type.
  std::uint64_t* credits_used = nullptr;
  const std::uint64_t* credits_granted = nullptr;

  // What the lock-order check said last: beside the holds of this bitmap, this class was in order.
  // While the bitmap is the same, and no entry of the list has got another class, they are the same
  // classes; and an order that is known stays known.
  std::uint64_t ordered_bitmap = 0;
  std::uint16_t ordered_class = 0;

  /// Cells of this context that wait in resources' chains, by slot; direct-mapped.
  struct Parked {
    std::uint32_t slot = 0;
    rm_cell* cell = nullptr;
  };
  static constexpr std::uint32_t kParked = 64;
  std::array<Parked, kParked> parked{};

  // Of each entry of the hold list; of use to this process alone.
  std::array<std::uint16_t, RM_CONTEXT_HOLDS> classes{};
  std::array<std::source_location, RM_CONTEXT_HOLDS> places{};
  Mapping scratch;  ///< for WaitGraph; paid when touched

  [[nodiscard]] bool on_own_thread() const noexcept { return thread == this_thread(); }
};

/// What a hold writes where its resource keeps it, a slot or a cell. The holder's own fields:
/// relaxed, for others read them as hints.
template <typename Record>
[[gnu::always_inline]] inline void begin_hold(Record& record, std::uint64_t stamp,
                                              std::uint32_t hold_index) noexcept {
  bump(record.acquisitions);
  store_relaxed(record.acquired_at, stamp);
  store_relaxed(record.hold_index, hold_index);
}

/// Position + 1 of the hold of this resource in the list of a context, or 0 if it is not there.
/// From any thread, of any client.
[[nodiscard]] inline std::uint32_t find_hold(const rm_context& record, Handle handle) noexcept {
  std::uint64_t used = load_relaxed(record.hold_bitmap) & ~load_acquire(record.foreign_freed);
  for (; used != 0; used &= used - 1) {
    const auto position = static_cast<unsigned>(std::countr_zero(used));
    const std::uint64_t entry = load_relaxed(record.holds[position]) & ~std::uint64_t{0xff};
    if (entry == handle.with_tenure(0).bits()) return position + 1;
  }
  return 0;
}

/// The list of holds in the context's record: a hint for recovery, what the lock-order check looks
/// at, and what a thread leaves behind when it ends. Words and cells are the truth (I2).
class HoldList {
 public:
  explicit HoldList(Context& context) noexcept : context_(context), record_(*context.record) {}

  /// Entries in use, those that other threads freed taken out.
  [[nodiscard]] std::uint64_t bitmap() const noexcept {
    const std::uint64_t used = load_relaxed(record_.hold_bitmap);
    return used == 0 ? 0 : used & ~load_acquire(record_.foreign_freed);
  }
  /// Holds that found no room in the list are known by number only.
  [[nodiscard]] std::uint32_t overflow() const noexcept {
    return load_relaxed(record_.overflow_holds);
  }
  [[nodiscard]] bool empty() const noexcept { return bitmap() == 0 && overflow() == 0; }

  /// Nothing is in the list. Cheaper than empty(), and false while entries freed by other threads
  /// have not been collected.
  [[nodiscard]] bool unused() const noexcept { return load_relaxed(record_.hold_bitmap) == 0; }
  /// add() to a list that is unused().
  [[nodiscard]] std::uint32_t add_first(Handle handle, std::uint16_t class_id, bool shared,
                                        const std::source_location& place) noexcept {
    return put(0, make_entry(handle, shared), class_id, place);
  }

  /// The list as it is, entries freed by other threads among it.
  [[nodiscard]] std::uint64_t raw_bitmap() const noexcept {
    return load_relaxed(record_.hold_bitmap);
  }
  /// add() to a list that was as raw_bitmap() said, with room for one more.
  [[nodiscard]] std::uint32_t add_beside(std::uint64_t used, Handle handle, std::uint16_t class_id,
                                         bool shared, const std::source_location& place) noexcept {
    return put(used, make_entry(handle, shared), class_id, place);
  }
  /// The lock-order check permits this class beside these.
  void remember_order(std::uint64_t used, std::uint16_t class_id) noexcept {
    context_.ordered_bitmap = used;
    context_.ordered_class = class_id;
  }
  /// It did so when it was asked last, and what is held is the same. False for a full list.
  [[nodiscard]] bool is_known_order(std::uint64_t used, std::uint16_t class_id) const noexcept {
    return used == context_.ordered_bitmap && class_id == context_.ordered_class && ~used != 0;
  }

  /// Adds a hold; called by the acquiring thread. Returns position + 1, or 0 if the list is full.
  [[nodiscard]] std::uint32_t add(Handle handle, std::uint16_t class_id, bool shared,
                                  const std::source_location& place) noexcept {
    std::uint64_t used = load_relaxed(record_.hold_bitmap);
    if (~used == 0) {
      used &= ~atomic(record_.foreign_freed).exchange(0, std::memory_order_acq_rel);
      if (~used == 0) {
        atomic(record_.overflow_holds).fetch_add(1, std::memory_order_relaxed);
        return 0;
      }
    }
    return put(used, make_entry(handle, shared), class_id, place);
  }

  /// Removes what add() returned, marked as RM_HOLD_TIMED or not; from any thread.
  void remove(std::uint32_t index) noexcept {
    index &= ~RM_HOLD_TIMED;
    if (index == 0 || index > RM_CONTEXT_HOLDS) {
      atomic(record_.overflow_holds).fetch_sub(1, std::memory_order_relaxed);
      return;
    }
    if (context_.on_own_thread() || planted::kPlainForeignFree) {
      remove_own(index);
    } else {
      // Released so that the context's thread, which reads it with acquire, may use the entry anew.
      atomic(record_.foreign_freed).fetch_or(bit_of(index), std::memory_order_release);
    }
  }
  /// remove() of an entry of the list (1 to RM_CONTEXT_HOLDS), by the context's own thread.
  void remove_own(std::uint32_t index) noexcept {
    store_relaxed(record_.hold_bitmap, load_relaxed(record_.hold_bitmap) & ~bit_of(index));
  }

  [[nodiscard]] std::uint16_t class_id(unsigned position) const noexcept {
    return context_.classes[position];
  }
  [[nodiscard]] std::uint64_t entry(unsigned position) const noexcept {
    return load_relaxed(record_.holds[position]);
  }

 private:
  /// Puts an entry beside those of `used`, of which one is clear.
  [[gnu::always_inline]] std::uint32_t put(std::uint64_t used, std::uint64_t entry,
                                           std::uint16_t class_id,
                                           const std::source_location& place) noexcept {
    const auto position = static_cast<unsigned>(std::countr_one(used));
    store_relaxed(record_.holds[position], entry);
    if (context_.classes[position] != class_id) {
      context_.classes[position] = class_id;
      context_.ordered_bitmap = 0;
    }
    context_.places[position] = place;
    store_relaxed(record_.hold_bitmap, used | std::uint64_t{1} << position);
    return position + 1;
  }
  [[nodiscard]] static constexpr std::uint64_t bit_of(std::uint32_t index) noexcept {
    return std::uint64_t{1} << (index - 1);
  }
  [[nodiscard]] static constexpr std::uint64_t make_entry(Handle handle, bool shared) noexcept {
    return handle.with_tenure(0).bits() | (shared ? RM_HOLD_SHARED : 0u);
  }

  Context& context_;
  rm_context& record_;
};

}  // namespace resmgr::lock
