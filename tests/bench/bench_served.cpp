// SPDX-License-Identifier: Apache-2.0
//
// What a domain costs that resmgrd serves to several processes.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "tests/bench/domain.hpp"
#include "tests/bench/harness.hpp"
#include "tests/bench/must.hpp"
#include "tests/bench/served_handoff.hpp"
#include "tests/bench/served_processes.hpp"
#include "tests/bench/shared_memory.hpp"

namespace {

using bench::Batch;
using bench::Benchmark;
using bench::Figure;
using bench::must;
using bench::Run;
using bench::ServedDomain;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

// ---- pairs --------------------------------------------------------------------------------------

Batch pairs(hal::ResourceManager& manager, hal::Handle handle) {
  return [&manager, handle](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      auto hold = manager.acquire_scoped_resource(handle, hal::AcquisitionMode::Blocking);
      if (!hold) [[unlikely]] {
        bench::give_up(hold.error());
      }
    }
  };
}

void pair_vs_embedded(Run& run) {
  ServedDomain served;
  const auto embedded = must(hal::ResourceManager::create());
  const Batch peer = pairs(*embedded, must(embedded->register_resource("frame/0", {})));
  run.add(run.compare(
      pairs(served.manager(), must(served.manager().register_resource("frame/0", {}))), peer));
}

void pair_vs_seqpacket(Run& run) {
  ServedDomain served;
  bench::Echo echo;
  run.add(
      run.compare(pairs(served.manager(), must(served.manager().register_resource("frame/0", {}))),
                  [&](std::uint64_t operations) {
                    for (; operations != 0; --operations) echo.round_trip();
                  }));
}

void pair_vs_flock(Run& run) {
  ServedDomain served;
  const resmgr::UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file) throw bench::Skip("no temporary file");
  run.add(
      run.compare(pairs(served.manager(), must(served.manager().register_resource("frame/0", {}))),
                  [&](std::uint64_t operations) {
                    for (; operations != 0; --operations) {
                      (void)::flock(file.get(), LOCK_EX);
                      (void)::flock(file.get(), LOCK_UN);
                    }
                  }));
}

// ---- hand-offs ----------------------------------------------------------------------------------

void compare_duels(Run& run, auto& ours, auto& peer) {
  run.add(bench::Run::compare([&](std::uint64_t operations) { ours.play(operations); },
                              [&](std::uint64_t operations) { peer.play(operations); },
                              run.sampling().stretched(4)));
}

void handoff(Run& run, unsigned partner, bench::WordDuel::Wait wait) {
  bench::pin(0);
  ServedDomain served;
  bench::LockDuel ours(served, partner);
  bench::WordDuel peer(wait, partner);
  compare_duels(run, ours, peer);
}

void handoff_floor_of_timeouts(Run& run) {
  bench::pin(0);
  bench::WordDuel floor(bench::WordDuel::Wait::TimedFutex, 0);
  bench::WordDuel peer(bench::WordDuel::Wait::Futex, 0);
  compare_duels(run, floor, peer);
}

void handoff_floor_of_queues(Run& run) {
  bench::pin(0);
  bench::QueueDuel floor(1);
  bench::WordDuel peer(bench::WordDuel::Wait::Spin, 1);
  compare_duels(run, floor, peer);
}

void handoff_same(Run& run) { handoff(run, 0, bench::WordDuel::Wait::Futex); }
void handoff_cross(Run& run) { handoff(run, 1, bench::WordDuel::Wait::Futex); }
void handoff_spin(Run& run) { handoff(run, 1, bench::WordDuel::Wait::Spin); }

// ---- death --------------------------------------------------------------------------------------

constexpr std::uint32_t kRegistered = 100'000;
constexpr std::uint32_t kHeldByTheDead = 10'000;
constexpr std::size_t kDeaths = 15;

// What the processes of death_to_grant() tell each other, in memory that they share.
struct Orders {
  std::atomic<std::size_t> turn{};  ///< the holder who is to hold, counted from 1
  std::atomic<std::size_t> ready{};
  std::array<hal::Handle, kHeldByTheDead> handles{};
};

// Holds until it is killed.
void hold(const ServedDomain& served, Orders& orders, std::size_t turn) {
  while (orders.turn.load() != turn) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto manager = served.connect();
  std::vector<hal::ScopedResource> holds;
  for (const hal::Handle handle : orders.handles) {
    holds.push_back(must(manager->try_acquire(handle)));
  }
  orders.ready.store(turn);
  ::pause();
}

struct Death {
  double pidfd_ns;  ///< until the pidfd of the one who was killed was readable
  double grant_ns;  ///< until the one who waited for him ran
};

double kill_ns(pid_t victim, Clock::time_point& start) {
  const resmgr::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, victim, 0)));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // he sleeps by then, and who waits
  start = Clock::now();
  (void)::kill(victim, SIGKILL);
  pollfd readable{pidfd.get(), POLLIN, 0};
  (void)::poll(&readable, 1, -1);
  return since(start);
}

Death death_of(const bench::Other& victim, hal::ResourceManager& manager, hal::Handle wanted) {
  Death death{};
  Clock::time_point start;
  std::thread killer([&] {
    while (must(manager.get_resource_stats(wanted)).waiting == 0) std::this_thread::yield();
    death.pidfd_ns = kill_ns(victim.pid(), start);
  });
  auto granted = must(manager.acquire_scoped_resource(wanted));
  const auto end = Clock::now();
  killer.join();
  if (!granted.inconsistent()) throw std::runtime_error("the holder did not die");
  (void)granted.consistent();
  death.grant_ns = std::chrono::duration<double, std::nano>(end - start).count();
  return death;
}

void death_to_grant(Run& run) {
  const bench::Shared<Orders> shared;
  Orders& orders = *shared;
  ServedDomain served;
  // Forked while this process is small: the kernel takes the dead apart before it tells anybody.
  std::vector<std::unique_ptr<bench::Other>> idle;
  std::vector<std::unique_ptr<bench::Other>> holders;
  for (std::size_t i = 0; i < kDeaths; ++i) {
    idle.push_back(std::make_unique<bench::Other>([] { ::pause(); }));
    holders.push_back(std::make_unique<bench::Other>([&, i] { hold(served, orders, i + 1); }));
  }

  std::vector<hal::NamedResource> named;
  const auto names = bench::frame_names(kRegistered);
  for (const std::string& name : names) named.push_back({.name = name});
  auto made = must(served.manager().register_resources(named));
  for (std::uint32_t i = 0; i < kHeldByTheDead; ++i) {
    orders.handles[i] = must(std::move(made[i * (kRegistered / kHeldByTheDead)]));
  }

  std::vector<double> ours;
  std::vector<double> peer;
  std::vector<double> own;
  for (std::size_t i = 0; i < kDeaths; ++i) {
    Clock::time_point start;
    peer.push_back(kill_ns(idle[i]->pid(), start));
    orders.turn.store(i + 1);
    while (orders.ready.load() != i + 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    // The last of those he holds: the least lucky of those who wait.
    const Death death = death_of(*holders[i], served.manager(), orders.handles.back());
    ours.push_back(death.grant_ns);
    own.push_back(death.pidfd_ns);
  }
  run.add(bench::summarize(ours, peer));
  run.note(
      fmt::format("less the 0.5 ms that are granted: {:.2f} times; the holder's own pidfd was "
                  "readable after {:.0f} ns",
                  (bench::median(ours) - 500'000) / bench::median(peer), bench::median(own)));
}

// ---- registration -------------------------------------------------------------------------------

void register_vs_seqpacket(Run& run) {
  constexpr std::uint32_t kBatch = 200;
  ServedDomain served;
  bench::Echo echo;
  const auto names = bench::frame_names(kBatch);
  std::vector<double> ours;
  std::vector<double> peer;
  for (unsigned round = 0; round < run.sampling().rounds / 8 + 5; ++round) {
    auto start = Clock::now();
    for (std::uint32_t i = 0; i < kBatch; ++i) echo.round_trip();
    peer.push_back(since(start) / kBatch);
    std::vector<hal::Handle> made;
    start = Clock::now();
    for (const std::string& name : names) {
      made.push_back(must(served.manager().register_resource(name, {})));
    }
    ours.push_back(since(start) / kBatch);
    for (const hal::Handle handle : made) must(served.manager().unregister_resource(handle));
  }
  run.add(bench::summarize(ours, peer));
}

void register_batch(Run& run) {
  constexpr std::uint32_t kBatch = 100'000;
  std::vector<double> rates;
  const auto names = bench::frame_names(kBatch);
  std::vector<hal::NamedResource> wanted;
  for (const std::string& name : names) wanted.push_back({.name = name});
  for (int i = 0; i < 5; ++i) {
    ServedDomain served;
    const auto start = Clock::now();
    for (auto& each : must(served.manager().register_resources(wanted))) must(std::move(each));
    rates.push_back(kBatch / since(start) * 1e9);
  }
  Figure figure = run.figure();
  figure.value = bench::median(rates);
  run.add(figure);
}

// ---- the daemon ---------------------------------------------------------------------------------

void restart_registration(Run& run) {
  ServedDomain served;
  std::vector<double> times;
  for (int i = 0; i < 15; ++i) {
    const pid_t before = served.worker();
    const auto start = Clock::now();
    (void)::kill(before, SIGKILL);
    must(served.manager().register_resource("after/" + std::to_string(i), {}));
    times.push_back(since(start) / 1e6);
    if (served.worker() == before) throw std::runtime_error("the worker was not killed");
  }
  Figure figure = run.figure();
  figure.value = bench::median(times);
  run.add(figure);
}

std::uint64_t processor_ns(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/schedstat");
  std::uint64_t ns = 0;
  file >> ns;
  return ns;
}

void idle_cpu(Run& run) {
  ServedDomain served;
  const auto used = [&] { return processor_ns(served.keeper()) + processor_ns(served.worker()); };
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const std::uint64_t before = used();
  const auto start = Clock::now();
  std::this_thread::sleep_for(std::chrono::seconds(6));
  Figure figure = run.figure();
  figure.value = static_cast<double>(used() - before) / since(start) * 100;
  run.add(figure);
}

double resident_kib(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6));
  }
  return 0;
}

void daemon_rss(Run& run) {
  ServedDomain served;
  const auto names = bench::frame_names(1'000);
  std::vector<hal::NamedResource> wanted;
  for (const std::string& name : names) wanted.push_back({.name = name});
  for (auto& each : must(served.manager().register_resources(wanted))) must(std::move(each));
  Figure figure = run.figure();
  figure.value = resident_kib(served.keeper()) + resident_kib(served.worker());
  run.add(figure);
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "served/pair_vs_embedded",
     .unit = "ns",
     .peer = "embedded",
     .target = "<= 1.03",
     .about = "acquire and release, uncontended, in a served and in an embedded domain",
     .run = pair_vs_embedded},
    {.name = "served/pair_vs_seqpacket",
     .unit = "ns",
     .peer = "seqpacket",
     .target = "<= 0.0025",
     .about = "the same, and a round trip to a server over SOCK_SEQPACKET",
     .run = pair_vs_seqpacket},
    {.name = "served/pair_vs_flock",
     .unit = "ns",
     .peer = "flock",
     .target = "<= 0.025",
     .about = "the same, and flock(2) of a file and its end",
     .run = pair_vs_flock},
    {.name = "served/handoff_same_vs_futex",
     .unit = "ns",
     .peer = "futex",
     .target = "<= 1.1",
     .about = "a resource that two processes on one processor have by turns, there and back; and "
              "a word that they pass by futex(2)",
     .run = handoff_same},
    {.name = "served/handoff_floor_of_timeouts_vs_futex",
     .unit = "ns",
     .peer = "futex",
     .target = "",
     .about = "what the bare word takes on one processor if each sleep has a deadline, as ours has",
     .run = handoff_floor_of_timeouts},
    {.name = "served/handoff_cross_vs_futex",
     .unit = "ns",
     .peer = "futex",
     .target = "<= 1.1",
     .about = "the same on two processors",
     .run = handoff_cross},
    {.name = "served/handoff_spin_vs_spin",
     .unit = "ns",
     .peer = "spin",
     .target = "<= 3",
     .about = "the same, and a word at which both look all the time",
     .run = handoff_spin},
    {.name = "served/handoff_floor_of_queues_vs_spin",
     .unit = "ns",
     .peer = "spin",
     .target = "",
     .about = "what a bare queue lock takes for the same: the least of a hand-off in an order",
     .run = handoff_floor_of_queues},
    {.name = "served/death_to_grant_vs_pidfd",
     .unit = "ns",
     .peer = "pidfd",
     .target = "<= 1.25 and 0.5 ms",
     .about = "from SIGKILL of a process that holds 10,000 of 100,000 resources to a waiter that "
              "runs with its grant; and to a readable pidfd of one that holds none",
     .run = death_to_grant},
    {.name = "served/register_vs_seqpacket",
     .unit = "ns",
     .peer = "seqpacket",
     .target = "<= 2",
     .about = "registering one resource, and a round trip over SOCK_SEQPACKET",
     .run = register_vs_seqpacket},
    {.name = "served/register_batch_per_second",
     .unit = "1/s",
     .peer = "",
     .target = ">= 300000",
     .about = "registering 100,000 resources by one call",
     .run = register_batch},
    {.name = "served/restart_registration_ms",
     .unit = "ms",
     .peer = "",
     .target = "<= 250",
     .about = "from SIGKILL of the worker to a registration that its successor answered",
     .run = restart_registration},
    {.name = "served/idle_cpu_percent",
     .unit = "%",
     .peer = "",
     .target = "<= 0.1",
     .about = "processor time of keeper and worker while nobody asks for anything",
     .run = idle_cpu},
    {.name = "served/daemon_rss",
     .unit = "KiB",
     .peer = "",
     .target = "<= 8192",
     .about = "resident memory of keeper and worker together, with 1,000 resources",
     .run = daemon_rss},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What a domain costs that several processes share.",
                               kBenchmarks);
}
