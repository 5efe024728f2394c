// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/worker.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/audit_log.hpp"
#include "resmgr/daemon/bound.hpp"
#include "resmgr/daemon/peer.hpp"
#include "resmgr/daemon/policy.hpp"

namespace resmgr::daemon {
namespace {

/// SIGTERM and kHandOverSignal end the worker, SIGHUP has it read its files anew.
class Signals final : public Watcher {
 public:
  Signals(EventLoop& loop, Server& server, AuditLog& audit, const WorkerOptions& options) noexcept
      : loop_(loop), server_(server), audit_(audit), options_(options) {}

  Result<void> start() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGHUP, kHandOverSignal}) ::sigaddset(&signals, signal);
    if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return fail_errno(errno, "sigprocmask");
    fd_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) return fail_errno(errno, "signalfd");
    return loop_.watch(*this, fd_.get(), POLLIN);
  }
  /// Whether the domain goes on with another daemon, as far as the keeper said.
  [[nodiscard]] bool hands_over() const noexcept { return hands_over_; }

 private:
  void ready(unsigned) override {
    signalfd_siginfo signal{};
    if (::read(fd_.get(), &signal, sizeof(signal)) != static_cast<ssize_t>(sizeof(signal))) return;
    if (signal.ssi_signo == SIGHUP) {
      reload();
    } else {
      hands_over_ = signal.ssi_signo == kHandOverSignal;
      loop_.stop();
    }
  }
  void reload() {
    if (auto opened = audit_.reopen(); !opened) {
      tell(LogLevel::Error, "the audit log can't be opened anew: " + opened.error().message());
    }
    // The keeper, who read it, told its mistakes, and then there is no text.
    const auto text = options_.text ? options_.text->take() : std::nullopt;
    if (!text) return;
    const auto config = parse_config(*text, options_.config_path, options_.log);
    if (!config) return;
    if (options_.on_log_config) options_.on_log_config(config->log);
    server_.set_policy(std::make_shared<Policy>(*config, ::geteuid()));
    audit_.record({.event = AuditEvent::PolicyReloaded, .detail = options_.config_path});
  }
  void tell(LogLevel level, const std::string& line) const {
    if (options_.log) options_.log(level, line);
  }

  EventLoop& loop_;
  Server& server_;
  AuditLog& audit_;
  const WorkerOptions& options_;
  UniqueFd fd_;
  bool hands_over_ = false;
};

class Heartbeat final : public Timer {
 public:
  Heartbeat(EventLoop& loop, LedgerChannel& ledger, AuditLog& audit) noexcept
      : loop_(loop), ledger_(ledger), audit_(audit) {}
  void beat() {
    ledger_.ready();
    audit_.report_left_out();
    loop_.arm(*this, monotonic_ns() + kHeartbeatNs);
  }

 private:
  void expired(std::uint64_t) override { beat(); }

  EventLoop& loop_;
  LedgerChannel& ledger_;
  AuditLog& audit_;
};

// Those whose process has ended meanwhile are buried, and so are those whose burial was begun.
Result<void> inherit_clients(Server& server, const LedgerFile& ledger) {
  for (const LedgerFile::Survivor& survivor : ledger.clients()) {
    const Client& client = survivor.client;
    auto pidfd = Peer::pidfd_of(static_cast<pid_t>(client.pid), client.start_time);
    const bool ended = !pidfd && pidfd.error() == ErrorCode::Disconnected;
    if (survivor.leaving || ended) {
      server.finish_burial(client, pidfd ? pidfd->get() : -1);
      continue;
    }
    if (!pidfd) return std::unexpected(std::move(pidfd.error()));
    if (auto expected = server.expect(client, std::move(*pidfd)); !expected) return expected;
  }
  return {};
}

// Without memory for it nothing is observed, and no more is wrong than that.
std::optional<budget::MemoryObserver> observer_for(const DomainConfig& config) noexcept try {
  if (!config.observe_memory) return {};
  return budget::MemoryObserver::find();
} catch (const std::bad_alloc&) {
  return {};
}

Result<void> serve(Inheritance inheritance, const WorkerOptions& options) {
  const auto turn = inheritance.ledger.file().take_turn(kTurnPatienceNs);
  if (!turn) return std::unexpected(turn.error());
  auto audit = AuditLog::open({.path = options.config.log.audit}, options.log);
  if (!audit) return std::unexpected(std::move(audit.error()));
  auto loop = EventLoop::create(options.backend);
  if (!loop) return std::unexpected(std::move(loop.error()));
  if (!inheritance.ledger.may_begin()) return {};
  auto begun = inheritance.ledger.begins(inheritance.regions.registry.header().epoch);
  if (!begun) return begun;
  auto state = DomainState::take_over(std::move(inheritance.regions));
  if (!state) return std::unexpected(std::move(state.error()));
  (*state)->engine().order().set_policy(options.config.domain.order_policy);
  Clerk clerk(**state, options.version, inheritance.ledger);
  for (auto& [handle, file] : inheritance.estate.files) clerk.inherit(handle, std::move(file));
  for (const std::uint32_t driver : inheritance.ledger.file().drained()) {
    clerk.inherit_drain(driver);
  }
  auto server = Server::start(
      **loop, clerk, std::move(inheritance.listener),
      std::make_shared<Policy>(options.config, ::geteuid()),
      {.log = options.log, .audit = &*audit, .memory = observer_for(options.config.domain)});
  if (!server) return std::unexpected(std::move(server.error()));
  if (auto inherited = inherit_clients(**server, inheritance.ledger.file()); !inherited) {
    return inherited;
  }
  Signals signals(**loop, **server, *audit, options);
  if (auto watched = signals.start(); !watched) return watched;
  BoundWatcher<EventLoop> keeper(**loop, [](EventLoop& self, unsigned) { self.stop(); });
  if (auto watched = (*loop)->watch(keeper, inheritance.ledger.fd(), 0); !watched) return watched;
  Heartbeat heartbeat(**loop, inheritance.ledger, *audit);
  heartbeat.beat();
  auto served = (*loop)->run();
  const bool goes_on = signals.hands_over() || inheritance.ledger.is_kept();
  (*server)->say_closing(goes_on ? wire::ClosingReason::Restart : wire::ClosingReason::Shutdown);
  return served;
}

}  // namespace

int work(Inheritance inheritance, const WorkerOptions& options) {
  auto served = serve(std::move(inheritance), options);
  if (served) return 0;
  if (options.log) {
    options.log(LogLevel::Error, "the worker can't go on: " + served.error().message());
  }
  return 1;
}

Result<Config> load_config(const std::string& path, const LogSink& log) {
  const auto text = load_text(path);
  if (!text) return std::unexpected(text.error());
  return parse_config(*text, path, log);
}

Result<Config> parse_config(std::string_view text, const std::string& path, const LogSink& log) {
  ConfigResult read = read_config(text, path);
  if (read.mistakes.empty()) return std::move(read.config);
  for (const Mistake& mistake : read.mistakes) {
    if (log) {
      log(LogLevel::Error, located(mistake, path));
    }
  }
  return fail(ErrorCode::InvalidArgument, "the configuration has mistakes");
}

}  // namespace resmgr::daemon
