// SPDX-License-Identifier: Apache-2.0
//
// What a charge of a meter costs.
#include <benchmark/benchmark.h>

#include <stdexcept>

#include "resmgr/base/clock.hpp"
#include "resmgr/budget/meter.hpp"
#include "tests/bench/harness.hpp"

namespace {

using bench::Benchmark;
using bench::Run;
using resmgr::Clock;
using resmgr::budget::Meter;
using resmgr::budget::MeterRate;

constexpr std::uint64_t kTokensPerSecond = 25'000'000'000;  // bytes of a fast device
constexpr std::uint64_t kBurst = 1 << 24;

/// Charges one token after another; each finds the bucket full enough.
template <typename Now>
void charge(Run& run, Now now) {
  const auto rate = MeterRate::make(kTokensPerSecond, kBurst);
  if (!rate) throw std::runtime_error(rate.error().message());
  alignas(64) std::uint64_t word = 0;
  Meter meter(word, *rate);
  bench::Figure figure = run.figure();
  figure.value = run.measure([&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      auto charge = meter.try_charge(1, now());
      benchmark::DoNotOptimize(charge);
      if (!charge || !charge->taken) [[unlikely]] {
        throw std::runtime_error("a charge was refused");
      }
    }
  });
  run.add(std::move(figure));
}

void charge_at_given_time(Run& run) {
  charge(run, [now = Clock::now()]() mutable { return now += 10; });
}
void charge_by_coarse_clock(Run& run) {
  charge(run, [] { return Clock::coarse(); });
}
void charge_by_exact_clock(Run& run) {
  charge(run, [] { return Clock::now(); });
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "pool/meter_charge_ns",
     .unit = "ns",
     .peer = "",
     .target = "<= 15 ns",
     .about = "try_charge() of one token, which is there, at a time that is given",
     .run = charge_at_given_time},
    {.name = "pool/meter_charge_coarse_ns",
     .unit = "ns",
     .peer = "",
     .target = "",
     .about = "the same with a reading of the coarse clock",
     .run = charge_by_coarse_clock},
    {.name = "pool/meter_charge_exact_ns",
     .unit = "ns",
     .peer = "",
     .target = "",
     .about = "the same with a reading of the exact clock",
     .run = charge_by_exact_clock},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What a charge of a meter costs.", kBenchmarks);
}
