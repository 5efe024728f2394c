// SPDX-License-Identifier: Apache-2.0
//
// Keeper: the process of resmgrd that has a domain's memory, and a worker that does the work.
//
// What it is: too small to fail. It holds the regions, the listening socket, and what workers write
// down; it forks a worker, and another when that one dies, within milliseconds. Clients acquire and
// release meanwhile. What it is not: a reader of anything that a client wrote, nor of the regions.
//
// Lifetime: run() is the life of the process. Thread-safety: one thread; the process has no other,
// for it forks.
//
//   Keeper keeper(std::move(regions), std::move(listener), work, log);
//   return keeper.run();
#pragma once

#include <sys/types.h>

#include <functional>
#include <string_view>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/base/log.hpp"
#include "resmgr/base/packet_socket.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/domain_state.hpp"
#include "resmgr/daemon/ledger_channel.hpp"

namespace resmgr::daemon {

/// What a worker begins with.
struct Inheritance {
  DomainRegions regions;
  PacketListener listener;
  LedgerChannel ledger;
  Estate estate;
};

class Keeper {
 public:
  /// Returns the worker's exit status: 0 if it was told to end.
  using Work = std::function<int(Inheritance)>;

  Keeper(DomainRegions regions, PacketListener listener, Work work, LogSink log)
      : regions_(std::move(regions)),
        listener_(std::move(listener)),
        work_(std::move(work)),
        log_(std::move(log)) {}

  /// Called once when the first worker serves.
  void on_ready(std::function<void()> call) { on_ready_ = std::move(call); }
  /// Until SIGTERM or SIGINT, which it passes on to the worker, as it does SIGHUP. Errors: System.
  [[nodiscard]] Result<void> run();

 private:
  [[nodiscard]] Result<void> start_worker();
  void read_ledger();
  void pass_on(int signal) noexcept;
  /// Returns whether another one has to be started.
  [[nodiscard]] bool bury_worker();
  void log(LogLevel level, std::string_view line) const;

  DomainRegions regions_;
  PacketListener listener_;
  Work work_;
  LogSink log_;
  std::function<void()> on_ready_;
  Estate estate_;
  PacketSocket ledger_;  ///< the keeper's end
  UniqueFd worker_;      ///< its pidfd
  pid_t worker_pid_ = 0;
  std::uint64_t started_at_ = 0;
  std::uint64_t pause_ns_ = 0;  ///< before the next worker
  bool stopping_ = false;
};

}  // namespace resmgr::daemon
