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
//   Keeper keeper(std::move(property), {.work = work}, log);
//   return keeper.run();
#pragma once

#include <sys/types.h>

#include <csignal>
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

/// Tells a worker to end, for the domain goes on with another daemon.
inline constexpr int kHandOverSignal = SIGUSR1;

/// What a keeper begins with, of a new domain or of one that it took over (takeover.hpp).
struct Property {
  DomainRegions regions;
  LedgerFile ledger;
  Estate estate;
  PacketListener listener;
  PacketListener door = {};  ///< where the next keeper asks for all this; empty: nobody can
};

/// What a worker begins with.
struct Inheritance {
  DomainRegions regions;
  PacketListener listener;
  LedgerChannel ledger;
  Estate estate;
};

class Keeper {
 public:
  struct Calls {
    /// The worker's life; returns its exit status: 0 if it was told to end.
    std::function<int(Inheritance)> work;
    /// The first worker could begin, and has touched nothing yet: whether it may. If not, the
    /// keeper ends.
    std::function<bool()> may_begin = {};
    /// The first worker serves. False: it could not be told yet, and is called again in a moment.
    std::function<bool()> ready = {};
    std::function<void()> reload = {};  ///< SIGHUP came; the worker gets it afterwards
    std::function<void()> tick = {};    ///< every `tick_ns`, where that is not 0
    std::uint64_t tick_ns = 0;
  };

  Keeper(Property property, Calls calls, LogSink log)
      : property_(std::move(property)), calls_(std::move(calls)), log_(std::move(log)) {}

  /// Until SIGTERM or SIGINT, which it passes on to the worker, as it does SIGHUP; or until it has
  /// handed the domain over. Errors: System.
  [[nodiscard]] Result<void> run();

 private:
  [[nodiscard]] Result<void> start_worker();
  void read_ledger();
  void answer_who_waits();
  void tell_that_it_serves();
  /// Somebody is at the door. Returns whether he has the domain now. Errors: those of
  /// start_worker().
  [[nodiscard]] Result<bool> answer_the_door();
  void end_worker();
  void read_the_rest();
  void pass_on(int signal);
  /// Does what is due, and returns for how many ms there is nothing to do; -1: for ever.
  [[nodiscard]] int look_at_the_clock();
  /// Returns whether another one has to be started.
  [[nodiscard]] bool bury_worker();
  void log(LogLevel level, std::string_view line) const;

  Property property_;
  Calls calls_;
  LogSink log_;
  PacketSocket ledger_;  ///< the keeper's end
  UniqueFd worker_;      ///< its pidfd
  pid_t worker_pid_ = 0;
  std::uint64_t started_at_ = 0;
  std::uint64_t pause_ns_ = 0;  ///< before the next worker
  std::uint64_t next_tick_ = 0;
  std::uint64_t tell_at_ = 0;  ///< that it serves, once more; 0: nothing to tell
  std::uint64_t stop_at_ = 0;  ///< when a worker that was told to end is killed; 0: none was
};

}  // namespace resmgr::daemon
