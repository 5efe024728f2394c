// SPDX-License-Identifier: Apache-2.0
//
// What this program does as one of the other processes of a served demo.
//
// What it is: run_role(), which connects to the coordinator and to resmgrd, and one function for
// each role. What it is not: the coordinator; see served_hardware.hpp. Lifetime and thread-safety:
// functions; each is the main thread of its process.
#pragma once

#include <hal/resource_manager.hpp>

#include "tools/demo/control_line.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/options.hpp"

namespace demo {

/// Returns the status to end with.
[[nodiscard]] int run_role(const Options& options);

/// These register what is theirs, serve until they are told to stop, and unregister it.
Outcome<void> run_timer_driver(const Options& options, hal::ResourceManager& manager,
                               ControlLine& line);
Outcome<void> run_dma_driver(const Options& options, hal::ResourceManager& manager,
                             ControlLine& line);
Outcome<void> run_checker(const Options& options, hal::ResourceManager& manager, ControlLine& line);

/// Waits for Stop. The coordinator's end is one, too.
void await_stop(ControlLine& line);

}  // namespace demo
