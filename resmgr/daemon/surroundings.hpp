// SPDX-License-Identifier: Apache-2.0
//
// Surroundings: what the daemon is told by who started it, and by the clocks.
//
// What it is: the seam between the parts that speak to the operator (ServiceManager, LogOutput,
// AuditLog) and the process they are in, so that a test can play another one. What it is not: a
// way to files and sockets; those are real in tests too. Lifetime: `process()` lives as long as the
// program. Thread-safety: the clocks from any thread; variables as getenv(3) and unsetenv(3): not
// while another thread changes them.
//
//   auto socket = Surroundings::process().variable("NOTIFY_SOCKET");
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace resmgr::daemon {

class Surroundings {
 public:
  /// Those of this process.
  [[nodiscard]] static Surroundings& process() noexcept;
  virtual ~Surroundings() = default;

  /// Of the environment; nothing where it is not set.
  [[nodiscard]] virtual std::optional<std::string> variable(const char* name) = 0;
  virtual void unset(const char* name) noexcept = 0;
  [[nodiscard]] virtual pid_t pid() noexcept = 0;
  /// The first of the descriptors that a service manager passes; 3, after standard error.
  [[nodiscard]] virtual int first_passed_fd() noexcept = 0;
  /// CLOCK_MONOTONIC.
  [[nodiscard]] virtual std::uint64_t monotonic_ns() noexcept = 0;
  /// CLOCK_REALTIME: milliseconds since 1970-01-01 UTC.
  [[nodiscard]] virtual std::uint64_t realtime_ms() noexcept = 0;
};

}  // namespace resmgr::daemon
