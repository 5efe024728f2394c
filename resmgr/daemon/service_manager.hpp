// SPDX-License-Identifier: Apache-2.0
//
// ServiceManager: the daemon's side of the talk with systemd, or with who speaks its protocols.
//
// What it is: the descriptors that were passed at start (sd_listen_fds(3), those of the descriptor
// store among them), messages about the daemon's state (sd_notify(3)), and the watchdog
// (sd_watchdog_enabled(3)), without libsystemd: the protocols are stable, and small. Where nobody
// asked for messages, each is a success that does nothing. What it is not: a timer; the event loop
// pings.
//
// No call waits or raises SIGPIPE. A message that the manager has no room for is not sent:
// WouldBlock; say it again later, above all ready(). Who may send is up to the unit
// (NotifyAccess=): the manager ignores others without telling them, so that only the keeper should.
//
// Lifetime: owns its socket and what listen_fds() has not given away. A child of fork() has it too.
// Thread-safety: messages may be sent from several threads at once; the rest from one.
//
//   auto manager = ServiceManager::from_environment();   // before anything else opens a file
//   for (PassedFd& passed : manager->listen_fds()) adopt(passed.name, std::move(passed.fd));
//   manager->ready("serving domain main");
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/surroundings.hpp"
#include "resmgr/daemon/text_buffer.hpp"

namespace resmgr::daemon {

/// A descriptor from a socket unit or from the descriptor store.
struct PassedFd {
  UniqueFd fd;       ///< close-on-exec
  std::string name;  ///< FileDescriptorName= or what it was stored as; "unknown" when unnamed
};

/// Whether the variables that were read stay in the environment. Children would take them for
/// their own.
enum class Variables { Unset, Keep };

class ServiceManager {
 public:
  /// No manager.
  ServiceManager() noexcept = default;
  /// Reads what the manager of this process said. It takes over descriptors by number: call it
  /// before anything else can have opened one of them, and once. Errors, which close them:
  /// InvalidArgument (a
  /// variable that no manager would set: no number, a count of descriptors that are not open,
  /// another count of names, a socket's path over 107 bytes), Unsupported (an address of another
  /// kind), CapacityExceeded, System.
  [[nodiscard]] static Result<ServiceManager> from_environment(
      Surroundings& surroundings = Surroundings::process(), Variables variables = Variables::Unset);

  /// Whether messages go to anybody.
  [[nodiscard]] bool is_present() const noexcept { return static_cast<bool>(socket_); }
  /// What was passed to this process, in order. The caller's from here on: the next call has none.
  [[nodiscard]] std::vector<PassedFd> listen_fds() noexcept { return std::exchange(passed_, {}); }
  /// Within which time the manager wants a ping, else it kills; nothing where it wants none. Ping
  /// at half of it.
  [[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval() const noexcept {
    return watchdog_;
  }

  /// How many descriptors it keeps at most, of whichever process of the unit; nothing where it does
  /// not say (systemd before 254).
  [[nodiscard]] std::optional<std::uint64_t> store_limit() const noexcept { return store_limit_; }

  // Each sends one message. Errors, after which nothing was sent: WouldBlock (no room at the
  // manager's), Disconnected (it is gone), System.

  /// Start or reload is done. `status` is for people; what is not printable in it is escaped.
  [[nodiscard]] Result<void> ready(std::string_view status) noexcept;
  [[nodiscard]] Result<void> status(std::string_view text) noexcept;
  /// The configuration is read anew; ready() ends it. `since`: CLOCK_MONOTONIC, when it began.
  [[nodiscard]] Result<void> reloading(std::chrono::microseconds since) noexcept;
  [[nodiscard]] Result<void> stopping() noexcept;
  [[nodiscard]] Result<void> ping_watchdog() noexcept;
  /// Another process is the main one from here on. Errors: InvalidArgument (not above 0).
  [[nodiscard]] Result<void> main_pid(pid_t pid) noexcept;
  /// Leaves a duplicate of `fd` with the manager, which passes it to the next start of this unit;
  /// beyond FileDescriptorStoreMax= it is closed there without a word. The manager does not watch
  /// it for hang-ups. Several may have one name. Errors: InvalidArgument (no descriptor; a name
  /// that is empty, over 255 bytes, or has a colon or what is not printable in it).
  [[nodiscard]] Result<void> store_fd(int fd, std::string_view name) noexcept;
  /// The manager closes all that it stored by this name. Errors: InvalidArgument
  /// (the name).
  [[nodiscard]] Result<void> remove_fd(std::string_view name) noexcept;

 private:
  /// A socket's address as the kernel wants it, of up to 110 bytes.
  using Address = std::string;

  [[nodiscard]] Result<void> send(const TextBuffer& message, int fd = -1) noexcept;

  UniqueFd socket_;
  Address address_;
  std::optional<std::chrono::microseconds> watchdog_;
  std::optional<std::uint64_t> store_limit_;
  std::vector<PassedFd> passed_;
};

}  // namespace resmgr::daemon
