// SPDX-License-Identifier: Apache-2.0
//
// What it costs to find out that a wait closes no cycle.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "tests/bench/harness.hpp"
#include "tests/bench/wait_chain.hpp"

namespace {

using bench::Batch;
using bench::Benchmark;
using bench::Run;
using bench::WaitRegion;

constexpr std::uint32_t kThousand = 1'000;
constexpr std::uint32_t kMillion = 1'000'000;
constexpr std::uint32_t kCrowd = 10'000;
constexpr std::uint32_t kQueueLength = 10;
constexpr std::uint32_t kScaleDepth = 16;

/// Walks of a chain with so many edges.
class Walker {
 public:
  Walker(WaitRegion& region, std::uint32_t edges)
      : region_(region), start_(region.chain(edges)), edges_(edges) {
    // What is timed below must be the whole walk.
    if (region_.graph().find_cycle(start_.scratch, start_.id)) {
      throw std::runtime_error("a chain is no cycle");
    }
    if (region_.graph().steps(start_.scratch).size() != std::size_t{edges} + 1) {
      throw std::runtime_error("the walk did not reach the end of the chain");
    }
  }

  [[nodiscard]] Batch walks() const {
    return [&graph = region_.graph(), &start = start_](std::uint64_t operations) {
      for (; operations != 0; --operations) {
        benchmark::DoNotOptimize(graph.find_cycle(start.scratch, start.id));
      }
    };
  }
  [[nodiscard]] double per_edge(double walk_ns) const { return walk_ns / edges_; }

 private:
  WaitRegion& region_;
  resmgr::lock::Context& start_;
  std::uint32_t edges_;
};

void walk_edge(Run& run, std::uint32_t edges) {
  WaitRegion region(kThousand);
  const Walker walker(region, edges);
  bench::Figure figure = run.figure();
  figure.value = walker.per_edge(run.measure(walker.walks()));
  run.add(std::move(figure));
}

void walk_scale(Run& run) {
  WaitRegion small(kThousand);
  WaitRegion large(kMillion);
  large.crowd(kCrowd, kQueueLength);
  const Walker in_small(small, kScaleDepth);
  const Walker in_large(large, kScaleDepth);
  bench::Comparison walks = run.compare(in_large.walks(), in_small.walks());
  walks.ours = in_large.per_edge(walks.ours);
  walks.peer = in_small.per_edge(walks.peer);
  run.add(walks);
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "core/walk_edge_4",
     .unit = "ns an edge",
     .peer = "",
     .target = "<= 10 ns",
     .about =
         "one walk of the wait-for graph over a chain of 4 waits, each for the next one's hold",
     .run = [](Run& run) { walk_edge(run, 4); }},
    {.name = "core/walk_edge_16",
     .unit = "ns an edge",
     .peer = "",
     .target = "<= 10 ns",
     .about = "the same over 16",
     .run = [](Run& run) { walk_edge(run, 16); }},
    {.name = "core/walk_edge_256",
     .unit = "ns an edge",
     .peer = "",
     .target = "<= 10 ns",
     .about = "the same over 256",
     .run = [](Run& run) { walk_edge(run, 256); }},
    {.name = "core/walk_scale",
     .unit = "ns an edge",
     .peer = "1,000 resources and no other waiters",
     .target = "<= 1.2",
     .about = "a walk over 16 waits with a million resources and 10,000 waiters elsewhere",
     .run = walk_scale},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What a walk of the wait-for graph costs.", kBenchmarks);
}
