// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/surroundings.hpp"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "resmgr/base/clock.hpp"

namespace resmgr::daemon {
namespace {

class Process final : public Surroundings {
 public:
  std::optional<std::string> variable(const char* name) override {
    const char* const value = ::getenv(name);
    if (value == nullptr) return std::nullopt;
    return value;
  }
  void unset(const char* name) noexcept override { ::unsetenv(name); }
  pid_t pid() noexcept override { return ::getpid(); }
  int first_passed_fd() noexcept override { return STDERR_FILENO + 1; }
  std::uint64_t monotonic_ns() noexcept override { return Clock::now(); }
  std::uint64_t realtime_ms() noexcept override {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
  }
};

}  // namespace

Surroundings& Surroundings::process() noexcept {
  static Process process;
  return process;
}

}  // namespace resmgr::daemon
