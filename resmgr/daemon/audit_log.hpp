// SPDX-License-Identifier: Apache-2.0
//
// AuditLog: what happened to clients and resources, for who asks later.
//
// What it is: one JSON object a line, appended to a file of the daemon's own, which no client can
// write:
//
//   {"time":"2026-11-30T00:59:31.123Z","event":"refused","pid":812,"uid":1000,
//    "driver":"dma-edu","resource":"gpu0/frame/3","detail":"no right to acquire"}
//
// (on one line; what does not apply is left out). Without a file the same text goes to the LogSink.
// What it is not: synchronous with the disk, a crash of the machine may lose the last lines; nor
// what the daemon decides by.
//
// The disk can't be filled: the file has a bound, at which nothing more is written, rather than
// what was there destroyed; who turns the file away (logrotate(8)) calls reopen(). And a user who
// causes more events than fit into a window of time gets the rest counted, by event:
// {"time":...,"event":"refused","uid":1000,"left_out":4711}. Lines that can't be written are
// counted, told once to the LogSink, and made good by {"event":"lost","left_out":12}.
//
// Lifetime: owns the file. Thread-safety: one thread.
//
//   auto audit = AuditLog::open({.path = "/var/log/resmgr/main.json"}, log);
//   audit->record({.event = AuditEvent::Attached, .pid = peer.pid(), .uid = peer.uid()});
//   every_second([&] { audit->report_left_out(); });
//   on_hangup([&] { audit->reopen(); });
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "resmgr/base/error.hpp"
#include "resmgr/base/log.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/rate_limit.hpp"
#include "resmgr/daemon/surroundings.hpp"

namespace resmgr::daemon {

enum class AuditEvent : std::uint8_t {
  Attached,        ///< a client was admitted
  Refused,         ///< a request, or a client
  Detached,        ///< a client said goodbye
  Died,            ///< a client did not
  Emergency,       ///< something is to be taken from its holders: what was done for that
  Revoked,         ///< a hold was fenced
  Repaired,        ///< state that a dead or hostile client left was put right
  Orphaned,        ///< a resource lost its owner
  Adopted,         ///< and found it again
  Poisoned,        ///< a resource can't be made quiet
  Unpoisoned,      ///< an operator says it is
  PolicyReloaded,  ///< other rules from here on
  Operated,        ///< an operator changed something, or tried to
  Overdrawn,       ///< an emergency took of a budget what others are not given
  Lost,            ///< lines of this log could not be written
};
inline constexpr std::size_t kAuditEvents = 15;

/// As it stands in the file: "policy_reloaded".
[[nodiscard]] std::string_view to_string(AuditEvent event) noexcept;

/// No process has this one.
inline constexpr uid_t kNoUid = static_cast<uid_t>(-1);

/// What is empty, 0 or kNoUid is left out. Texts may be any bytes; they are cut at 1,024.
struct AuditEntry {
  AuditEvent event;
  pid_t pid = 0;
  uid_t uid = kNoUid;  ///< who caused it
  std::string_view driver = {};
  std::string_view resource = {};
  std::string_view detail = {};
};

class AuditLog {
 public:
  struct Options {
    std::string path = {};  ///< empty: no file
    std::uint64_t max_bytes = std::uint64_t{64} << 20;
    std::uint32_t burst = 600;  ///< events that one user causes in a window
    std::chrono::nanoseconds window = std::chrono::minutes(1);
  };

  /// Opens the file, or makes it with mode 0640. Errors: InvalidArgument (it is no regular file),
  /// NotPermitted, System (ELOOP: it is a symbolic link).
  [[nodiscard]] static Result<AuditLog> open(Options options, LogSink log,
                                             Surroundings& surroundings = Surroundings::process());

  /// Never fails: what can't be written is counted.
  void record(const AuditEntry& entry) noexcept;
  /// Writes the counts of windows that are over. Without it they wait for the user's next event.
  void report_left_out() noexcept;
  /// Opens the path anew, for the file was moved away. On errors, as of open(), the old one stays
  /// in use.
  [[nodiscard]] Result<void> reopen();

 private:
  /// What one user caused.
  struct Flow {
    RateLimit limit;
    std::array<std::uint64_t, kAuditEvents> left_out = {};
  };
  struct File {
    UniqueFd fd;
    std::uint64_t bytes = 0;
    bool is_torn = false;  ///< the last line has no end
  };

  AuditLog(Options options, LogSink log, Surroundings& surroundings, File file);

  [[nodiscard]] static Result<File> open_file(const std::string& path);
  [[nodiscard]] Flow& flow_of(uid_t uid, std::uint64_t now);
  void report(uid_t uid, Flow& flow, std::uint64_t now);
  void put(std::string_view line);
  [[nodiscard]] Result<void> append(std::string_view line);
  void count_lost(const Error& error);
  void report_lost();
  void tell(LogLevel level, std::string_view text) const;
  [[nodiscard]] std::string left_out_line(AuditEvent event, uid_t uid, std::uint64_t count) const;

  Options options_;
  LogSink log_;
  Surroundings* surroundings_;
  File file_;
  std::uint64_t lost_ = 0;
  bool is_failing_ = false;  ///< and that was told
  std::unordered_map<uid_t, Flow> flows_;
  Flow others_;  ///< of all users for whom there is no more room
};

}  // namespace resmgr::daemon
