// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/processes.hpp"

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "resmgr/base/atomic.hpp"
#include "resmgr/daemon/peer_calls.hpp"

namespace resmgrctl {

ProcessOf processes_seen_by(const resmgr::lock::LockTables& tables, std::uint32_t client) {
  const rm_client* const self = tables.client(client);
  const auto pid = static_cast<std::uint32_t>(::getpid());
  if (self == nullptr || resmgr::load(self->pid) != pid) {
    return [](std::uint32_t, std::uint64_t) { return Process::Unknown; };
  }
  return [](std::uint32_t of, std::uint64_t start_time) {
    const auto started = resmgr::daemon::PeerCalls::kernel().start_time(static_cast<pid_t>(of));
    if (started) return *started == start_time ? Process::Alive : Process::Gone;
    // Others' entries of /proc may be hidden; a signal of no number tells what is not there.
    if (started.error() == resmgr::ErrorCode::NotFound) {
      return ::kill(static_cast<pid_t>(of), 0) != 0 && errno == ESRCH ? Process::Gone
                                                                      : Process::Unknown;
    }
    return Process::Unknown;
  };
}

}  // namespace resmgrctl
