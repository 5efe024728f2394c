// SPDX-License-Identifier: Apache-2.0
//
// PressureGauge: how scarce something is, in four levels that do not flap.
//
// What it is: a state machine from what is used to a level. It rises at once, to what the amounts
// say: Medium from the warning threshold on, High from the critical one on, and Critical where
// nothing is left, as ResourceBudget says. It falls when the amounts are kHysteresisPoints below
// where the level begins, and it has lasted for as long as a level lasts at least. A stall of the
// kernel's (pressure_stall.hpp) is High for that long, whatever the amounts say. The fullest of
// several amounts counts: a budget's own, and that of the memory cgroup around the process. What it
// is not: an observer: who polls tells it what he saw; nor a callback: who asks compares.
//
// Times: ns of one clock that never goes back. Lifetime and thread-safety: a plain value.
//
//   auto gauge = PressureGauge::make({.warning_percent = 75, .critical_percent = 90});
//   if (gauge->update({.budget = {used, limit}}, now) != before) tell_everybody(gauge->level());
#pragma once

#include <cstdint>

#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/budget/fill.hpp"

namespace resmgr::budget {

/// So many points of a percentage below where it begins, a level ends.
inline constexpr unsigned kHysteresisPoints = 5;

struct PressureThresholds {
  unsigned warning_percent = 75;              ///< 1 to critical_percent
  unsigned critical_percent = 90;             ///< up to 100
  std::uint64_t shortest_ns = 1'000'000'000;  ///< how long a level lasts at least

  friend bool operator==(const PressureThresholds&, const PressureThresholds&) noexcept = default;
};

/// What was seen at one moment.
struct PressureSample {
  Fill budget = {};
  Fill cgroup = {};
  bool stalled = false;  ///< processes waited for memory, as the kernel told
};

class PressureGauge {
 public:
  /// Errors: InvalidArgument (thresholds out of their range).
  [[nodiscard]] static Result<PressureGauge> make(const PressureThresholds& thresholds) noexcept;

  /// Returns the level after that sample.
  ResourcePressure update(const PressureSample& sample, std::uint64_t now_ns) noexcept;
  [[nodiscard]] ResourcePressure level() const noexcept { return level_; }

 private:
  explicit PressureGauge(const PressureThresholds& thresholds) noexcept : at_(thresholds) {}

  /// The level that amounts give by themselves, each level beginning `lower` points lower.
  [[nodiscard]] ResourcePressure level_of(const PressureSample& sample,
                                          unsigned lower) const noexcept;
  [[nodiscard]] bool is_over(std::uint64_t since_ns, std::uint64_t now_ns) const noexcept;

  PressureThresholds at_;
  ResourcePressure level_ = ResourcePressure::Low;
  std::uint64_t entered_ns_ = 0;  ///< when the level was reached
  bool has_stalled_ = false;
  std::uint64_t stalled_ns_ = 0;  ///< when it last did
};

}  // namespace resmgr::budget
