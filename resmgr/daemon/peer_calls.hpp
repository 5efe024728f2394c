// SPDX-License-Identifier: Apache-2.0
//
// PeerCalls: what the kernel is asked about the process at the other end of a connection.
//
// What it is: the seam between Peer and the kernel, one function for each question, so that a test
// can play an old kernel or a pid that changes hands. What it is not: a judgement; Peer draws the
// conclusions. Lifetime: `kernel()` lives as long as the program. Thread-safety: `kernel()` from
// any thread.
//
//   auto credentials = PeerCalls::kernel().credentials(socket);
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"

namespace resmgr::daemon {

struct PeerCredentials {
  pid_t pid = 0;  ///< in our own PID namespace; 0 when it is not to be seen from there
  uid_t uid = 0;
  gid_t gid = 0;
};

class PeerCalls {
 public:
  /// The calls themselves.
  [[nodiscard]] static PeerCalls& kernel() noexcept;
  virtual ~PeerCalls() = default;

  /// SO_PEERCRED: who it was when the connection was made. Errors: System.
  [[nodiscard]] virtual Result<PeerCredentials> credentials(int socket) noexcept = 0;
  /// SO_PEERGROUPS: its supplementary groups, then. Errors: System. May throw std::bad_alloc.
  [[nodiscard]] virtual Result<std::vector<gid_t>> groups(int socket) = 0;
  /// SO_PEERPIDFD (Linux 6.5). Errors: Unsupported (an older kernel), Disconnected (the process is
  /// gone), CapacityExceeded, System.
  [[nodiscard]] virtual Result<UniqueFd> peer_pidfd(int socket) noexcept = 0;
  /// pidfd_open(2): of the process that has this pid now. Errors: Unsupported, Disconnected (there
  /// is none), CapacityExceeded, System.
  [[nodiscard]] virtual Result<UniqueFd> open_pidfd(pid_t pid) noexcept = 0;
  /// When the process that has this pid now was started, in clock ticks (1/100 s) since boot; from
  /// /proc/PID/stat. Errors: NotFound (no such file: no such process, or /proc hides it), System.
  [[nodiscard]] virtual Result<std::uint64_t> start_time(pid_t pid) noexcept = 0;
  /// Whether the process that has this pid now is stopped, by a signal or a debugger. Errors: as
  /// start_time().
  [[nodiscard]] virtual Result<bool> is_stopped(pid_t pid) noexcept = 0;
};

/// Field 3 of the text of /proc/PID/stat, a letter, and field 22, the start time. The name of the
/// program, field 2, may have any bytes in it. Errors: System (not such a text).
[[nodiscard]] Result<char> state_in(std::string_view stat) noexcept;
[[nodiscard]] Result<std::uint64_t> start_time_in(std::string_view stat) noexcept;

}  // namespace resmgr::daemon
