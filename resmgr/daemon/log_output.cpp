// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/log_output.hpp"

#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

namespace resmgr::daemon {
namespace {

/// How a level is shown; by its number.
struct Shown {
  std::string_view priority;  ///< of syslog, as the journal reads it
  std::string_view prefix;
};
constexpr std::array<Shown, 3> kLevels{{
    {"<6>", "resmgrd: "},
    {"<4>", "resmgrd: warning: "},
    {"<3>", "resmgrd: error: "},
}};

// The journal says which socket it reads from; standard error may have been turned elsewhere since.
bool is_journal(int fd, Surroundings& surroundings) {
  const auto stream = surroundings.variable("JOURNAL_STREAM");
  struct stat file{};
  if (!stream || ::fstat(fd, &file) != 0) return false;
  return *stream == std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
}

bool write_whole(int fd, std::string_view line) noexcept {
  while (true) {
    pollfd entry{.fd = fd, .events = POLLOUT, .revents = 0};
    // A reader who is gone shows as an error: writing to him would raise SIGPIPE.
    if (::poll(&entry, 1, 0) != 1 || entry.revents != POLLOUT) return false;
    const ssize_t bytes = ::write(fd, line.data(), line.size());
    if (bytes >= 0 || errno != EINTR) return std::cmp_equal(bytes, line.size());
  }
}

}  // namespace

LogOutput::LogOutput(Surroundings& surroundings, const Options& options)
    : surroundings_(surroundings),
      window_(options.window),
      fd_(options.fd),
      is_journal_(is_journal(options.fd, surroundings)),
      least_(options.least),
      flows_([&] {
        const Flow flow{.limit = RateLimit(options.burst, options.window)};
        return std::array{flow, flow, flow};
      }()) {}

LogOutput::~LogOutput() {
  const std::lock_guard lock(mutex_);
  report(Counts::All);
}

void LogOutput::write(LogLevel level, std::string_view line) noexcept {
  const std::lock_guard lock(mutex_);
  if (level < least_) return;
  report(Counts::OfEndedWindows);
  Flow& flow = flows_[static_cast<std::size_t>(level)];
  if (!flow.limit.admit(surroundings_.monotonic_ns())) {
    ++flow.left_out;
    return;
  }
  TextBuffer text = begin(level);
  text.add_escaped(line);
  put(text, 1);
}

void LogOutput::set_limits(LogLevel least, std::uint32_t burst) noexcept {
  const std::lock_guard lock(mutex_);
  least_ = least;
  for (Flow& flow : flows_) flow.limit = RateLimit(burst, window_);
}

void LogOutput::report_left_out() noexcept {
  const std::lock_guard lock(mutex_);
  report(Counts::OfEndedWindows);
}

LogSink LogOutput::sink() {
  return [this](LogLevel level, std::string_view line) { write(level, line); };
}

void LogOutput::report(Counts which) noexcept {
  const std::uint64_t now = surroundings_.monotonic_ns();
  for (std::size_t i = 0; i < flows_.size(); ++i) {
    Flow& flow = flows_[i];
    if (flow.left_out == 0) continue;
    if (which == Counts::OfEndedWindows && !flow.limit.has_ended(now)) continue;
    const auto level = static_cast<LogLevel>(i);
    const std::uint64_t count = std::exchange(flow.left_out, 0);
    TextBuffer text = begin(level);
    text.add(count).add(" similar lines left out");
    put(text, count);
  }
}

void LogOutput::put(TextBuffer& text, std::uint64_t lines) noexcept {
  if (lost_ > 0) {
    TextBuffer report = begin(LogLevel::Warning);
    report.add(lost_).add(" lines lost: there was no room for them");
    if (write_whole(fd_, report.line())) lost_ = 0;
  }
  // What came later never comes before the count.
  if (lost_ > 0 || !write_whole(fd_, text.line())) lost_ += lines;
}

TextBuffer LogOutput::begin(LogLevel level) const noexcept {
  const Shown& shown = kLevels[static_cast<std::size_t>(level)];
  TextBuffer text;
  text.add(is_journal_ ? shown.priority : shown.prefix);
  return text;
}

}  // namespace resmgr::daemon
