// SPDX-License-Identifier: Apache-2.0
//
// What charging a budget costs, through the public interface.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>

#include <hal/resource_manager.hpp>

#include "tests/bench/harness.hpp"
#include "tests/bench/must.hpp"

namespace {

using bench::Benchmark;
using bench::must;
using bench::Run;

void charge_vs_fetch_add(Run& run) {
  const auto manager = must(hal::ResourceManager::create());
  const hal::DriverId driver = must(manager->register_driver("bench"));
  must(manager->set_thread_driver(driver));
  must(manager->set_budget(hal::ResourceType::Memory, {.max = std::uint64_t{1} << 40}));
  must(manager->set_budget(hal::ResourceType::Memory, {.max = std::uint64_t{1} << 30}, driver));
  // So much is drawn by then that the rest is local.
  {
    const auto first = must(manager->charge(hal::ResourceType::Memory, 1 << 20));
  }
  std::atomic<std::uint64_t> counter{0};
  const bench::Comparison both = run.compare(
      [&](std::uint64_t operations) {
        for (std::uint64_t i = 0; i < operations; ++i) {
          auto charge = manager->charge(hal::ResourceType::Memory, 64);
          if (!charge) throw std::runtime_error("the budget is exceeded");
          benchmark::DoNotOptimize(charge);
        }
      },
      [&](std::uint64_t operations) {
        for (std::uint64_t i = 0; i < operations; ++i) {
          counter.fetch_add(64);
          benchmark::ClobberMemory();
          counter.fetch_sub(64);
        }
      });
  bench::Figure figure = run.figure();
  figure.value = (both.ours - both.peer) / 2;
  figure.peer_value = both.peer / 2;
  run.add(std::move(figure));
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "pool/charge_vs_fetch_add_ns",
     .unit = "ns",
     .peer = "fetch_add and fetch_sub of a counter",
     .target = "<= 2 ns",
     .about =
         "charging a budget, and giving it back: what each of the two takes more than its peer",
     .run = charge_vs_fetch_add},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What charging a budget costs.", kBenchmarks);
}
