// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/child_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace demo {
namespace {

/// What the child does until it is another program; other threads of ours are not there to let go
/// of locks, so it makes system calls alone.
[[noreturn]] void become(const ChildProcess::Program& program, char* const* arguments,
                         pid_t parent) noexcept {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(ChildProcess::kNoSuchProgram);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (program.errors >= 0) ::dup2(program.errors, STDERR_FILENO);
  if (program.given == ChildProcess::kGivenFd) {
    ::fcntl(program.given, F_SETFD, 0);
  } else if (program.given >= 0) {
    ::dup2(program.given, ChildProcess::kGivenFd);
  }
  ::execvp(arguments[0], arguments);
  ::_exit(ChildProcess::kNoSuchProgram);
}

int reap(pid_t pid) noexcept {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return ChildProcess::kNoSuchProgram;
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Outcome<ChildProcess> ChildProcess::start(Program program) {
  std::vector<char*> arguments;
  arguments.reserve(program.words.size() + 1);
  for (std::string& word : program.words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return failed_errno("fork", errno);
  if (pid == 0) become(program, arguments.data(), parent);
  hal::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int error = errno;
  ChildProcess child(pid, std::move(pidfd));
  if (!child.pidfd_) return failed_errno("pidfd_open", error);
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ == 0) return;
  signal(SIGKILL);
  reap(pid_);
}

void ChildProcess::signal(int number) const noexcept {
  if (pid_ != 0) ::kill(pid_, number);
}

Outcome<void> ChildProcess::freeze() const {
  signal(SIGSTOP);
  siginfo_t change{};
  // An end is seen, but left for wait().
  while (::waitid(P_PID, static_cast<id_t>(pid_), &change, WSTOPPED | WEXITED | WNOWAIT) < 0) {
    if (errno != EINTR) return failed_errno("waiting for a process to stop", errno);
  }
  if (change.si_code != CLD_STOPPED) return failed("stopping a process", "it has ended");
  return {};
}

bool ChildProcess::ended() const noexcept {
  pollfd source{pidfd_.get(), POLLIN, 0};
  return pid_ == 0 || ::poll(&source, 1, 0) == 1;
}

int ChildProcess::wait(std::chrono::milliseconds patience) {
  pollfd source{pidfd_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&source, 1, static_cast<int>(patience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready != 1) signal(SIGKILL);
  const int status = reap(pid_);
  pid_ = 0;
  return status;
}

std::string fate_text(int status) {
  return status < 0 ? fmt::format("was killed by signal {}", -status)
                    : fmt::format("ended with status {}", status);
}

}  // namespace demo
