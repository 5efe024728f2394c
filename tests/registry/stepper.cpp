// SPDX-License-Identifier: Apache-2.0
#include "tests/registry/stepper.hpp"

#include <elf.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "tests/base/sanitizers.hpp"

namespace resmgr::registry::test {
namespace {

// Keeps this thread, and children that it starts, on the processor where it is: a step is two
// switches between the tracer and its child, and takes twice the time from one processor to the
// next. Lasts as long as the object.
class OnOneProcessor {
 public:
  OnOneProcessor() {
    if (::sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &here);
    pinned_ = ::sched_setaffinity(0, sizeof(here), &here) == 0;
  }
  ~OnOneProcessor() {
    if (pinned_) ::sched_setaffinity(0, sizeof(before_), &before_);
  }
  OnOneProcessor(const OnOneProcessor&) = delete;
  OnOneProcessor& operator=(const OnOneProcessor&) = delete;

 private:
  cpu_set_t before_{};
  bool pinned_ = false;
};

[[noreturn]] void run_traced(const std::function<int()>& operation) {
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
  ::_exit(operation());
}

// A child that stands where the operation says step_from_here(); nothing if that can't be had.
std::optional<pid_t> start_traced(const std::function<int()>& operation) {
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) run_traced(operation);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return std::nullopt;
  return child;
}

// Lets the child go on by one instruction. False when it has ended.
bool step(pid_t child) {
  if (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0) return false;
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFSTOPPED(status);
}

// Where it is; nothing if that can't be told on this machine.
std::optional<std::uintptr_t> program_counter(pid_t child) {
  user_regs_struct registers{};
  iovec where{&registers, sizeof(registers)};
  if (::ptrace(PTRACE_GETREGSET, child, NT_PRSTATUS, &where) != 0) return std::nullopt;
#if defined(__x86_64__)
  return registers.rip;
#elif defined(__aarch64__)
  return registers.pc;
#else
  return std::nullopt;
#endif
}

using Images = std::vector<std::vector<std::byte>>;

// Far more than any operation takes: one that goes on still goes in circles.
constexpr std::size_t kMostSteps = 4'000'000;

// Calls `visit` with copies of the memories as they were at first and after each change.
std::size_t step_through(std::span<const std::span<const std::byte>> memories,
                         const std::function<void()>& operation,
                         const std::function<void(const Images&)>& visit) {
  const OnOneProcessor here;
  Images images;
  for (const auto memory : memories) images.emplace_back(memory.begin(), memory.end());
  // Whether anything is new; the copies are up to date then.
  const auto changed = [&] {
    bool any = false;
    for (std::size_t i = 0; i < images.size(); ++i) {
      if (std::memcmp(images[i].data(), memories[i].data(), memories[i].size()) == 0) continue;
      std::memcpy(images[i].data(), memories[i].data(), memories[i].size());
      any = true;
    }
    return any;
  };
  const auto child = start_traced([&] {
    step_from_here();
    operation();
    return 0;
  });
  if (!child) return 0;

  std::size_t stores = 1;
  visit(images);
  for (std::size_t steps = 0; steps < kMostSteps; ++steps) {
    int status = 0;
    if (::ptrace(PTRACE_SINGLESTEP, *child, nullptr, nullptr) != 0) return 0;
    if (::waitpid(*child, &status, 0) != *child) return 0;
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? stores : 0;
    if (!WIFSTOPPED(status)) return 0;
    if (!changed()) continue;
    ++stores;
    visit(images);
  }
  ::kill(*child, SIGKILL);
  ::waitpid(*child, nullptr, 0);
  return 0;
}

}  // namespace

std::optional<std::string> stepping_is_impossible() {
  if (resmgr::test::kThreadSanitizer) {
    return "ThreadSanitizer multiplies the instructions to step through";
  }
  const auto child = start_traced([] {
    step_from_here();
    return 0;
  });
  if (!child) return "tracing is forbidden";
  const bool stepped = step(*child);
  ::kill(*child, SIGKILL);
  ::waitpid(*child, nullptr, 0);
  if (!stepped) return "this machine can't be stepped through";
  return std::nullopt;
}

std::optional<std::string> stepping_far_is_impossible() {
  if (resmgr::test::kAddressSanitizer) {
    return "it takes minutes under AddressSanitizer; other set-ups step through it";
  }
  return stepping_is_impossible();
}

void step_from_here() { ::raise(SIGSTOP); }

std::size_t for_each_store(std::span<const std::byte> memory,
                           const std::function<void()>& operation,
                           const std::function<void(std::span<const std::byte>)>& visit) {
  return step_through(std::span(&memory, 1), operation,
                      [&](const Images& images) { visit(images.front()); });
}

std::size_t for_each_death(std::span<const std::span<std::byte>> memories,
                           const std::function<void()>& operation,
                           const std::function<void()>& visit) {
  const std::vector<std::span<const std::byte>> looked_at(memories.begin(), memories.end());
  return step_through(looked_at, operation, [&](const Images& images) {
    visit();
    for (std::size_t i = 0; i < images.size(); ++i)
      std::ranges::copy(images[i], memories[i].data());
  });
}

std::optional<int> stop_after(std::size_t instructions, const std::function<int()>& operation,
                              const std::function<void()>& meanwhile) {
  const OnOneProcessor here;
  const auto child = start_traced(operation);
  if (!child) return std::nullopt;
  while (instructions-- > 0) {
    if (!step(*child)) return std::nullopt;
  }
  meanwhile();
  int status = 0;
  if (::ptrace(PTRACE_DETACH, *child, nullptr, nullptr) != 0) return std::nullopt;
  if (::waitpid(*child, &status, 0) != *child || !WIFEXITED(status)) return std::nullopt;
  return WEXITSTATUS(status);
}

std::vector<std::size_t> moments_of(std::span<const std::byte> memory,
                                    const std::function<int()>& operation) {
  const OnOneProcessor here;
  const auto child = start_traced(operation);
  if (!child) return {};
  std::vector<std::byte> image(memory.begin(), memory.end());
  std::vector<std::size_t> moments{0};
  for (std::size_t done = 1; done <= kMostSteps; ++done) {
    int status = 0;
    if (::ptrace(PTRACE_SINGLESTEP, *child, nullptr, nullptr) != 0) return {};
    if (::waitpid(*child, &status, 0) != *child) return {};
    if (!WIFSTOPPED(status)) return WIFEXITED(status) ? moments : std::vector<std::size_t>();
    if (std::memcmp(image.data(), memory.data(), memory.size()) == 0) continue;
    std::memcpy(image.data(), memory.data(), memory.size());
    if (moments.back() < done - 1) moments.push_back(done - 1);
    moments.push_back(done);
  }
  ::kill(*child, SIGKILL);
  ::waitpid(*child, nullptr, 0);
  return {};
}

std::optional<bool> kill_where(const std::function<void()>& prepare,
                               const std::function<void()>& operation,
                               const std::function<bool(std::uintptr_t)>& here) {
  const OnOneProcessor pinned;
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) {
    prepare();
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
    step_from_here();
    operation();
    ::raise(SIGSTOP);
    ::_exit(0);
  }
  std::optional<bool> outcome;
  int status = 0;
  bool stopped = ::waitpid(child, &status, 0) == child && WIFSTOPPED(status);
  for (std::size_t steps = 0; stopped && !outcome && steps < kMostSteps; ++steps) {
    const auto counter = program_counter(child);
    if (!counter) break;
    if (here(*counter)) outcome = true;
    if (outcome || ::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0) break;
    stopped = ::waitpid(child, &status, 0) == child && WIFSTOPPED(status);
    if (stopped && WSTOPSIG(status) == SIGSTOP) outcome = false;
  }
  if (WIFEXITED(status) || WIFSIGNALED(status)) return std::nullopt;
  ::kill(child, SIGKILL);
  return ::waitpid(child, &status, 0) == child ? outcome : std::nullopt;
}

}  // namespace resmgr::registry::test
