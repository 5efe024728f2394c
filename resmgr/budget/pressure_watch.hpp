// SPDX-License-Identifier: Apache-2.0
//
// PressureWatch: the levels of pressure of all budgets that have a limit.
//
// What it is: a gauge for each such row, whose level stands in the row, and whoever wants to know
// is told of each change, in their order. Memory of all together is also as scarce as the memory
// around the process is, whether or not it has a limit itself. What it is not: a thread; whoever
// changes the book says so, and where look_again() names a time, somebody comes back then.
//
// Lifetime: borrows the tables. Thread-safety: callers serialise.
//
//   PressureWatch watch(tables);
//   watch.on_change([](const PressureWatch::Change& change) { ... });
//   book.on_change([&](auto driver, auto type) { watch.look(driver, type, now()); });
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>

#include "resmgr/abi/budget_tables.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/budget/fill.hpp"
#include "resmgr/budget/memory_observer.hpp"
#include "resmgr/budget/pressure_gauge.hpp"

namespace resmgr::budget {

class PressureWatch {
 public:
  struct Change {
    std::uint32_t driver = 0;  ///< 0: of all together
    ResourceType type = ResourceType::Custom;
    ResourcePressure level = ResourcePressure::Low;
    ResourcePressure before = ResourcePressure::Low;
  };

  explicit PressureWatch(const BudgetTables& tables) noexcept : tables_(tables) {}

  /// Who is told; quick, and calling nothing of this.
  void on_change(std::function<void(const Change&)> told) { told_ = std::move(told); }
  /// A row is not what it was. May throw std::bad_alloc, where it got a limit.
  void look(std::uint32_t driver, ResourceType type, std::uint64_t now_ns);
  /// From the next look_again() on, the memory around the process is looked at through this.
  void observe(MemoryObserver observer) noexcept { observer_ = std::move(observer); }
  [[nodiscard]] bool observes() const noexcept { return observer_.has_value(); }
  /// See MemoryObserver; -1 if nothing is observed.
  [[nodiscard]] int stall_fd() const noexcept { return observer_ ? observer_->stall_fd() : -1; }
  /// Its stall_fd() was ready; look_again() follows.
  void note_stall() noexcept {
    if (observer_) observer_->note_stall();
  }
  /// What is seen of the memory around the process. May throw std::bad_alloc.
  void look_around(const Fill& cgroup, bool stalled, std::uint64_t now_ns);
  /// Looks around, and at all that are pressed. Returns when to do so again; nothing if none is,
  /// and nothing is there to be observed. May throw std::bad_alloc.
  [[nodiscard]] std::optional<std::uint64_t> look_again(std::uint64_t now_ns);

 private:
  struct Watched {
    PressureThresholds thresholds;
    PressureGauge gauge;
  };
  [[nodiscard]] static std::size_t key(std::uint32_t driver, ResourceType type) noexcept {
    return std::size_t{driver} * RM_RESOURCE_TYPES + static_cast<std::size_t>(type);
  }

  BudgetTables tables_;
  std::function<void(const Change&)> told_;
  std::unordered_map<std::size_t, Watched> watched_;
  std::optional<MemoryObserver> observer_;
  Fill cgroup_;
  bool stalled_ = false;  ///< as it was seen last
};

}  // namespace resmgr::budget
