// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/interrupt.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace demo {
namespace {

sigset_t interrupting() noexcept {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

Outcome<Interrupt> Interrupt::create() {
  const sigset_t signals = interrupting();
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &signals, nullptr); error != 0) {
    return failed_errno("blocking signals", error);
  }
  hal::UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return failed_errno("signalfd", errno);
  return Interrupt(std::move(fd));
}

bool Interrupt::requested() noexcept {
  signalfd_siginfo info{};
  if (!requested_ && ::read(fd_.get(), &info, sizeof(info)) == sizeof(info)) {
    requested_ = true;
    const sigset_t signals = interrupting();
    // It can't fail with these arguments.
    static_cast<void>(::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr));
  }
  return requested_;
}

Outcome<bool> Interrupt::wait_readable(int fd) noexcept {
  if (requested()) return false;
  std::array<pollfd, 2> sources{{{fd, POLLIN, 0}, {fd_.get(), POLLIN, 0}}};
  if (::poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR) {
    return failed_errno("poll", errno);
  }
  return !requested();
}

}  // namespace demo
