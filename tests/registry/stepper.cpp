// SPDX-License-Identifier: Apache-2.0
#include "tests/registry/stepper.hpp"

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

namespace resmgr::registry::test {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kTooSlow = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool kTooSlow = true;
#else
constexpr bool kTooSlow = false;
#endif
#else
constexpr bool kTooSlow = false;
#endif

[[noreturn]] void run_traced(const std::function<void()>& operation) {
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
  ::raise(SIGSTOP);
  operation();
  ::_exit(0);
}

// Lets the child go on by one instruction. False when it has ended.
bool step(pid_t child) {
  if (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0) return false;
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFSTOPPED(status);
}

}  // namespace

std::optional<std::string> stepping_is_impossible() {
  if (kTooSlow) return "ThreadSanitizer multiplies the instructions to step through";
  const pid_t child = ::fork();
  if (child < 0) return std::string("fork: ") + std::strerror(errno);
  if (child == 0) run_traced([] {});
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return "tracing is forbidden";
  const bool stepped = step(child);
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  if (!stepped) return "this machine can't be stepped through";
  return std::nullopt;
}

std::size_t for_each_store(std::span<const std::byte> memory,
                           const std::function<void()>& operation,
                           const std::function<void(std::span<const std::byte>)>& visit) {
  std::vector<std::byte> image(memory.begin(), memory.end());
  const pid_t child = ::fork();
  if (child < 0) return 0;
  if (child == 0) run_traced(operation);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return 0;

  std::size_t images = 1;
  visit(image);
  while (true) {
    if (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0) return 0;
    if (::waitpid(child, &status, 0) != child) return 0;
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? images : 0;
    if (!WIFSTOPPED(status)) return 0;
    if (std::memcmp(image.data(), memory.data(), memory.size()) == 0) continue;
    std::memcpy(image.data(), memory.data(), memory.size());
    ++images;
    visit(image);
  }
}

}  // namespace resmgr::registry::test
