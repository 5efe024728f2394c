// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/pressure_gauge.hpp"

#include <algorithm>

namespace resmgr::budget {

Result<PressureGauge> PressureGauge::make(const PressureThresholds& thresholds) noexcept {
  if (thresholds.warning_percent == 0 || thresholds.critical_percent > 100 ||
      thresholds.warning_percent > thresholds.critical_percent) {
    return fail(ErrorCode::InvalidArgument, "thresholds of pressure out of range");
  }
  return PressureGauge(thresholds);
}

ResourcePressure PressureGauge::level_of(const PressureSample& sample,
                                         unsigned lower) const noexcept {
  const auto reached = [&](unsigned percent) {
    // Something that is used up to its last percent, and was used at all, has not become free.
    const unsigned from = percent > lower ? percent - lower : 1;
    return sample.budget.reaches(from) || sample.cgroup.reaches(from);
  };
  if (reached(100)) return ResourcePressure::Critical;
  if (reached(at_.critical_percent)) return ResourcePressure::High;
  return reached(at_.warning_percent) ? ResourcePressure::Medium : ResourcePressure::Low;
}

bool PressureGauge::is_over(std::uint64_t since_ns, std::uint64_t now_ns) const noexcept {
  return now_ns >= since_ns && now_ns - since_ns >= at_.shortest_ns;
}

ResourcePressure PressureGauge::update(const PressureSample& sample,
                                       std::uint64_t now_ns) noexcept {
  if (sample.stalled) {
    has_stalled_ = true;
    stalled_ns_ = now_ns;
  } else if (has_stalled_ && is_over(stalled_ns_, now_ns)) {
    has_stalled_ = false;
  }
  const auto least = has_stalled_ ? ResourcePressure::High : ResourcePressure::Low;
  const ResourcePressure rising = std::max(least, level_of(sample, 0));
  const ResourcePressure falling = std::max(least, level_of(sample, kHysteresisPoints));
  const bool rises = rising > level_;
  const bool falls = falling < level_ && is_over(entered_ns_, now_ns);
  if (rises || falls) {
    level_ = rises ? rising : falling;
    entered_ns_ = now_ns;
  }
  return level_;
}

}  // namespace resmgr::budget
