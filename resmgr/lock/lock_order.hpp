// SPDX-License-Identifier: Apache-2.0
//
// LockOrder: notices that classes of resources are acquired in two opposite orders, before it ever
// leads to a deadlock.
//
// What it is: for each class a bit set of the classes ever held when it was acquired, shared by the
// whole domain. A new edge that closes a cycle is reported once, with both places. What it is not:
// a deadlock check; that is WaitGraph. Holds of one class among themselves, class 0 ("none"),
// attempts that do not wait, and holds beyond the 64 in a context's list add no edges. Nothing
// allocates but the text of a report.
//
// Source: the acquired-before relation of Linux lockdep, per class, every holder counted as
// exclusive because shared requests queue behind exclusive ones here.
//
// Thread-safety: any thread. Lifetime: that of the tables.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <span>
#include <string>

#include "resmgr/base/error.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/names.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock {

class LockOrder {
 public:
  LockOrder(const LockTables& tables, const Names& names) noexcept : t_(tables), names_(names) {}

  /// True if nothing new would be learned: the fast path's question, some bit tests. Remembered for
  /// as long as the context holds the same.
  [[nodiscard]] bool permits(Context& context, std::uint16_t class_id) const noexcept {
    HoldList holds(context);
    const std::uint64_t all = holds.raw_bitmap();
    std::uint64_t used = holds.bitmap();
    if (used == 0 || class_id == 0 || policy() == OrderPolicy::Off) return true;
    const std::uint64_t* row = row_of(class_id);
    if (!row) return true;
    // Not if one was freed elsewhere: its entry may be used anew for what was not looked at.
    const bool is_whole = used == all;
    for (; used != 0; used &= used - 1) {
      const std::uint16_t held = class_of(holds, used);
      if (held != class_id && held != 0 && !test(row, held)) return false;
    }
    if (is_whole) holds.remember_order(all, class_id);
    return true;
  }

  /// Learns the edges from each held class to `class_id`. Reports an inversion under policy Warn;
  /// under Refuse learns nothing wrong. Errors: OrderViolation with both places in detail().
  Result<void> learn(Context& context, std::uint16_t class_id,
                     const std::source_location& place) noexcept;

  [[nodiscard]] OrderPolicy policy() const noexcept {
    const std::uint32_t value = load_relaxed(t_.region->order_policy);
    return value <= 2 ? static_cast<OrderPolicy>(value) : OrderPolicy::Warn;
  }
  void set_policy(OrderPolicy policy) noexcept {
    store_relaxed(t_.region->order_policy, static_cast<std::uint32_t>(policy));
  }

 private:
  static constexpr std::size_t kWords = RM_MAX_CLASSES / 64;

  [[nodiscard]] std::uint64_t* row_of(std::uint32_t class_id) const noexcept {
    return class_id < RM_MAX_CLASSES ? t_.order_bits + class_id * kWords : nullptr;
  }
  [[nodiscard]] static bool test(const std::uint64_t* row, std::uint32_t bit) noexcept {
    return bit < RM_MAX_CLASSES && (load_relaxed(row[bit / 64]) >> (bit % 64) & 1) != 0;
  }
  /// Of the first hold in `used`.
  [[nodiscard]] static std::uint16_t class_of(const HoldList& holds, std::uint64_t used) noexcept {
    return holds.class_id(static_cast<unsigned>(std::countr_zero(used)));
  }
  /// A chain of classes, each held when the next was acquired.
  struct Chain {
    std::array<std::uint16_t, RM_MAX_CLASSES> classes{};
    std::size_t count = 0;
    [[nodiscard]] std::span<const std::uint16_t> view() const noexcept {
      return {classes.data(), count};
    }
  };
  void find_chain(std::uint16_t from, std::uint16_t to, Chain& chain) const noexcept;
  [[nodiscard]] rm_order_edge* edge(std::uint16_t held, std::uint16_t acquired) noexcept;
  void remember(std::uint16_t held, std::uint16_t acquired,
                const std::source_location& place) noexcept;
  [[nodiscard]] std::string describe(std::uint16_t held, std::uint16_t acquired,
                                     std::span<const std::uint16_t> known,
                                     const std::source_location& place);

  const LockTables& t_;
  const Names& names_;
};

}  // namespace resmgr::lock
