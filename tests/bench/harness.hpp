// SPDX-License-Identifier: Apache-2.0
//
// The frame of a benchmark program: options, rounds, medians, the table and the JSON file.
//
// What it is: a comparison alternates a batch of the peer and a batch of ours, round after round,
// and takes the median of the rounds' ratios, so that a change of clock rate or a host that moves a
// processor hits both sides of a ratio or one round of many. A round in which the scheduler gave
// the processor to somebody else is measured again. Time is taken around whole batches: on virtual
// machines one time stamp costs more than a compare-and-swap. What it is not: a judge; targets are
// shown beside the figures and never asserted.
//
// Why not google-benchmark's runner: it measures one function after another (or, with random
// interleaving, repetitions of some hundred milliseconds), and knows no ratio of a round. Its
// DoNotOptimize() and ClobberMemory() are used in the loops.
//
// Lifetime: tables of benchmarks are constants of a program. Thread-safety: one thread, the main
// one.
//
//   void pair(Run& run) { run.add(run.compare(ours, peer)); }
//   constexpr Benchmark kAll[] = {{.name = "core/pair", .unit = "ns", ..., .run = pair}};
//   int main(int argc, char** argv) { return run_benchmarks(argc, argv, "what it measures", kAll);
//   }
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// Does so many operations. Throws std::runtime_error if one of them fails.
using Batch = std::function<void(std::uint64_t operations)>;

/// Thrown by a benchmark that can't run here; its text says why.
struct Skip : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How much is measured.
struct Sampling {
  unsigned rounds = 801;
  std::chrono::nanoseconds batch = std::chrono::microseconds(250);

  /// Fewer and longer batches, for what has a long start: caches that fill, threads that meet.
  [[nodiscard]] constexpr Sampling stretched(unsigned factor) const {
    return {.rounds = rounds / factor + 1, .batch = batch * factor};
  }
};

/// One line of the results. The first six are the fields of the JSON file.
struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  std::optional<std::string> peer;
  std::optional<double> peer_value;
  std::optional<double> ratio;  ///< ours / peer
  std::string target;
  std::string spread;  ///< how far the rounds lie apart
};

/// Medians over the rounds, in nanoseconds an operation, and quartiles of the ratio.
struct Comparison {
  double ours = 0;
  double peer = 0;
  double ratio = 0;
  double ratio_low = 0;
  double ratio_high = 0;
};

/// The value below which the share `q` (0 to 1) of them lies. REQUIRES: not empty.
[[nodiscard]] double quantile(std::vector<double> values, double q);
[[nodiscard]] inline double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

/// Medians of pairs of measurements that were taken together. REQUIRES: as many of each, not none.
[[nodiscard]] Comparison summarize(const std::vector<double>& ours,
                                   const std::vector<double>& peer);

/// Nanoseconds that one operation of a batch of so many takes.
[[nodiscard]] double time_batch(const Batch& batch, std::uint64_t operations);

/// How often the calling thread lost its processor to another so far.
[[nodiscard]] long times_preempted();

/// What one round measured.
template <typename T>
struct Sample {
  T value;
  bool disturbed = false;  ///< a thread of it was preempted meanwhile
};

/// Calls `measure`, which returns a Sample<T>, until so many were undisturbed, and returns their
/// values. Where a machine is never quiet, some that were disturbed are among them, or there are
/// fewer than wanted; never none.
template <typename Measure>
[[nodiscard]] auto undisturbed(unsigned rounds, const Measure& measure) {
  constexpr unsigned kPatience = 4;  // so many are dropped for each that is wanted, at most
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::vector<decltype(measure().value)> kept;
  for (unsigned droppable = rounds * kPatience; kept.size() < rounds;) {
    auto sample = measure();
    const bool late = std::chrono::steady_clock::now() >= deadline;
    if (sample.disturbed && droppable != 0 && !(late && kept.empty())) {
      --droppable;
    } else {
      kept.push_back(std::move(sample.value));
    }
    if (late && !kept.empty()) break;
  }
  return kept;
}

class Run;

/// A benchmark as --list shows it.
struct Benchmark {
  std::string_view name;
  std::string_view unit;
  std::string_view peer;    ///< what it is compared with; may be empty
  std::string_view target;  ///< may be empty
  std::string_view about;   ///< what is measured, and how
  void (*run)(Run&) = nullptr;
};

/// What a benchmark measures with and reports to.
class Run {
 public:
  Run(const Benchmark& benchmark, const Sampling& sampling) noexcept
      : benchmark_(benchmark), sampling_(sampling) {}

  [[nodiscard]] const Sampling& sampling() const noexcept { return sampling_; }

  /// Warms both up, finds batch sizes, and measures round after round: peer, ours, peer, ours ...
  [[nodiscard]] Comparison compare(const Batch& ours, const Batch& peer) const {
    return compare(ours, peer, sampling_);
  }
  [[nodiscard]] static Comparison compare(const Batch& ours, const Batch& peer,
                                          const Sampling& sampling);
  /// The same without a peer: median nanoseconds an operation.
  [[nodiscard]] double measure(const Batch& ours) const;

  /// The benchmark's own figure without values, for those who fill it in themselves.
  [[nodiscard]] Figure figure() const;
  /// A second figure of the same benchmark, "<name>/<suffix>".
  [[nodiscard]] Figure figure(std::string_view suffix, std::string_view unit) const;
  void add(Figure figure);
  void add(const Comparison& comparison);
  /// A line below the figures.
  void note(std::string text) { notes_.push_back(std::move(text)); }

  [[nodiscard]] const std::vector<Figure>& figures() const noexcept { return figures_; }
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  const Benchmark& benchmark_;
  const Sampling& sampling_;
  std::vector<Figure> figures_;
  std::vector<std::string> notes_;
};

/// main() of a benchmark program. Options: --json FILE, --filter REGEX, --rounds N, --batch-us N,
/// --list. Returns 0, or 1 if a benchmark failed; one that is skipped says why and is no failure.
int run_benchmarks(int argc, char** argv, const std::string& about,
                   std::span<const Benchmark> benchmarks);

}  // namespace bench
