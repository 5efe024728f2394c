// SPDX-License-Identifier: Apache-2.0
//
// What allocating a block and freeing it costs, alone, beside another thread, and across threads;
// and how long the blocks of a dead process take to come back.
#include <benchmark/benchmark.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/pool/block_pool.hpp"
#include "tests/bench/duel.hpp"
#include "tests/bench/harness.hpp"
#include "tests/bench/must.hpp"
#include "tests/bench/pool_peers.hpp"

namespace {

using bench::Benchmark;
using bench::BlockSource;
using bench::Duel;
using bench::must;
using bench::Run;
using resmgr::ErrorCode;
using resmgr::pool::BlockPool;

/// Enough for all caches and the queue between two threads.
constexpr std::uint32_t kBlocks = 8192;
/// Threads start and stop around each batch: longer ones than elsewhere.
constexpr unsigned kStretch = 8;
/// Blocks on their way from one thread to the other come in such parts.
constexpr std::size_t kBurst = 32;

std::shared_ptr<BlockPool> make_pool(std::size_t block_bytes, std::uint32_t blocks = kBlocks) {
  return must(BlockPool::create(
      {.shape = {.block_bytes = block_bytes, .max_blocks = blocks}, .initial_blocks = blocks}));
}

class OurSource final : public BlockSource {
 public:
  explicit OurSource(std::size_t block_bytes)
      : pool_(make_pool(block_bytes)),
        loops_(bench::make_source(
            [pool = pool_.get()] { return pool->try_allocate(); },
            [pool = pool_.get()](void* block) { return pool->try_free(block) == ErrorCode{}; })) {}

  void pairs(std::uint64_t operations) override { loops_->pairs(operations); }
  std::size_t allocate(std::span<void*> out) override { return loops_->allocate(out); }
  void free(std::span<void* const> blocks) override { loops_->free(blocks); }

 private:
  std::shared_ptr<BlockPool> pool_;
  std::unique_ptr<BlockSource> loops_;
};

void compare_pairs(Run& run, BlockSource& peer, std::size_t block_bytes) {
  OurSource ours(block_bytes);
  run.add(run.compare([&](std::uint64_t operations) { ours.pairs(operations); },
                      [&](std::uint64_t operations) { peer.pairs(operations); }));
}
void pair_vs_dpdk(Run& run, std::size_t block_bytes) {
  // A few large blocks are as good as many: it is one that goes around.
  const unsigned blocks = block_bytes > 4096 ? 1024 : kBlocks;
  compare_pairs(run, *bench::make_dpdk_source(block_bytes, blocks), block_bytes);
}

/// Two threads' loops over a source each, round after round: peer, ours, peer, ours ...
template <typename MakeLoop>
void compare_duels(Run& run, BlockSource& ours, BlockSource& peer, const MakeLoop& make_loop) {
  Duel duel;
  const bench::Sampling sampling = run.sampling().stretched(kStretch);
  const auto measure = [&](BlockSource& source) {
    auto loop = make_loop(source);
    return duel.run(std::ref(*loop), sampling.batch);
  };
  measure(ours);
  measure(peer);
  struct Round {
    double ours;
    double peer;
  };
  const auto rounds = bench::undisturbed(sampling.rounds, [&] {
    const Duel::Tally theirs = measure(peer);
    const Duel::Tally mine = measure(ours);
    return bench::Sample{Round{mine.ns_per_operation(), theirs.ns_per_operation()},
                         theirs.disturbed || mine.disturbed};
  });
  std::vector<double> our_times;
  std::vector<double> peer_times;
  for (const Round& round : rounds) {
    our_times.push_back(round.ours);
    peer_times.push_back(round.peer);
  }
  run.add(bench::summarize(our_times, peer_times));
}

/// Each thread allocates and frees its own. Counts half, so that the time is that of a pair of one
/// thread.
class OwnLoop {
 public:
  explicit OwnLoop(BlockSource& source) : source_(source) {}
  std::uint64_t operator()(unsigned, Duel::Stop& stop) {
    constexpr std::uint64_t kPairs = 64;
    std::uint64_t pairs = 0;
    for (; !stop(); pairs += kPairs) source_.pairs(kPairs);
    return pairs / 2;
  }

 private:
  BlockSource& source_;
};

/// One thread allocates and hands over, the other one frees. Time a block.
class TransferLoop {
 public:
  explicit TransferLoop(BlockSource& source) : source_(source) {}

  std::uint64_t operator()(unsigned thread, Duel::Stop& stop) {
    return thread == 0 ? produce(stop) : consume();
  }

 private:
  static constexpr std::size_t kPlaces = 32;
  struct alignas(64) Place {
    std::atomic<std::uint32_t> count{0};  ///< 0: the producer's
    std::array<void*, kBurst> blocks{};
  };

  std::uint64_t produce(Duel::Stop& stop) {
    while (!stop()) {
      Place& place = places_[produced_ % kPlaces];
      if (place.count.load(std::memory_order_acquire) != 0) continue;
      const std::size_t count = source_.allocate(place.blocks);
      if (count == 0) continue;
      place.count.store(static_cast<std::uint32_t>(count), std::memory_order_release);
      ++produced_;
    }
    over_.store(true, std::memory_order_release);
    return 0;
  }
  std::uint64_t consume() {
    std::uint64_t blocks = 0;
    for (std::size_t at = 0;;) {
      Place& place = places_[at % kPlaces];
      const bool over = over_.load(std::memory_order_acquire);
      const std::uint32_t count = place.count.load(std::memory_order_acquire);
      if (count == 0) {
        if (over) return blocks;
        continue;
      }
      source_.free(std::span(place.blocks).first(count));
      place.count.store(0, std::memory_order_release);
      blocks += count;
      ++at;
    }
  }

  BlockSource& source_;
  std::array<Place, kPlaces> places_;
  std::uint64_t produced_ = 0;
  std::atomic<bool> over_{false};
};

void own2_vs_dpdk(Run& run) {
  OurSource ours(64);
  const auto peer = bench::make_dpdk_source(64, kBlocks);
  compare_duels(run, ours, *peer,
                [](BlockSource& source) { return std::make_unique<OwnLoop>(source); });
}

void xfer_vs_dpdk(Run& run) {
  OurSource ours(64);
  const auto peer = bench::make_dpdk_source(64, kBlocks);
  compare_duels(run, ours, *peer,
                [](BlockSource& source) { return std::make_unique<TransferLoop>(source); });
}

// A million blocks of a process that is dead, half of them allocated. No block is touched: what is
// in them is nobody's concern here.
void recover_1m(Run& run) {
  constexpr std::uint32_t kMillion = 1'000'000;
  constexpr resmgr::pool::Owner kDead = 2;
  const auto pool = make_pool(64, kMillion);
  std::vector<resmgr::pool::TakenBlock> blocks(kMillion);
  std::vector<double> times;
  const unsigned rounds = run.sampling().rounds / 40 + 1;
  for (unsigned round = 0; round < rounds; ++round) {
    std::uint32_t cursor = 0;
    for (std::uint32_t count = 0; count < kMillion;) {
      const std::uint32_t got = pool->depot().take(kDead, std::span(blocks).subspan(count), cursor);
      if (got == 0) throw std::runtime_error("the pool has not all of its blocks");
      count += got;
    }
    for (std::uint32_t i = 0; i < kMillion; i += 2) {
      *blocks[i].tag = resmgr::pool::allocated_tag(kDead);
    }
    times.push_back(bench::time_batch(
        [&](std::uint64_t) {
          if (pool->recover(kDead) != kMillion) throw std::runtime_error("blocks are missing");
        },
        1));
  }
  bench::Figure figure = run.figure();
  figure.value = bench::median(times) / 1e6;
  run.add(std::move(figure));
}

constexpr auto kDpdk = "rte_mempool with a cache of 512 blocks for each thread";

constexpr Benchmark kBenchmarks[] = {
    {.name = "pool/pair_64_vs_dpdk",
     .unit = "ns",
     .peer = kDpdk,
     .target = "<= 0.9",
     .about = "a block of 64 bytes is allocated and freed, by one thread",
     .run = [](Run& run) { pair_vs_dpdk(run, 64); }},
    {.name = "pool/pair_4k_vs_dpdk",
     .unit = "ns",
     .peer = kDpdk,
     .target = "<= 0.9",
     .about = "the same with blocks of 4 KiB",
     .run = [](Run& run) { pair_vs_dpdk(run, 4096); }},
    {.name = "pool/pair_64k_vs_dpdk",
     .unit = "ns",
     .peer = kDpdk,
     .target = "<= 0.9",
     .about = "the same with blocks of 64 KiB",
     .run = [](Run& run) { pair_vs_dpdk(run, 65536); }},
    {.name = "pool/pair_64_vs_tcmalloc",
     .unit = "ns",
     .peer = "tc_malloc and tc_free of 64 bytes",
     .target = "<= 1.1",
     .about = "a block of 64 bytes is allocated and freed, by one thread",
     .run = [](Run& run) { compare_pairs(run, *bench::make_tcmalloc_source(64), 64); }},
    {.name = "pool/own2_64_vs_dpdk",
     .unit = "ns",
     .peer = kDpdk,
     .target = "<= 0.9",
     .about = "two threads on two processors allocate and free their own; time a pair of one",
     .run = own2_vs_dpdk},
    {.name = "pool/xfer_64_vs_dpdk",
     .unit = "ns",
     .peer = kDpdk,
     .target = "<= 1.0",
     .about = "one thread allocates blocks, another one frees them, 32 handed over at a time",
     .run = xfer_vs_dpdk},
    {.name = "pool/recover_1m_ms",
     .unit = "ms",
     .peer = "",
     .target = "<= 5 ms",
     .about = "a million blocks of a dead process come back, half of them allocated",
     .run = recover_1m},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What blocks of a pool cost.", kBenchmarks);
}
