// SPDX-License-Identifier: Apache-2.0
//
// What registering, finding and keeping resources costs.
#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "resmgr/registry/name_key.hpp"
#include "tests/bench/domain.hpp"
#include "tests/bench/harness.hpp"
#include "tests/bench/memory_use.hpp"
#include "tests/bench/must.hpp"

namespace {

using bench::Batch;
using bench::Benchmark;
using bench::Figure;
using bench::MemoryUse;
using bench::must;
using bench::Run;

constexpr std::uint32_t kThousand = 1'000;
constexpr std::uint32_t kMillion = 1'000'000;

/// Names drawn at random, one behind the other: reading them costs next to nothing, whichever table
/// they are looked up in. So many that no branch predictor learns them by heart.
class Queries {
 public:
  explicit Queries(const std::vector<std::string>& names) {
    constexpr std::size_t kQueries = 1'000'000;
    std::mt19937_64 random(names.size());
    std::uniform_int_distribution<std::size_t> any(0, names.size() - 1);
    std::vector<std::size_t> ends;
    for (std::size_t i = 0; i < kQueries; ++i) {
      text_ += names[any(random)];
      ends.push_back(text_.size());
    }
    std::size_t start = 0;
    for (const std::size_t end : ends) {
      views_.emplace_back(text_.data() + start, end - start);
      start = end;
    }
  }

  /// Looks one after another up, round and round.
  template <typename Find>
  [[nodiscard]] Batch through(const Find& find) const {
    return [this, find, at = std::size_t{0}](std::uint64_t operations) mutable {
      for (; operations != 0; --operations) {
        find(views_[at]);
        if (++at == views_.size()) at = 0;
      }
    };
  }

 private:
  std::string text_;
  std::vector<std::string_view> views_;
};

/// The peer: names and their numbers.
class Map {
 public:
  explicit Map(const std::vector<std::string>& names) {
    for (const std::string& name : names) map_.emplace(name, map_.size() + 1);
  }
  [[nodiscard]] Batch through(const Queries& queries) const {
    return queries.through([this](std::string_view name) {
      // Debian builds Abseil with a string_view of its own.
      const auto found = map_.find(absl::string_view(name.data(), name.size()));
      if (found == map_.end()) [[unlikely]] {
        throw std::runtime_error("the peer lost a name");
      }
      benchmark::DoNotOptimize(found->second);
    });
  }

 private:
  absl::flat_hash_map<std::string, std::uint64_t> map_;
};

void lookup(Run& run, std::uint32_t count) {
  bench::Domain domain(count);
  const std::vector<std::string> names = bench::frame_names(count);
  const Map map(names);
  const Queries queries(names);
  const Batch ours = queries.through([&manager = domain.manager()](std::string_view name) {
    auto handle = manager.find(name);
    if (!handle) [[unlikely]] {
      bench::give_up(handle.error());
    }
    benchmark::DoNotOptimize(handle->bits());
  });
  run.add(run.compare(ours, map.through(queries)));
}

/// What no look-up by name goes below: its hash, and its words compared with those of one cell, in
/// a function that is called. Private, never changed, unchecked, and with 32 cells for a name, so
/// that nearly all are where they are looked for first. Names of 8 to 16 bytes.
class BareTable {
 public:
  explicit BareTable(const std::vector<std::string>& names)
      : shift_(64 - static_cast<unsigned>(std::bit_width(names.size() * 31))),
        cells_(std::size_t{1} << (64 - shift_)) {
    for (const std::string& name : names) {
      const auto key = resmgr::registry::short_key<2>(name, secrets_);
      std::size_t at = key.hash >> shift_;
      while (cells_[at].number != 0) at = (at + 1) % cells_.size();
      cells_[at] = {.first = key.first, .last = key.last, .bytes = name.size(), .number = ++count_};
    }
  }

  [[nodiscard, gnu::noinline]] std::uint64_t find(std::string_view name) const {
    const auto key = resmgr::registry::short_key<2>(name, secrets_);
    for (std::size_t at = key.hash >> shift_;; at = (at + 1) % cells_.size()) {
      const Cell& cell = cells_[at];
      const std::uint64_t difference =
          (cell.first ^ key.first) | (cell.last ^ key.last) | (cell.bytes ^ name.size());
      if (difference == 0 || cell.number == 0) [[likely]]
        return cell.number;
    }
  }

 private:
  struct alignas(32) Cell {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::uint64_t bytes = 0;
    std::uint64_t number = 0;
  };

  resmgr::registry::NameSecrets secrets_ = resmgr::registry::NameSecrets::of_domain(1);
  unsigned shift_;
  std::vector<Cell> cells_;
  std::uint64_t count_ = 0;
};

void lookup_floor(Run& run) {
  const std::vector<std::string> names = bench::frame_names(kThousand);
  const BareTable bare(names);
  const Map map(names);
  const Queries queries(names);
  const Batch ours = queries.through([&bare](std::string_view name) {
    const std::uint64_t number = bare.find(name);
    if (number == 0) [[unlikely]] {
      throw std::runtime_error("the floor lost a name");
    }
    benchmark::DoNotOptimize(number);
  });
  run.add(run.compare(ours, map.through(queries)));
}

/// Nanoseconds this thread has run: a neighbour's turn on the processor is not ours.
double own_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

void register_per_second(Run& run) {
  constexpr std::uint32_t kEach = 250'000;
  constexpr unsigned kRounds = 7;
  const std::vector<std::string> names = bench::frame_names(kEach);
  const hal::ResourceMetadata metadata{.type = hal::ResourceType::Memory,
                                       .class_name = "gpu-buffer"};
  std::vector<double> rates;
  // A new domain each time: its pages are touched for the first time, as they are in real life.
  for (unsigned round = 0; round < kRounds; ++round) {
    auto manager = must(hal::ResourceManager::create());
    const double start = own_time();
    for (const std::string& name : names) {
      auto handle = manager->register_resource(name, metadata);
      if (!handle) [[unlikely]] {
        bench::give_up(handle.error());
      }
    }
    rates.push_back(kEach / (own_time() - start) * 1e9);
  }
  Figure figure = run.figure();
  figure.value = bench::median(rates);
  run.add(std::move(figure));
  run.note(fmt::format("{} rounds, {:.2f} to {:.2f} million", kRounds,
                       bench::quantile(rates, 0) / 1e6, bench::quantile(rates, 1) / 1e6));
}

/// Memory that a new domain with so many resources has come to need.
struct Growth {
  double resident = 0;  ///< bytes, by the kernel's count of this process's pages
  double heap = 0;      ///< bytes of these that belong to no region
  double regions = 0;   ///< bytes, by the domain's own count

  /// The larger of two ways to count: a region's page that is not mapped is in the second alone,
  /// one that is mapped twice is twice in the first.
  [[nodiscard]] double bytes() const { return std::max(resident, heap + regions); }
};

Growth grow(const std::vector<std::string>& names) {
  const hal::ResourceMetadata metadata{.type = hal::ResourceType::Memory,
                                       .class_name = "gpu-buffer"};
  const MemoryUse before = MemoryUse::now();
  auto manager = must(hal::ResourceManager::create());
  for (const std::string& name : names) (void)must(manager->register_resource(name, metadata));
  const MemoryUse after = MemoryUse::now();
  return {.resident = static_cast<double>(after.resident) - static_cast<double>(before.resident),
          .heap = static_cast<double>(after.anonymous) - static_cast<double>(before.anonymous),
          .regions = static_cast<double>(manager->stats().resident_bytes)};
}

/// Once without counting: code that runs for the first time is read from its file.
void touch_code() { (void)grow(bench::frame_names(1)); }

Figure memory_figure(Figure figure, const Growth& growth, double per) {
  figure.value = growth.bytes() / per;
  return figure;
}

void add_note(Run& run, const Growth& growth, double per) {
  run.note(fmt::format("resident {:.0f}, of these heap {:.0f}; regions {:.0f}",
                       growth.resident / per, growth.heap / per, growth.regions / per));
}

void rss_per_resource(Run& run) {
  touch_code();
  const Growth many = grow(bench::frame_names(kMillion));
  run.add(memory_figure(run.figure(), many, kMillion));
  add_note(run, many, kMillion);
  for (const auto& [count, suffix] : {std::pair{100'000u, "100k"}, std::pair{kThousand, "1k"}}) {
    const Growth fewer = grow(bench::frame_names(count));
    Figure figure = memory_figure(run.figure(suffix, "bytes"), fewer, count);
    figure.target = run.figure().target;
    run.add(std::move(figure));
    add_note(run, fewer, count);
  }
}

void empty_domain_rss(Run& run) {
  touch_code();
  const Growth empty = grow({});
  constexpr double kKibibyte = 1024;
  run.add(memory_figure(run.figure(), empty, kKibibyte));
  add_note(run, empty, kKibibyte);
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "core/empty_domain_rss",
     .unit = "KiB",
     .peer = "",
     .target = "<= 1024 KiB",
     .about = "memory that a new domain of default size needs: heap, stacks and both regions",
     .run = empty_domain_rss},
    {.name = "core/rss_per_resource",
     .unit = "bytes",
     .peer = "",
     .target = "<= 512 bytes",
     .about = "memory for each of a million (100k, 1k: of so many) registered resources: what the "
              "process has more, a new domain and its heap included",
     .run = rss_per_resource},
    {.name = "core/register_per_second",
     .unit = "1/s",
     .peer = "",
     .target = ">= 2 million",
     .about = "register_resource() of 250,000 names in a new domain, by one thread, in each second "
              "that this thread runs",
     .run = register_per_second},
    {.name = "core/lookup_vs_absl_1k",
     .unit = "ns",
     .peer = "absl::flat_hash_map<std::string, std::uint64_t>, asked with string_view",
     .target = "<= 0.5",
     .about = "find() of names drawn at random from 1,000",
     .run = [](Run& run) { lookup(run, kThousand); }},
    {.name = "core/lookup_floor_1k",
     .unit = "ns",
     .peer = "absl::flat_hash_map<std::string, std::uint64_t>, asked with string_view",
     .target = "",
     .about = "the least that a look-up among 1,000 can cost: a hash and one comparison in a table "
              "of ours that is private and sparse, without any check",
     .run = lookup_floor},
    {.name = "core/lookup_vs_absl_1m",
     .unit = "ns",
     .peer = "absl::flat_hash_map<std::string, std::uint64_t>, asked with string_view",
     .target = "<= 0.5",
     .about = "find() of names drawn at random from a million",
     .run = [](Run& run) { lookup(run, kMillion); }},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What registering, finding and keeping resources costs.",
                               kBenchmarks);
}
