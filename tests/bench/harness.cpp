// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/harness.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double nanoseconds(Clock::duration time) {
  return std::chrono::duration<double, std::nano>(time).count();
}

/// Batches before the first that counts, the ones that find the batch's size not included.
constexpr int kWarmUpBatches = 5;

// How many operations fill a batch.
std::uint64_t warm_up(const Batch& batch, const Sampling& sampling) {
  const auto wanted = static_cast<double>(sampling.batch.count());
  std::uint64_t operations = 1;
  double each = time_batch(batch, operations);
  while (each * static_cast<double>(operations) < wanted / 4) {
    operations *= 2;
    each = time_batch(batch, operations);
  }
  // The quickest counts: an interrupted one would make the batches too short.
  for (int i = 0; i < kWarmUpBatches; ++i) each = std::min(each, time_batch(batch, operations));
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted / each));
}

}  // namespace

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], place - std::floor(place));
}

Comparison summarize(const std::vector<double>& ours, const std::vector<double>& peer) {
  std::vector<double> ratios(ours.size());
  std::ranges::transform(ours, peer, ratios.begin(), std::divides());
  return {.ours = median(ours),
          .peer = median(peer),
          .ratio = median(ratios),
          .ratio_low = quantile(ratios, 0.25),
          .ratio_high = quantile(ratios, 0.75)};
}

double time_batch(const Batch& batch, std::uint64_t operations) {
  const auto start = Clock::now();
  batch(operations);
  return nanoseconds(Clock::now() - start) / static_cast<double>(operations);
}

long times_preempted() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

Comparison Run::compare(const Batch& ours, const Batch& peer, const Sampling& sampling) {
  const std::uint64_t peer_operations = warm_up(peer, sampling);
  const std::uint64_t our_operations = warm_up(ours, sampling);
  std::vector<double> our_times;
  std::vector<double> peer_times;
  const auto round = [&] {
    const long before = times_preempted();
    const double peer_time = time_batch(peer, peer_operations);
    const double our_time = time_batch(ours, our_operations);
    return Sample{std::pair(our_time, peer_time), times_preempted() != before};
  };
  for (const auto& [our_time, peer_time] : undisturbed(sampling.rounds, round)) {
    our_times.push_back(our_time);
    peer_times.push_back(peer_time);
  }
  return summarize(our_times, peer_times);
}

double Run::measure(const Batch& ours) const {
  const std::uint64_t operations = warm_up(ours, sampling_);
  return median(undisturbed(sampling_.rounds, [&] {
    const long before = times_preempted();
    const double time = time_batch(ours, operations);
    return Sample{time, times_preempted() != before};
  }));
}

Figure Run::figure() const {
  Figure figure;
  figure.name = benchmark_.name;
  figure.unit = benchmark_.unit;
  if (!benchmark_.peer.empty()) figure.peer = benchmark_.peer;
  figure.target = benchmark_.target;
  return figure;
}

Figure Run::figure(std::string_view suffix, std::string_view unit) const {
  Figure figure;
  figure.name = fmt::format("{}/{}", benchmark_.name, suffix);
  figure.unit = unit;
  return figure;
}

void Run::add(Figure figure) { figures_.push_back(std::move(figure)); }

void Run::add(const Comparison& comparison) {
  Figure own = figure();
  own.value = comparison.ours;
  own.peer_value = comparison.peer;
  own.ratio = comparison.ratio;
  own.spread = fmt::format("{:.2f}..{:.2f}", comparison.ratio_low, comparison.ratio_high);
  add(std::move(own));
}

}  // namespace bench
