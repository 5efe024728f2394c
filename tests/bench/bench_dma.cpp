// SPDX-License-Identifier: Apache-2.0
//
// How fast the software DMA engine copies, through a channel that is held as a resource.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "drivers/dma/dma_driver.hpp"
#include "tests/bench/bare_worker.hpp"
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
using drivers::dma::Ticket;

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
  [[nodiscard]] Ticket submit(std::span<const Descriptor> work,
                              drivers::dma::Callback on_done = {}) {
    auto ticket = channel_->submit(work, std::move(on_done));
    if (!ticket) bench::give_up(ticket.error());
    return *std::move(ticket);
  }
  void wait(const Ticket& ticket) {
    if (auto ended = channel_->wait(ticket, Channel::kForever); !ended) {
      bench::give_up(ended.error());
    }
  }
  void run(std::span<const Descriptor> work) { wait(submit(work)); }
  /// Keeps two submissions in flight, so that the engine has the next one when it ends one.
  void stream(std::span<const Descriptor> work, std::uint64_t submissions) {
    Ticket last = submit(work);
    for (; submissions > 1; --submissions) {
      Ticket next = submit(work);
      wait(last);
      last = std::move(next);
    }
    wait(last);
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

/// Binds the calling thread to one processor and a worker to another, until the end: two of them
/// seldom copy alike, because the host lets others use them, too. The engine's worker finds its way
/// to where the caller is not.
class Apart {
 public:
  explicit Apart(bench::BareWorker& worker) {
    ::pthread_getaffinity_np(::pthread_self(), sizeof(before_), &before_);
    unsigned bound = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && bound < 2; ++cpu) {
      if (!CPU_ISSET(cpu, &before_)) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      ::pthread_setaffinity_np(bound == 0 ? ::pthread_self() : worker.thread(), sizeof(one), &one);
      ++bound;
    }
    if (bound < 2) throw bench::Skip("two processors are needed");
  }
  Apart(const Apart&) = delete;
  Apart& operator=(const Apart&) = delete;
  ~Apart() { ::pthread_setaffinity_np(::pthread_self(), sizeof(before_), &before_); }

 private:
  cpu_set_t before_{};
};

enum class Way { Stream, OneByOne, BareHandOff };
enum class Peer { Here, WhereTheWorkerIs };

/// Pieces of `bytes`, `pieces` to a submission; bandwidths in MiB/s.
void bandwidth(Run& run, std::size_t bytes, std::size_t pieces, Way way, Peer where) {
  Engine engine(bytes * pieces);
  std::vector<Descriptor> work;
  work.reserve(pieces);
  for (std::size_t i = 0; i < pieces; ++i) work.push_back(engine.piece(i, bytes));
  engine.run(work);
  engine.check();

  const auto copy_all = [&] {
    for (std::size_t i = 0; i < pieces; ++i) engine.copy_here(i, bytes);
  };
  std::uint64_t repeat = 1;
  bench::BareWorker worker([&] {
    for (std::uint64_t i = 0; i < repeat; ++i) copy_all();
  });
  const Apart apart(worker);
  const Batch ours = [&](std::uint64_t operations) {
    if (way == Way::Stream) return engine.stream(work, operations);
    repeat = 1;
    for (; operations != 0; --operations) way == Way::OneByOne ? engine.run(work) : worker.run();
  };
  const Batch peer = [&](std::uint64_t operations) {
    if (where == Peer::WhereTheWorkerIs) {
      // One hand-off for all of the batch.
      repeat = operations;
      return worker.run();
    }
    for (; operations != 0; --operations) copy_all();
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

/// One descriptor that goes to the worker because it has a callback, against the bare hand-off.
void handed_latency(Run& run) {
  constexpr std::size_t kBytes = 4 * kKibibyte;
  Engine engine(kBytes);
  const Descriptor work = engine.piece(0, kBytes);
  bench::BareWorker worker([&] { engine.copy_here(0, kBytes); });
  const Apart apart(worker);
  run.add(run.compare(
      [&](std::uint64_t operations) {
        for (; operations != 0; --operations) {
          engine.wait(engine.submit({&work, 1}, [](const Ticket&) noexcept {}));
        }
      },
      [&](std::uint64_t operations) {
        for (; operations != 0; --operations) worker.run();
      }));
  engine.check();
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
     .peer = "memcpy on the same pages, by a thread on the processor where the worker runs",
     .target = ">= 0.95",
     .about = "copies of 64 KiB, 32 descriptors to a submission, two submissions in flight",
     .run =
         [](Run& run) { bandwidth(run, 64 * kKibibyte, 32, Way::Stream, Peer::WhereTheWorkerIs); }},
    {.name = "core/dma_4m_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy on the same pages, by a thread on the processor where the worker runs",
     .target = ">= 0.95",
     .about = "copies of 4 MiB, 4 descriptors to a submission, two submissions in flight",
     .run =
         [](Run& run) { bandwidth(run, 4 * kMebibyte, 4, Way::Stream, Peer::WhereTheWorkerIs); }},
    {.name = "core/dma_64k_x32_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = "",
     .about = "copies of 64 KiB, 32 to a submission, each waited for before the next is submitted",
     .run = [](Run& run) { bandwidth(run, 64 * kKibibyte, 32, Way::OneByOne, Peer::Here); }},
    {.name = "core/dma_4m_x4_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = "",
     .about = "copies of 4 MiB, 4 to a submission, each waited for before the next is submitted",
     .run = [](Run& run) { bandwidth(run, 4 * kMebibyte, 4, Way::OneByOne, Peer::Here); }},
    {.name = "core/handoff_64k_x32_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = "",
     .about = "the floor: 32 copies of 64 KiB by a bare thread that polls a word, no engine",
     .run = [](Run& run) { bandwidth(run, 64 * kKibibyte, 32, Way::BareHandOff, Peer::Here); }},
    {.name = "core/handoff_4m_x4_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = "",
     .about = "the floor: 4 copies of 4 MiB by a bare thread that polls a word, no engine",
     .run = [](Run& run) { bandwidth(run, 4 * kMebibyte, 4, Way::BareHandOff, Peer::Here); }},
    {.name = "core/dma_64k_alone_vs_memcpy",
     .unit = "MiB/s",
     .peer = "memcpy by the calling thread, on the same pages",
     .target = "",
     .about = "copies of 64 KiB, each waited for before the next one is submitted",
     .run = [](Run& run) { bandwidth(run, 64 * kKibibyte, 1, Way::OneByOne, Peer::Here); }},
    {.name = "core/dma_4k_latency",
     .unit = "ns",
     .peer = "three times memcpy of the same 4 KiB, and a line from processor to processor once",
     .target = "<= 1.0",
     .about =
         "from submit() of one descriptor of 4 KiB until wait() returns: median of groups of 8",
     .run = latency},
    {.name = "core/dma_4k_handed_latency",
     .unit = "ns",
     .peer = "the floor: a bare thread that polls a word and copies the same 4 KiB",
     .target = "",
     .about = "the same for a descriptor with a callback, which the worker does",
     .run = handed_latency},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "How fast the software DMA engine copies.", kBenchmarks);
}
