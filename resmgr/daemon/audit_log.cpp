// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/audit_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <utility>

#include <nlohmann/json.hpp>

namespace resmgr::daemon {
namespace {

constexpr mode_t kMode = S_IRUSR | S_IWUSR | S_IRGRP;
constexpr std::size_t kMaxTextBytes = 1024;
// A user with a range of subordinate ids is many users; beyond this many at once they share one
// limit, so that neither the table nor the file grows with them.
constexpr std::size_t kMaxUsers = 256;

constexpr std::array<std::string_view, kAuditEvents> kEventNames{
    "attached",   "refused",         "detached", "died",      "emergency",
    "revoked",    "repaired",        "orphaned", "adopted",   "poisoned",
    "unpoisoned", "policy_reloaded", "operated", "overdrawn", "lost",
};

// Not ASCII, for who reads the file on a terminal: \uNNNN; not UTF-8: the mark for that.
std::string in_quotes(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string iso_time(std::uint64_t realtime_ms) {
  const auto seconds = static_cast<time_t>(realtime_ms / 1000);
  tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> date{};
  ::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03uZ",
                static_cast<unsigned>(realtime_ms % 1000));
  return std::string(date.data()) + fraction.data();
}

/// A line in the making.
class Line {
 public:
  Line(std::uint64_t realtime_ms, AuditEvent event) {
    add("time", iso_time(realtime_ms));
    add("event", to_string(event));
  }
  Line& add(std::string_view key, std::string_view value) {
    if (value.empty()) return *this;
    return put(key, in_quotes(value.substr(0, kMaxTextBytes)));
  }
  Line& add(std::string_view key, std::uint64_t value) { return put(key, std::to_string(value)); }
  Line& add_uid(uid_t uid) { return uid == kNoUid ? *this : add("uid", std::uint64_t{uid}); }
  [[nodiscard]] std::string text() const { return text_ + '}'; }

 private:
  Line& put(std::string_view key, std::string_view json) {
    text_ += text_.empty() ? "{\"" : ",\"";
    text_.append(key).append("\":").append(json);
    return *this;
  }

  std::string text_;
};

bool is_empty(const std::array<std::uint64_t, kAuditEvents>& counts) noexcept {
  return std::ranges::all_of(counts, [](std::uint64_t count) { return count == 0; });
}

Result<std::uint64_t> size_of(int fd) noexcept {
  struct stat file{};
  if (::fstat(fd, &file) != 0) return fail_errno(errno, "fstat");
  if (!S_ISREG(file.st_mode)) return fail(ErrorCode::InvalidArgument, "this is no regular file");
  return static_cast<std::uint64_t>(file.st_size);
}

Result<UniqueFd> open_or_make(const char* path) noexcept {
  // Readable too, to see how it ends, and because opening a FIFO then waits for nobody.
  constexpr int kFlags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
  UniqueFd fd(::open(path, kFlags));
  if (fd) return fd;
  if (errno != ENOENT) return fail_errno(errno, "open");
  fd.reset(::open(path, kFlags | O_CREAT | O_EXCL, kMode));
  if (!fd) return fail_errno(errno, "open");
  // open() applied the umask. The mode of a file that was there is its maker's business.
  if (::fchmod(fd.get(), kMode) != 0) return fail_errno(errno, "fchmod");
  return fd;
}

}  // namespace

std::string_view to_string(AuditEvent event) noexcept {
  return kEventNames[static_cast<std::size_t>(event)];
}

Result<AuditLog> AuditLog::open(Options options, LogSink log, Surroundings& surroundings) {
  File file;
  if (!options.path.empty()) {
    auto opened = open_file(options.path);
    if (!opened) return std::unexpected(std::move(opened.error()));
    file = *std::move(opened);
  }
  return AuditLog(std::move(options), std::move(log), surroundings, std::move(file));
}

AuditLog::AuditLog(Options options, LogSink log, Surroundings& surroundings, File file)
    : options_(std::move(options)),
      log_(std::move(log)),
      surroundings_(&surroundings),
      file_(std::move(file)),
      others_{.limit = RateLimit(options_.burst, options_.window)} {}

Result<AuditLog::File> AuditLog::open_file(const std::string& path) {
  auto fd = open_or_make(path.c_str());
  if (!fd) return std::unexpected(std::move(fd.error()));
  const auto bytes = size_of(fd->get());
  if (!bytes) return std::unexpected(bytes.error());
  // A full disk may have cut the last line of whoever wrote before.
  char last = '\n';
  if (*bytes > 0 && ::pread(fd->get(), &last, 1, static_cast<off_t>(*bytes - 1)) < 0) {
    return fail_errno(errno, "pread");
  }
  return File{.fd = *std::move(fd), .bytes = *bytes, .is_torn = last != '\n'};
}

Result<void> AuditLog::reopen() {
  if (options_.path.empty()) return {};
  auto opened = open_file(options_.path);
  if (!opened) return std::unexpected(std::move(opened.error()));
  file_ = *std::move(opened);
  return {};
}

void AuditLog::record(const AuditEntry& entry) noexcept try {
  if (entry.uid != kNoUid) {
    const std::uint64_t now = surroundings_->monotonic_ns();
    Flow& flow = flow_of(entry.uid, now);
    report(entry.uid, flow, now);
    if (!flow.limit.admit(now)) {
      ++flow.left_out[static_cast<std::size_t>(entry.event)];
      return;
    }
  }
  Line line(surroundings_->realtime_ms(), entry.event);
  if (entry.pid > 0) line.add("pid", static_cast<std::uint64_t>(entry.pid));
  put(line.add_uid(entry.uid)
          .add("driver", entry.driver)
          .add("resource", entry.resource)
          .add("detail", entry.detail)
          .text());
} catch (const std::bad_alloc&) {
  ++lost_;
}

void AuditLog::report_left_out() noexcept try {
  report_lost();
  const std::uint64_t now = surroundings_->monotonic_ns();
  for (auto& [uid, flow] : flows_) report(uid, flow, now);
  report(kNoUid, others_, now);
} catch (const std::bad_alloc&) {
  // The counts are still there for the next time.
}

AuditLog::Flow& AuditLog::flow_of(uid_t uid, std::uint64_t now) {
  if (const auto found = flows_.find(uid); found != flows_.end()) return found->second;
  if (flows_.size() == kMaxUsers) {
    std::erase_if(flows_, [&](const auto& entry) {
      return entry.second.limit.has_ended(now) && is_empty(entry.second.left_out);
    });
  }
  if (flows_.size() == kMaxUsers) return others_;
  const Flow fresh{.limit = RateLimit(options_.burst, options_.window)};
  return flows_.emplace(uid, fresh).first->second;
}

void AuditLog::report(uid_t uid, Flow& flow, std::uint64_t now) {
  if (!flow.limit.has_ended(now)) return;
  // Of several users together, none is named.
  const uid_t who = &flow == &others_ ? kNoUid : uid;
  for (std::size_t i = 0; i < kAuditEvents; ++i) {
    if (flow.left_out[i] == 0) continue;
    const std::string line = left_out_line(static_cast<AuditEvent>(i), who, flow.left_out[i]);
    flow.left_out[i] = 0;
    put(line);
  }
}

std::string AuditLog::left_out_line(AuditEvent event, uid_t uid, std::uint64_t count) const {
  return Line(surroundings_->realtime_ms(), event).add_uid(uid).add("left_out", count).text();
}

void AuditLog::put(std::string_view line) {
  if (!file_.fd) return tell(LogLevel::Info, line);
  report_lost();
  const auto appended = append(line);
  if (!appended) count_lost(appended.error());
}

Result<void> AuditLog::append(std::string_view line) {
  std::string text;
  if (file_.is_torn) text += '\n';
  text.append(line).append(1, '\n');
  if (file_.bytes + text.size() > options_.max_bytes) {
    // Somebody may have emptied the file meanwhile.
    const auto bytes = size_of(file_.fd.get());
    if (!bytes) return std::unexpected(bytes.error());
    file_.bytes = *bytes;
    if (file_.bytes + text.size() > options_.max_bytes) return fail_errno(EFBIG, "its bound");
  }
  const ssize_t written = ::write(file_.fd.get(), text.data(), text.size());
  if (written < 0) return fail_errno(errno, "write");
  file_.bytes += static_cast<std::uint64_t>(written);
  file_.is_torn = std::cmp_less(written, text.size());
  if (file_.is_torn) return fail_errno(ENOSPC, "write");
  return {};
}

void AuditLog::count_lost(const Error& error) {
  ++lost_;
  if (std::exchange(is_failing_, true)) return;
  tell(LogLevel::Error, "the audit log " + options_.path + " can't be written (" + error.message() +
                            "); what happens is only counted until it can");
}

void AuditLog::report_lost() {
  if (lost_ == 0 || !file_.fd) return;
  if (!append(left_out_line(AuditEvent::Lost, kNoUid, lost_))) return;
  const std::string count = std::to_string(std::exchange(lost_, 0));
  if (!std::exchange(is_failing_, false)) return;
  tell(LogLevel::Info, "the audit log is written again; " + count + " lines of it are lost");
}

void AuditLog::tell(LogLevel level, std::string_view text) const {
  if (log_) log_(level, text);
}

}  // namespace resmgr::daemon
