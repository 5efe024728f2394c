// SPDX-License-Identifier: Apache-2.0
//
// ChildProcess: another program that this one started, and ends.
//
// What it is: fork, exec and wait, with what a child of the demo is promised: it has a process
// group of its own, so that Ctrl-C reaches its parent alone; no signal is blocked in it; and it is
// killed when the thread that started it ends, however that ends. What it is not: a way to talk to
// it; see control_line.hpp. Lifetime: kills what still runs. Thread-safety: one thread.
//
//   auto child = ChildProcess::start({.words = {"resmgrd", "--socket", path}});
//   child->signal(SIGTERM);
//   int status = child->wait(5s);
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <hal/resource.hpp>

#include "tools/demo/failure.hpp"

namespace demo {

class ChildProcess {
 public:
  /// Where a child finds the descriptor that it was given.
  static constexpr int kGivenFd = 3;
  /// How a program ends that does not exist.
  static constexpr int kNoSuchProgram = 127;

  struct Program {
    std::vector<std::string> words;  ///< the program, looked for in PATH, and its arguments
    int errors = -1;                 ///< its standard error; -1: ours
    int given = -1;                  ///< becomes kGivenFd; -1: nothing
  };

  /// A program that does not exist ends with kNoSuchProgram.
  [[nodiscard]] static Outcome<ChildProcess> start(Program program);
  ChildProcess(ChildProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)) {}
  ChildProcess& operator=(ChildProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
    return *this;
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  /// 0 once it was waited for.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// Readable once it has ended.
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  /// Sends a signal; none once it was waited for.
  void signal(int number) const noexcept;
  /// Stops it, and returns when it stands still. Fails if it ends instead.
  Outcome<void> freeze() const;
  /// Whether it runs no more.
  [[nodiscard]] bool ended() const noexcept;
  /// Waits for its end, and kills it if it takes longer. Returns its exit status, or minus the
  /// signal that killed it.
  int wait(std::chrono::milliseconds patience);

 private:
  ChildProcess(pid_t pid, hal::UniqueFd pidfd) noexcept : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_;
  hal::UniqueFd pidfd_;
};

/// "ended with status 1", "was killed by signal 9"; for people.
[[nodiscard]] std::string fate_text(int status);

}  // namespace demo
