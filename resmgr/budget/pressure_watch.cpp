// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/pressure_watch.hpp"

#include <algorithm>
#include <vector>

#include "resmgr/base/atomic.hpp"
#include "resmgr/budget/book.hpp"

namespace resmgr::budget {
namespace {

/// A level that may end is looked at so often.
constexpr std::uint64_t kPauseNs = 500'000'000;
/// And the memory around the process while nothing is pressed: two small files to read.
constexpr std::uint64_t kQuietPauseNs = 1'000'000'000;

}  // namespace

void PressureWatch::look(std::uint32_t driver, ResourceType type, std::uint64_t now_ns) {
  rm_budget* const row = tables_.row(driver, type);
  if (row == nullptr) return;
  const bool surrounded =
      driver == 0 && type == ResourceType::Memory &&
      (cgroup_.limit != kUnlimited || stalled_ || (observer_ && observer_->sees_stalls()));
  const bool limited = (load_relaxed(row->flags) & RM_BUDGET_LIMITED) != 0;
  // Most registrations pass here, and in most domains nothing is watched.
  if (!limited && !surrounded && watched_.empty()) [[likely]]
    return;
  auto entry = watched_.find(key(driver, type));
  if (!limited && !surrounded && entry == watched_.end()) return;
  const BudgetUsage usage = read_usage(*row);
  const PressureThresholds thresholds{.warning_percent = usage.budget.warning_percent,
                                      .critical_percent = usage.budget.critical_percent};
  if (entry == watched_.end() || entry->second.thresholds != thresholds) {
    const auto gauge = PressureGauge::make(thresholds);
    if (!gauge) return;
    entry = watched_.insert_or_assign(key(driver, type), Watched{thresholds, *gauge}).first;
  }
  PressureSample sample;
  // What is reserved is nothing to who is not in an emergency.
  if (limited) {
    sample.budget = usage.available() == 0 ? Fill{1, 1} : Fill{usage.used, usage.budget.max};
  }
  if (surrounded) {
    sample.cgroup = cgroup_;
    sample.stalled = stalled_;
  }
  const ResourcePressure level = entry->second.gauge.update(sample, now_ns);
  if (!limited && !surrounded && level == ResourcePressure::Low) watched_.erase(entry);
  if (level == usage.pressure) return;
  store_relaxed(row->level, static_cast<std::uint8_t>(level));
  if (told_) told_({.driver = driver, .type = type, .level = level, .before = usage.pressure});
}

void PressureWatch::look_around(const Fill& cgroup, bool stalled, std::uint64_t now_ns) {
  cgroup_ = cgroup;
  stalled_ = stalled;
  look(0, ResourceType::Memory, now_ns);
}

std::optional<std::uint64_t> PressureWatch::look_again(std::uint64_t now_ns) {
  if (observer_ && observer_->sees_anything()) {
    const MemoryObserver::View view = observer_->look();
    look_around(view.cgroup, view.stalled, now_ns);
  }
  std::vector<std::size_t> pressed;
  for (const auto& [row, watched] : watched_) {
    if (watched.gauge.level() != ResourcePressure::Low) pressed.push_back(row);
  }
  std::ranges::sort(pressed);
  bool is_pressed = false;
  for (const std::size_t row : pressed) {
    const auto driver = static_cast<std::uint32_t>(row / RM_RESOURCE_TYPES);
    const auto type = static_cast<ResourceType>(row % RM_RESOURCE_TYPES);
    look(driver, type, now_ns);
    const auto left = watched_.find(row);
    is_pressed |= left != watched_.end() && left->second.gauge.level() != ResourcePressure::Low;
  }
  if (is_pressed) return now_ns + kPauseNs;
  if (observer_ && observer_->sees_anything()) return now_ns + kQuietPauseNs;
  return {};
}

}  // namespace resmgr::budget
