// SPDX-License-Identifier: Apache-2.0
//
// How fast the software DMA engine copies, through a channel that is held as a resource.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "drivers/dma/dma_driver.hpp"
#include "tests/bench/duel.hpp"
#include "tests/bench/harness.hpp"
#include "tests/bench/must.hpp"

namespace {

using bench::Batch;
using bench::Benchmark;
using bench::must;
using bench::Run;
using drivers::dma::BufferId;
using drivers::dma::Channel;
using drivers::dma::Descriptor;
using drivers::dma::DmaDriver;

constexpr std::size_t kKibibyte = 1024;
constexpr std::size_t kMebibyte = 1024 * kKibibyte;

/// A manager, a driver, and its one channel with two buffers attached.
class Engine {
 public:
  explicit Engine(std::size_t bytes)
      : manager_(must(hal::ResourceManager::create())),
        driver_(must(DmaDriver::create(*manager_, {.channels = 1}))),
        hold_(must(manager_->acquire_scoped_resource(driver_->handles()[0]))),
        channel_(must(driver_->open(hold_))),
        from_(bytes),
        to_(bytes) {
    for (std::size_t i = 0; i < bytes; ++i) from_[i] = static_cast<std::byte>(i * 31 + i / 251);
    source_ = must(channel_->attach_source(from_));
    destination_ = must(channel_->attach_buffer(to_));
  }

  /// The part of the buffers that piece `index` of so many bytes covers.
  [[nodiscard]] Descriptor piece(std::size_t index, std::size_t bytes) const {
    return Descriptor::copy({source_, index * bytes, bytes}, {destination_, index * bytes, bytes});
  }
  void run(std::span<const Descriptor> work) {
    const auto ticket = channel_->submit(work);
    if (!ticket) bench::give_up(ticket.error());
    if (auto ended = channel_->wait(*ticket, Channel::kForever); !ended) {
      bench::give_up(ended.error());
    }
  }
  /// What a program without an engine does, on the same pages.
  void copy_here(std::size_t index, std::size_t bytes) {
    std::memcpy(to_.data() + index * bytes, from_.data() + index * bytes, bytes);
    benchmark::ClobberMemory();
  }
  void clear() { std::ranges::fill(to_, std::byte{0}); }
  void check() const {
    if (from_ != to_) throw std::runtime_error("the copy differs from its source");
  }

 private:
  std::unique_ptr<hal::ResourceManager> manager_;
  std::unique_ptr<DmaDriver> driver_;
  hal::ScopedResource hold_;
  Channel* channel_;
  std::vector<std::byte> from_;
  std::vector<std::byte> to_;
  BufferId source_;
  BufferId destination_;
};

/// Pieces of `bytes`, `pieces` to a submission; bandwidths in MiB/s.
void bandwidth(Run& run, std::size_t bytes, std::size_t pieces) {
  Engine engine(bytes * pieces);
  std::vector<Descriptor> work;
  work.reserve(pieces);
  for (std::size_t i = 0; i < pieces; ++i) work.push_back(engine.piece(i, bytes));
  engine.run(work);
  engine.check();

  const Batch ours = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) engine.run(work);
  };
  const Batch peer = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      for (std::size_t i = 0; i < pieces; ++i) engine.copy_here(i, bytes);
    }
  };
  // The start of each batch finds what the other one wrote in the other processor's cache.
  constexpr unsigned kStretch = 16;
  const bench::Comparison times = run.compare(ours, peer, run.sampling().stretched(kStretch));
  engine.clear();
  engine.run(work);
  engine.check();

  const double mebibytes = static_cast<double>(bytes * pieces) / kMebibyte;
  const auto per_second = [mebibytes](double ns) { return mebibytes / ns * 1e9; };
  run.add({.ours = per_second(times.ours),
           .peer = per_second(times.peer),
           .ratio = 1 / times.ratio,
           .ratio_low = 1 / times.ratio_high,
           .ratio_high = 1 / times.ratio_low});
}

void latency(Run& run) {
  constexpr std::size_t kBytes = 4 * kKibibyte;
  // One time stamp for so many descriptors, for it costs as much as a part of one.
  constexpr std::uint64_t kGroup = 8;
  constexpr std::uint64_t kGroups = 50;
  constexpr double kMemcpys = 3;
  constexpr unsigned kStretch = 4;
  Engine engine(kBytes);
  const Descriptor work = engine.piece(0, kBytes);
  const Batch ours = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) engine.run({&work, 1});
  };
  const Batch copies = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) engine.copy_here(0, kBytes);
  };

  bench::Duel duel;
  ours(kGroup * kGroups);
  copies(kGroup * kGroups);
  struct Round {
    double memcpy = 0;
    double transfer = 0;
    double latency = 0;
  };
  const auto measured = bench::undisturbed(run.sampling().stretched(kStretch).rounds, [&] {
    const long before = bench::times_preempted();
    Round round{.memcpy = bench::time_batch(copies, kGroup * kGroups),
                .transfer = duel.line_transfer_ns()};
    std::vector<double> groups(kGroups);
    for (double& group : groups) group = bench::time_batch(ours, kGroup);
    round.latency = bench::median(std::move(groups));
    return bench::Sample{round,
                         bench::times_preempted() != before || !std::isfinite(round.transfer)};
  });
  std::vector<double> latencies;
  std::vector<double> bounds;
  std::vector<double> memcpys;
  std::vector<double> transfers;
  for (const Round& round : measured) {
    if (!std::isfinite(round.transfer)) continue;
    latencies.push_back(round.latency);
    memcpys.push_back(round.memcpy);
    transfers.push_back(round.transfer);
    bounds.push_back(kMemcpys * round.memcpy + round.transfer);
  }
  if (latencies.empty()) {
    throw bench::Skip("the machine is busy: two processors were never ours at once");
  }
  engine.check();
  run.add(bench::summarize(latencies, bounds));
  run.note(fmt::format("memcpy {:.0f} ns, hand-off of a line {:.0f} ns", bench::median(memcpys),
                       bench::median(transfers)));
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "core/dma_64k_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = ">= 0.95",
     .about = "copies of 64 KiB, 32 descriptors to a submission, submit() and wait()",
     .run = [](Run& run) { bandwidth(run, 64 * kKibibyte, 32); }},
    {.name = "core/dma_4m_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = ">= 0.95",
     .about = "copies of 4 MiB, 4 descriptors to a submission, submit() and wait()",
     .run = [](Run& run) { bandwidth(run, 4 * kMebibyte, 4); }},
    {.name = "core/dma_64k_alone_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = "",
     .about = "copies of 64 KiB, each waited for before the next one is submitted",
     .run = [](Run& run) { bandwidth(run, 64 * kKibibyte, 1); }},
    {.name = "core/dma_4k_latency",
     .unit = "ns",
     .peer = "three times memcpy of the same 4 KiB, and a line from processor to processor once",
     .target = "<= 1.0",
     .about =
         "from submit() of one descriptor of 4 KiB until wait() returns: median of groups of 8",
     .run = latency},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "How fast the software DMA engine copies.", kBenchmarks);
}
