// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/screen.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace demo {
namespace {

constexpr std::chrono::milliseconds kProgressPeriod{100};
constexpr const char* kWipe = "\r\x1b[K";  // to the start of the line, then erase to its end

}  // namespace

Screen::Screen(bool silent) : silent_(silent), terminal_(!silent && ::isatty(STDOUT_FILENO) == 1) {}

void Screen::line(std::string_view label, std::string_view text) {
  if (silent_) return;
  wipe_progress();
  while (true) {
    const auto end = text.find('\n');
    if (label.empty() && text.empty()) {
      fmt::print("\n");
    } else {
      fmt::print("{:<10} {}\n", label, text.substr(0, end));
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
    label = {};
  }
  std::fflush(stdout);
}

bool Screen::wants_progress(Clock::time_point now) const noexcept {
  return terminal_ && now - last_progress_ >= kProgressPeriod;
}

void Screen::progress(Clock::time_point now, std::string_view text) {
  if (!terminal_) return;
  fmt::print("{}{:<10} {}", kWipe, "moving", text);
  std::fflush(stdout);
  progress_shown_ = true;
  last_progress_ = now;
}

void Screen::wipe_progress() {
  if (progress_shown_) fmt::print("{}", kWipe);
  progress_shown_ = false;
}

}  // namespace demo
