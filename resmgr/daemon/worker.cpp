// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/worker.hpp"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <utility>

namespace resmgr::daemon {
namespace {

class Signals final : public Watcher {
 public:
  explicit Signals(EventLoop& loop) noexcept : loop_(loop) {}

  Result<void> start() {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    fd_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) return fail_errno(errno, "signalfd");
    return loop_.watch(*this, fd_.get(), POLLIN);
  }

 private:
  void ready(unsigned) override { loop_.stop(); }

  EventLoop& loop_;
  UniqueFd fd_;
};

class KeeperWatch final : public Watcher {
 public:
  explicit KeeperWatch(EventLoop& loop) noexcept : loop_(loop) {}

 private:
  void ready(unsigned) override { loop_.stop(); }

  EventLoop& loop_;
};

Result<void> serve(Inheritance inheritance, WorkerOptions& options) {
  auto state = DomainState::take_over(std::move(inheritance.regions));
  if (!state) return std::unexpected(std::move(state.error()));
  auto loop = EventLoop::create(options.backend);
  if (!loop) return std::unexpected(std::move(loop.error()));
  Clerk clerk(**state, options.version, inheritance.ledger);
  for (auto& [handle, file] : inheritance.estate.files) clerk.inherit(handle, std::move(file));
  auto server =
      Server::start(**loop, clerk, std::move(inheritance.listener), std::move(options.server));
  if (!server) return std::unexpected(std::move(server.error()));
  for (auto& [index, survivor] : inheritance.estate.clients) {
    auto expected = (*server)->expect(survivor.client, std::move(survivor.pidfd));
    if (!expected) return expected;
  }
  Signals signals(**loop);
  if (auto watched = signals.start(); !watched) return watched;
  KeeperWatch keeper(**loop);
  if (auto watched = (*loop)->watch(keeper, inheritance.ledger.fd(), 0); !watched) return watched;
  inheritance.ledger.ready();
  return (*loop)->run();
}

}  // namespace

int work(Inheritance inheritance, WorkerOptions options) {
  const LogSink log = options.server.log;
  auto served = serve(std::move(inheritance), options);
  if (served) return 0;
  if (log) log(LogLevel::Error, "the worker can't go on: " + served.error().message());
  return 1;
}

}  // namespace resmgr::daemon
