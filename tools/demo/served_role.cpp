// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/served_role.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "tools/demo/child_process.hpp"
#include "tools/demo/log_collector.hpp"
#include "tools/demo/served_messages.hpp"
#include "tools/demo/status.hpp"

namespace demo {
namespace {

Outcome<void> work(const Options& options, const LogCollector& collector, ControlLine& line) {
  auto manager =
      hal::ResourceManager::connect({.socket = options.place.socket, .log = collector.sink()});
  if (!manager) return failed("connecting to resmgrd", manager.error());
  switch (options.place.role) {
    case Role::Timer:
      return run_timer_driver(options, **manager, line);
    case Role::Dma:
      return run_dma_driver(options, **manager, line);
    case Role::Checker:
      return run_checker(options, **manager, line);
    case Role::Coordinator:
      break;
  }
  return failed("--role", "not one that is served");
}

}  // namespace

int run_role(const Options& options) {
  ControlLine line{hal::UniqueFd(ChildProcess::kGivenFd)};
  const LogCollector collector;
  if (auto done = work(options, collector, line); !done) {
    line.send_trouble(done.error().text);
    return kCouldNotRun;
  }
  // The manager is gone: nothing more will be reported.
  std::vector<std::string> reported = collector.leaks();
  for (std::string& other : collector.others()) reported.push_back(std::move(other));
  for (const std::string& text : reported) {
    fmt::print(stderr, "resmgr-demo: {}: {}\n", role_name(options.place.role), text);
  }
  return reported.empty() ? kSuccess : kCheckFailed;
}

void await_stop(ControlLine& line) {
  // Hours: the run's length is not ours to judge.
  while (!line.receive<Stop>(std::chrono::hours(1)) && !line.readable()) {
  }
}

}  // namespace demo
