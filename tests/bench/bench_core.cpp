// SPDX-License-Identifier: Apache-2.0
//
// What acquiring and releasing costs, alone and against each other.
#include <atomic>
#include <thread>

#include "tests/bench/core_contended.hpp"
#include "tests/bench/core_pairs.hpp"
#include "tests/bench/harness.hpp"

namespace {

using bench::Benchmark;
using bench::Run;

constexpr Benchmark kBenchmarks[] = {
    {.name = "core/pair_vs_cas",
     .unit = "ns",
     .peer = "compare-and-swap to take, compare-and-swap to give back, on one line",
     .target = "<= 1.25",
     .about = "exclusive acquire_scoped_resource(Blocking) and end of scope, by one thread",
     .run = bench::pair_vs_cas},
    {.name = "core/try_pair_vs_cas",
     .unit = "ns",
     .peer = "compare-and-swap to take, compare-and-swap to give back, on one line",
     .target = "",
     .about = "the same by try_acquire, which asks for no lock order",
     .run = bench::try_pair_vs_cas},
    {.name = "core/pair_by_options_vs_cas",
     .unit = "ns",
     .peer = "compare-and-swap to take, compare-and-swap to give back, on one line",
     .target = "",
     .about = "the same by options that are read at run time",
     .run = bench::pair_by_options_vs_cas},
    {.name = "core/pair_floor_of_calls_vs_cas",
     .unit = "ns",
     .peer = "compare-and-swap to take, compare-and-swap to give back, on one line",
     .target = "",
     .about = "not ours: the bare pair behind two calls",
     .run = bench::pair_floor_of_calls_vs_cas},
    {.name = "core/pair_floor_of_books_vs_cas",
     .unit = "ns",
     .peer = "compare-and-swap to take, compare-and-swap to give back, on one line",
     .target = "",
     .about = "not ours: two calls that check nothing, and write down who holds what since when",
     .run = bench::pair_floor_of_books_vs_cas},
    {.name = "core/pair_vs_robust",
     .unit = "ns",
     .peer = "pthread_mutex, process-shared and robust",
     .target = "<= 0.95",
     .about = "exclusive acquire_scoped_resource(Blocking) and end of scope, by one thread",
     .run = bench::pair_vs_robust},
    {.name = "core/pair_1m_vs_cas",
     .unit = "ns",
     .peer = "pairs of compare-and-swap on as many lines of 64 bytes, in the same order",
     .target = "<= 1.3",
     .about = "exclusive pairs over a million resources, in random order",
     .run = bench::pair_1m_vs_cas},
    {.name = "core/pair_1m_floor_of_books_vs_cas",
     .unit = "ns",
     .peer = "pairs of compare-and-swap on as many lines of 64 bytes, in the same order",
     .target = "",
     .about = "the floor of books, see above, over a million lines in random order",
     .run = bench::pair_1m_floor_of_books_vs_cas},
    {.name = "core/pair_vs_absl_hold0",
     .unit = "ns",
     .peer = "absl::Mutex with deadlock detection",
     .target = "<= 0.33",
     .about = "exclusive pair (Blocking) while nothing else is held",
     .run = [](Run& run) { bench::pair_vs_absl(run, 0); }},
    {.name = "core/pair_vs_absl_hold1",
     .unit = "ns",
     .peer = "absl::Mutex with deadlock detection",
     .target = "<= 0.33",
     .about = "exclusive pair (Blocking) while a resource of another class is held",
     .run = [](Run& run) { bench::pair_vs_absl(run, 1); }},
    {.name = "core/pair_vs_absl_hold4",
     .unit = "ns",
     .peer = "absl::Mutex with deadlock detection",
     .target = "<= 0.33",
     .about = "exclusive pair (Blocking) while resources of four other classes are held",
     .run = [](Run& run) { bench::pair_vs_absl(run, 4); }},
    {.name = "core/shared_pair_vs_rwlock",
     .unit = "ns",
     .peer = "pthread_rwlock, process-shared, for reading",
     .target = "<= 2.2",
     .about = "shared acquire_scoped_resource(Blocking) and end of scope, by one thread",
     .run = bench::shared_pair_vs_rwlock},
    {.name = "core/shared_pair_vs_boost",
     .unit = "ns",
     .peer = "boost::interprocess::interprocess_sharable_mutex, sharable",
     .target = "<= 1.0",
     .about = "shared acquire_scoped_resource(Blocking) and end of scope, by one thread",
     .run = bench::shared_pair_vs_boost},
    {.name = "core/contended2_vs_robust",
     .unit = "ns",
     .peer = "pthread_mutex, process-shared and robust",
     .target = "<= 1.5, and fair within 10 %",
     .about = "two threads on two processors count one number up under the lock, without a pause; "
              "time an operation of both together",
     .run = bench::contended2_vs_robust},
    {.name = "core/contended2_think_vs_robust",
     .unit = "ns",
     .peer = "pthread_mutex, process-shared and robust",
     .target = "<= 1.1, and fair within 10 %",
     .about = "the same with 200 ns of computing outside of the lock",
     .run = bench::contended2_think_vs_robust},
    {.name = "core/handle_check",
     .unit = "ns",
     .peer = "",
     .target = "<= 3 ns",
     .about = "is_valid() of one of 64 handles",
     .run = bench::handle_check},
};

}  // namespace

int main(int argc, char** argv) {
  // glibc and others leave locked instructions out while a process has one thread: a driver's has
  // more, so this one gets a second that sleeps.
  std::atomic<bool> over{false};
  std::thread parked([&over] { over.wait(false); });
  const int status = bench::run_benchmarks(
      argc, argv, "What acquiring and releasing costs, alone and contended.", kBenchmarks);
  over = true;
  over.notify_one();
  parked.join();
  return status;
}
