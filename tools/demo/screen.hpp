// SPDX-License-Identifier: Apache-2.0
//
// Screen: what the user sees while the demo works.
//
// What it is: labelled lines, and one line of progress that is written over, on terminals only.
// What it is not: for results as JSON; a silent one prints nothing. Thread-safety: one thread at a
// time.
//
//   screen.line("timer", "timer0/channel/0, 1000 Hz");
//   screen.progress("12 of 100 frames");
#pragma once

#include <chrono>
#include <string_view>

namespace demo {

class Screen {
 public:
  using Clock = std::chrono::steady_clock;

  /// Writes to standard output, unless it is silent.
  explicit Screen(bool silent);

  /// A line, or several with '\n' in between, beside a label.
  void line(std::string_view label, std::string_view text);
  /// Whether the time has come to show progress again; spares making the text.
  [[nodiscard]] bool wants_progress(Clock::time_point now) const noexcept;
  void progress(Clock::time_point now, std::string_view text);

 private:
  void wipe_progress();

  bool silent_;
  bool terminal_;
  bool progress_shown_ = false;
  Clock::time_point last_progress_;
};

}  // namespace demo
