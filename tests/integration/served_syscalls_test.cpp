// SPDX-License-Identifier: Apache-2.0
//
// What a process asks of the kernel when it acquires and releases what a resmgrd serves: nothing,
// unless it has to wait. Counted by a tracer, which sees each system call of the thread between two
// marks.
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

using namespace std::chrono_literals;

/// So few that nobody is taken for busy: who is has his process's clock woken, now and then.
constexpr int kPairs = 500;
/// A call that nothing else makes.
constexpr long kMark = SYS_getppid;

/// How often each system call was made, by its number.
using Calls = std::map<std::uint64_t, int>;

std::string text_of(const Calls& calls) {
  std::string text;
  for (const auto& [number, count] : calls) {
    text += "number " + std::to_string(number) + ": " + std::to_string(count) + "; ";
  }
  return text;
}

int total(const Calls& calls) {
  int sum = 0;
  for (const auto& [number, count] : calls) sum += count;
  return sum;
}

/// The system call that the stopped process is about to make; nothing where it returns from one.
std::optional<std::uint64_t> call_of(pid_t process) {
  __ptrace_syscall_info info{};
  const long bytes = ::ptrace(PTRACE_GET_SYSCALL_INFO, process, sizeof(info), &info);
  if (bytes <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY) return std::nullopt;
  return info.entry.nr;
}

/// Runs `prepare` and then `measured` in another process. Returns what its thread asked of the
/// kernel during the second; nothing if that can't be counted, or it did not end with success.
std::optional<Calls> calls_of(const std::function<bool()>& prepare,
                              const std::function<bool()>& measured) {
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) {
    if (!prepare() || ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(1);
    ::raise(SIGSTOP);
    (void)::syscall(kMark);
    const bool good = measured();
    (void)::syscall(kMark);
    ::_exit(good ? 0 : 2);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return std::nullopt;
  constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions) != 0) return std::nullopt;
  Calls calls;
  int marks = 0;
  for (;;) {
    if (::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) != 0) return std::nullopt;
    if (::waitpid(child, &status, 0) != child) return std::nullopt;
    if (!WIFSTOPPED(status)) break;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    const auto call = call_of(child);
    if (!call) continue;
    if (*call == kMark) {
      ++marks;
    } else if (marks == 1) {
      ++calls[*call];
    }
  }
  if (marks != 2 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return calls;
}

bool always() { return true; }

class ServedSyscalls : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto one = calls_of(always, [] { return ::syscall(SYS_getuid) >= 0; });
    if (!one) GTEST_SKIP() << "system calls can't be traced here";
    ASSERT_EQ(*one, (Calls{{SYS_getuid, 1}})) << "one is seen as one";
    // Where the kernel's clock can't be read without it, that is the machine's, not ours.
    clock_ = calls_of(always, [] {
               timespec now{};
               return ::clock_gettime(CLOCK_MONOTONIC, &now) == 0;
             }).value();
    if (!clock_.empty())
      std::cout << "the clock takes system calls here: " << text_of(clock_) << '\n';
    manager_ = daemon_.connect();
    ASSERT_NE(manager_, nullptr);
    handle_ = manager_->register_resource("r", {}).value();
  }

  /// Of `use`, which another client does so often, and did once before: the first use of a thread
  /// makes its context.
  std::optional<Calls> calls_of_many(const std::function<bool(ResourceManager&)>& use,
                                     int times = kPairs) {
    std::unique_ptr<ResourceManager> theirs;
    const auto many = [&] {
      for (int i = 0; i < times; ++i) {
        if (!use(*theirs)) return false;
      }
      return true;
    };
    auto calls = calls_of(
        [&] {
          theirs = daemon_.connect();
          return theirs && use(*theirs);
        },
        many);
    if (calls) {
      std::erase_if(*calls, [&](const auto& call) { return clock_.contains(call.first); });
    }
    return calls;
  }

  const Daemon daemon_;
  std::unique_ptr<ResourceManager> manager_;
  Handle handle_;
  Calls clock_;
};

TEST_F(ServedSyscalls, AcquiringAndReleasingMakesNone) {
  const auto calls = calls_of_many(
      [&](ResourceManager& theirs) { return theirs.acquire_scoped_resource(handle_).has_value(); });
  ASSERT_TRUE(calls);
  EXPECT_TRUE(calls->empty()) << text_of(*calls);
}

TEST_F(ServedSyscalls, SharingMakesNone) {
  const auto calls = calls_of_many([&](ResourceManager& theirs) {
    return theirs.acquire_scoped_resource(handle_, {.kind = HoldKind::Shared}).has_value();
  });
  ASSERT_TRUE(calls);
  EXPECT_TRUE(calls->empty()) << text_of(*calls);
}

TEST_F(ServedSyscalls, LookingItUpByNameMakesNone) {
  const auto calls = calls_of_many([&](ResourceManager& theirs) {
    const auto found = theirs.find("r");
    return found && theirs.try_acquire(*found).has_value();
  });
  ASSERT_TRUE(calls);
  EXPECT_TRUE(calls->empty()) << text_of(*calls);
}

TEST_F(ServedSyscalls, ARefusalMakesNone) {
  const auto held = manager_->try_acquire(handle_);
  ASSERT_TRUE(held);
  const auto calls = calls_of_many([&](ResourceManager& theirs) {
    const auto refused = theirs.try_acquire(handle_);
    return !refused && refused.error() == ErrorCode::WouldBlock;
  });
  ASSERT_TRUE(calls);
  EXPECT_TRUE(calls->empty()) << text_of(*calls);
}

// Nor often, where the clock for stamps is kept by a thread that each second has to be woken in.
TEST_F(ServedSyscalls, BeingBusyMakesOneASecond) {
  constexpr int kMany = 20'000;
  const auto begin = std::chrono::steady_clock::now();
  const auto calls = calls_of_many(
      [&](ResourceManager& theirs) { return theirs.try_acquire(handle_).has_value(); }, kMany);
  const auto seconds = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(calls);
  EXPECT_LE(total(*calls), 1 + seconds / 1s) << text_of(*calls);
}

// What is counted above would be seen.
TEST_F(ServedSyscalls, WaitingMakesSome) {
  const auto held = manager_->try_acquire(handle_);
  ASSERT_TRUE(held);
  const auto calls = calls_of_many([&](ResourceManager& theirs) {
    const auto refused = theirs.acquire_scoped_resource(
        handle_, {.mode = AcquisitionMode::Timeout, .timeout = 100us});
    return !refused && refused.error() == ErrorCode::TimedOut;
  });
  ASSERT_TRUE(calls);
  // One that loses its processor for so long has nothing left to sleep for.
  EXPECT_GT(total(*calls), 0) << text_of(*calls);
}

}  // namespace
}  // namespace hal::test
