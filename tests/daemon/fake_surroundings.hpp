// SPDX-License-Identifier: Apache-2.0
//
// Surroundings that a test makes up.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "resmgr/daemon/surroundings.hpp"

namespace resmgr::daemon::test {

struct FakeSurroundings final : Surroundings {
  std::optional<std::string> variable(const char* name) override {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  }
  void unset(const char* name) noexcept override { variables.erase(name); }
  pid_t pid() noexcept override { return 4711; }
  int first_passed_fd() noexcept override { return first_fd; }
  std::uint64_t monotonic_ns() noexcept override { return static_cast<std::uint64_t>(now.count()); }
  std::uint64_t realtime_ms() noexcept override { return real_ms; }

  std::map<std::string, std::string> variables;
  int first_fd = 3;
  std::chrono::nanoseconds now = std::chrono::hours(1);
  std::uint64_t real_ms = 0;
};

}  // namespace resmgr::daemon::test
