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

#include <string_view>

#include "resmgr/daemon/event_loop.hpp"
#include "resmgr/daemon/keeper.hpp"
#include "resmgr/daemon/server.hpp"

namespace resmgr::daemon {

struct WorkerOptions {
  ServerOptions server;
  EventLoop::Backend backend = EventLoop::Backend::Automatic;
  std::string_view version;  ///< what clients are told; static text
};

/// Returns 0 when it was told to end, by SIGTERM or because its keeper is gone, and 1 if it can't
/// work.
[[nodiscard]] int work(Inheritance inheritance, WorkerOptions options);

}  // namespace resmgr::daemon
