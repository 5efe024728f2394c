// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/keeper.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/pause.hpp"
#include "resmgr/daemon/handover.hpp"

namespace resmgr::daemon {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr std::uint64_t kSecond = 1'000 * kMillisecond;
// One that lived so long died of something that the next need not meet at once.
constexpr std::uint64_t kLongEnough = kSecond;
constexpr std::uint64_t kLongestPause = kSecond;
constexpr std::uint64_t kTellAgain = 10 * kMillisecond;
// How long a worker may take to end that was told to.
constexpr std::uint64_t kFarewell = 5 * kSecond;

Result<UniqueFd> take_signals() noexcept {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, signal);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return fail_errno(errno, "sigprocmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno(errno, "signalfd");
  return fd;
}

std::string fate_of(int status) {
  if (WIFSIGNALED(status)) return "was killed by signal " + std::to_string(WTERMSIG(status));
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

Result<void> Keeper::run() {
  auto signals = take_signals();
  if (!signals) return std::unexpected(std::move(signals.error()));
  if (auto started = start_worker(); !started) return started;
  for (;;) {
    std::array<pollfd, 4> waits{pollfd{signals->get(), POLLIN, 0}, pollfd{worker_.get(), POLLIN, 0},
                                pollfd{ledger_.fd(), POLLIN, 0},
                                pollfd{property_.door.fd(), POLLIN, 0}};
    const int ready = ::poll(waits.data(), waits.size(), look_at_the_clock());
    if (ready < 0 && errno != EINTR) return fail_errno(errno, "poll");
    if (ready <= 0) continue;
    signalfd_siginfo signal{};
    if (waits[0].revents != 0 &&
        ::read(signals->get(), &signal, sizeof(signal)) == static_cast<ssize_t>(sizeof(signal))) {
      pass_on(static_cast<int>(signal.ssi_signo));
    }
    if (waits[2].revents != 0) read_ledger();
    if (waits[3].revents != 0 && stop_at_ == 0) {
      const auto given = answer_the_door();
      if (!given) return std::unexpected(given.error());
      if (*given) return {};
      continue;
    }
    if (waits[1].revents == 0) continue;
    if (!bury_worker()) return {};
    if (auto started = start_worker(); !started) return started;
  }
}

Result<void> Keeper::start_worker() {
  if (pause_ns_ != 0) pause_for(pause_ns_);
  auto pair = PacketSocket::pair(PacketMode::Blocking);
  if (!pair) return std::unexpected(std::move(pair.error()));
  const pid_t keeper = ::getpid();
  started_at_ = monotonic_ns();
  const pid_t worker = ::fork();
  if (worker < 0) return fail_errno(errno, "fork");
  if (worker == 0) {
    // Without its keeper a worker would leave nothing behind.
    (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != keeper) ::_exit(0);
    ledger_ = {};
    worker_ = {};
    property_.door = {};
    pair->first = {};
    ::_exit(calls_.work({std::move(property_.regions), std::move(property_.listener),
                         LedgerChannel(std::move(pair->second), std::move(property_.ledger),
                                       property_.estate.on_file != nullptr),
                         std::move(property_.estate)}));
  }
  worker_pid_ = worker;
  property_.estate.heard_at = 0;
  property_.estate.waits_to_begin = false;
  worker_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, worker, 0)));
  ledger_ = std::move(pair->first);
  if (!worker_) return fail_errno(errno, "pidfd_open");
  return {};
}

void Keeper::read_ledger() {
  // What is wrong with the socket is that the worker is gone, which its pidfd says.
  if (auto read = property_.estate.read(ledger_); !read) {
    ledger_ = {};
    return;
  }
  if (property_.estate.waits_to_begin) answer_who_waits();
  if (property_.estate.heard_at != 0 && calls_.ready) tell_that_it_serves();
}

// Who was not told would take it for one that does not get so far.
void Keeper::tell_that_it_serves() {
  if (calls_.ready()) {
    calls_.ready = {};
    tell_at_ = 0;
  } else {
    tell_at_ = monotonic_ns() + kTellAgain;
  }
}

void Keeper::answer_who_waits() {
  if (calls_.may_begin && !calls_.may_begin()) {
    // It hears no more of its keeper, and ends; with it the keeper.
    stop_at_ = monotonic_ns() + kFarewell;
    ledger_ = {};
    return;
  }
  calls_.may_begin = {};
  // It has been silent for as long as it was kept waiting.
  started_at_ = monotonic_ns();
  property_.estate.let_begin(ledger_);
}

Result<bool> Keeper::answer_the_door() {
  auto successor = Successor::accept(property_.door);
  // While ours serves: where this comes to nothing, nobody notices.
  auto given = successor ? successor->give(property_) : std::unexpected(successor.error());
  if (!given) {
    if (given.error() != ErrorCode::WouldBlock) {
      log(LogLevel::Warning, "the domain is not handed over: " + given.error().message());
    }
    return false;
  }
  log(LogLevel::Info, "hands the domain over");
  end_worker();
  given = successor->give_the_rest(property_);
  if (given) return true;
  log(LogLevel::Error, "nobody took the domain over: " + given.error().message());
  pause_ns_ = 0;
  // Here, for the loop looks at its clock first: that would find a worker silent which was reaped,
  // and kill by its number, which may be another's by now.
  if (auto started = start_worker(); !started) return std::unexpected(std::move(started.error()));
  return false;
}

void Keeper::end_worker() {
  (void)::kill(worker_pid_, kHandOverSignal);
  pollfd wait{worker_.get(), POLLIN, 0};
  if (::poll(&wait, 1, static_cast<int>(kFarewell / kMillisecond)) == 0) {
    (void)::kill(worker_pid_, SIGKILL);
  }
  while (::waitpid(worker_pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  read_the_rest();
}

// What the worker wrote before it ended.
void Keeper::read_the_rest() {
  while (ledger_ && property_.estate.read(ledger_)) {
  }
  ledger_ = {};
}

void Keeper::pass_on(int signal) {
  if (signal != SIGHUP) {
    stop_at_ = monotonic_ns() + kFarewell;
  } else if (calls_.reload) {
    calls_.reload();
  }
  (void)::kill(worker_pid_, signal == SIGINT ? SIGTERM : signal);
}

int Keeper::look_at_the_clock() {
  const std::uint64_t now = monotonic_ns();
  std::uint64_t next = ~std::uint64_t{0};
  // It is stuck, which its successor need not be.
  const std::uint64_t heard_at = std::max(property_.estate.heard_at, started_at_);
  if (now >= heard_at + kLongestSilenceNs) {
    log(LogLevel::Error, "the worker has not been heard of for 20 s");
    (void)::kill(worker_pid_, SIGKILL);
  } else {
    next = heard_at + kLongestSilenceNs;
  }
  if (stop_at_ != 0) {
    if (now >= stop_at_) (void)::kill(worker_pid_, SIGKILL);
    next = std::min(next, std::max(stop_at_, now + kMillisecond));
  }
  if (tell_at_ != 0) {
    if (now >= tell_at_) tell_that_it_serves();
    next = std::min(next, now + kTellAgain);
  }
  if (calls_.tick_ns != 0) {
    if (now >= next_tick_) {
      calls_.tick();
      next_tick_ = now + calls_.tick_ns;
    }
    next = std::min(next, next_tick_);
  }
  if (next == ~std::uint64_t{0}) return -1;
  return static_cast<int>((next - now) / kMillisecond + 1);
}

bool Keeper::bury_worker() {
  int status = 0;
  if (::waitpid(worker_pid_, &status, WNOHANG) != worker_pid_) return true;
  read_the_rest();
  if (stop_at_ != 0) return false;
  const std::uint64_t lived = monotonic_ns() - started_at_;
  pause_ns_ = lived > kLongEnough ? 0 : std::clamp(2 * pause_ns_, kMillisecond, kLongestPause);
  log(LogLevel::Error, "the worker " + fate_of(status) + "; another one takes over");
  return true;
}

void Keeper::log(LogLevel level, std::string_view line) const {
  if (log_) log_(level, line);
}

}  // namespace resmgr::daemon
