// SPDX-License-Identifier: Apache-2.0
//
// RateLimit: whether one more of something may pass.
//
// What it is: at most `burst` within each window of time; the first that passes after a window
// opens the next one. What it is not: a count of what did not pass, for its user knows by which
// kinds to count; nor a clock. Thread-safety: a plain value.
//
//   RateLimit limit(100, std::chrono::seconds(10));
//   if (!limit.admit(now)) ++left_out;
//   if (limit.has_ended(now)) report(left_out);   // the flow has calmed
#pragma once

#include <chrono>
#include <cstdint>

namespace resmgr::daemon {

class RateLimit {
 public:
  RateLimit(std::uint32_t burst, std::chrono::nanoseconds window) noexcept
      : burst_(burst), window_ns_(static_cast<std::uint64_t>(window.count())) {}

  /// Times are of one clock that never goes back.
  [[nodiscard]] bool admit(std::uint64_t now_ns) noexcept {
    if (has_ended(now_ns)) {
      is_open_ = true;
      opened_at_ = now_ns;
      passed_ = 0;
    }
    if (passed_ >= burst_) return false;
    ++passed_;
    return true;
  }
  /// Whether no window is open at this time.
  [[nodiscard]] bool has_ended(std::uint64_t now_ns) const noexcept {
    return !is_open_ || now_ns - opened_at_ >= window_ns_;
  }

 private:
  std::uint32_t burst_;
  std::uint64_t window_ns_;
  bool is_open_ = false;
  std::uint64_t opened_at_ = 0;
  std::uint32_t passed_ = 0;
};

}  // namespace resmgr::daemon
