// SPDX-License-Identifier: Apache-2.0
//
// LogOutput: the daemon's LogSink, which writes to standard error.
//
// What it is: one line, one write(2). Where the journal reads standard error, each line begins with
// its priority ("<4>"), else with the program's name and the level. What peers had a hand in can't
// forge a line or play with a terminal: all that is not printable ASCII is escaped. Within a window
// of time each level has so many lines; of the rest the count is written once the window is over
// ("12 similar lines left out"). What it is not: a place for what must not be lost; that is the
// audit log.
//
// A line that nobody has room for is lost, and counted; the count is written with the next one that
// goes through. It asks poll(2) for room before it writes, and leaves O_NONBLOCK alone, which would
// be set for all who share the terminal. So it waits only where somebody else fills a pipe between
// the two calls, or while a disk does. SIGPIPE should be ignored for the same reason: a reader who
// is gone is noticed in advance, but one may go in between.
//
// Lifetime: borrows the descriptor; its sinks borrow it. Thread-safety: all functions from any
// thread; a child of fork() must not use it if another thread did at that time.
//
//   LogOutput output;
//   options.log = output.sink();
//   every_second([&] { output.report_left_out(); });
#pragma once

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "resmgr/base/log.hpp"
#include "resmgr/daemon/rate_limit.hpp"
#include "resmgr/daemon/surroundings.hpp"
#include "resmgr/daemon/text_buffer.hpp"

namespace resmgr::daemon {

class LogOutput {
 public:
  struct Options {
    int fd = STDERR_FILENO;
    std::uint32_t burst = 100;  ///< lines of one level in a window
    std::chrono::nanoseconds window = std::chrono::seconds(1);
    LogLevel least = LogLevel::Info;  ///< what is less severe is left out, and not counted
  };

  explicit LogOutput(Surroundings& surroundings = Surroundings::process())
      : LogOutput(surroundings, Options()) {}
  LogOutput(Surroundings& surroundings, const Options& options);
  LogOutput(const LogOutput&) = delete;
  LogOutput& operator=(const LogOutput&) = delete;
  /// Writes the counts that are still due.
  ~LogOutput();

  void write(LogLevel level, std::string_view line) noexcept;
  /// From here on, as the configuration says. Windows begin anew.
  void set_limits(LogLevel least, std::uint32_t burst) noexcept;
  /// Writes the counts of windows that are over. Without it they wait for the next line.
  void report_left_out() noexcept;
  /// Calls write(); valid as long as this object.
  [[nodiscard]] LogSink sink();

 private:
  struct Flow {
    RateLimit limit;
    std::uint64_t left_out = 0;
  };

  // All with mutex_ held.
  enum class Counts { OfEndedWindows, All };
  void report(Counts which) noexcept;
  /// Writes `text`, which stands for that many lines.
  void put(TextBuffer& text, std::uint64_t lines) noexcept;
  [[nodiscard]] TextBuffer begin(LogLevel level) const noexcept;

  Surroundings& surroundings_;
  const std::chrono::nanoseconds window_;
  const int fd_;
  const bool is_journal_;
  std::mutex mutex_;
  LogLevel least_;
  std::array<Flow, 3> flows_;  ///< by level
  std::uint64_t lost_ = 0;     ///< lines that could not be written
};

}  // namespace resmgr::daemon
