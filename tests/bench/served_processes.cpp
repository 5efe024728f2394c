// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/served_processes.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "tests/bench/harness.hpp"
#include "tests/bench/must.hpp"

namespace bench {

ServedDomain::ServedDomain() {
  std::string pattern = std::filesystem::temp_directory_path() / "resmgr-bench-XXXXXX";
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("no temporary folder");
  folder_ = pattern;
  const std::string socket = folder_ + "/bench.sock";
  keeper_ = ::fork();
  if (keeper_ == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
    // It says who comes and goes, which is not of interest here.
    (void)!std::freopen("/dev/null", "w", stderr);
    ::execl(RESMGRD_PATH, "resmgrd", "--socket", socket.c_str(), nullptr);
    ::_exit(127);
  }
  constexpr int kPatienceMs = 10'000;
  for (int waited = 0; waited < kPatienceMs; ++waited) {
    auto manager = hal::ResourceManager::connect({.socket = socket});
    if (manager) {
      manager_ = std::move(*manager);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw std::runtime_error("resmgrd does not serve");
}

ServedDomain::~ServedDomain() {
  manager_.reset();
  (void)::kill(keeper_, SIGTERM);
  (void)::waitpid(keeper_, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::unique_ptr<hal::ResourceManager> ServedDomain::connect() const {
  return must(hal::ResourceManager::connect({.socket = folder_ + "/bench.sock"}));
}

pid_t ServedDomain::worker() const {
  const std::string keeper = std::to_string(keeper_);
  std::ifstream children("/proc/" + keeper + "/task/" + keeper + "/children");
  pid_t pid = 0;
  children >> pid;
  return pid;
}

Other::Other(const std::function<void()>& run) : pid_(::fork()) {
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ != 0) return;
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    run();
  } catch (const std::exception&) {
    ::_exit(1);
  }
  ::_exit(0);
}

Other::~Other() {
  if (pid_ > 0) kill();
}

void Other::kill() {
  (void)::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

Echo::Echo() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("socketpair");
  }
  server_ = std::make_unique<Other>([&] {
    std::array<char, 64> packet{};
    ::close(ends[0]);
    for (;;) {
      const ssize_t bytes = ::recv(ends[1], packet.data(), packet.size(), 0);
      if (bytes <= 0) return;
      (void)::send(ends[1], packet.data(), static_cast<std::size_t>(bytes), MSG_NOSIGNAL);
    }
  });
  ::close(ends[1]);
  socket_ = ends[0];
}

Echo::~Echo() { ::close(socket_); }

void Echo::round_trip() {
  std::array<char, 64> packet{};
  if (::send(socket_, packet.data(), packet.size(), MSG_NOSIGNAL) <= 0 ||
      ::recv(socket_, packet.data(), packet.size(), 0) <= 0) {
    throw std::runtime_error("the echo is gone");
  }
}

void pin(unsigned processor) {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    (void)::sched_getaffinity(0, sizeof(set), &set);
    return set;
  }();
  for (std::size_t cpu = 0, seen = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || seen++ != processor) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (::sched_setaffinity(0, sizeof(one), &one) != 0) throw std::runtime_error("affinity");
    return;
  }
  throw Skip("there are not so many processors");
}

}  // namespace bench
