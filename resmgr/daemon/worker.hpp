// SPDX-License-Identifier: Apache-2.0
//
// work(): a worker's life, from what its predecessor left to the signal that ends it.
//
// What it is: where the parts of the worker are put together. What it is not: what survives it; see
// keeper.hpp. Thread-safety: it is the process.
//
//   Keeper keeper(regions, listener, [&](Inheritance inheritance) {
//     return work(std::move(inheritance), options);
//   }, log);
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "resmgr/daemon/config.hpp"
#include "resmgr/daemon/event_loop.hpp"
#include "resmgr/daemon/keeper.hpp"
#include "resmgr/daemon/server.hpp"
#include "resmgr/daemon/shared_text.hpp"

namespace resmgr::daemon {

struct WorkerOptions {
  const Config& config;     ///< the policy to begin with, the audit log, the order of locks
  std::string config_path;  ///< for messages
  SharedText* text =
      nullptr;  ///< the file, as the keeper reads it anew on SIGHUP; null: there is none
  EventLoop::Backend backend = EventLoop::Backend::Automatic;
  std::string_view version;  ///< what clients are told; static text
  LogSink log = {};
  /// A configuration that was read anew may say something else of the log.
  std::function<void(const LogConfig&)> on_log_config = {};
};

/// Returns 0 when it was told to end, by SIGTERM, kHandOverSignal or because its keeper is gone,
/// and 1 if it can't work.
[[nodiscard]] int work(Inheritance inheritance, const WorkerOptions& options);

/// The file's configuration if it has no mistakes; if it has, each is told to `log`, as
/// FILE:LINE:COLUMN: REASON. Errors: those of load_text(); InvalidArgument (mistakes).
[[nodiscard]] Result<Config> load_config(const std::string& path, const LogSink& log);
/// The same of a text that was read from there. Errors: InvalidArgument (mistakes).
[[nodiscard]] Result<Config> parse_config(std::string_view text, const std::string& path,
                                          const LogSink& log);

}  // namespace resmgr::daemon
