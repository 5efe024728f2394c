// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/core_contended.hpp"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "tests/bench/domain.hpp"
#include "tests/bench/duel.hpp"
#include "tests/bench/must.hpp"
#include "tests/bench/peers.hpp"
#include "tests/bench/shared_memory.hpp"

namespace bench {
namespace {

/// Threads start and stop around each batch: longer ones than elsewhere.
constexpr unsigned kStretch = 8;
constexpr double kThinkNs = 200;

/// Two processors near each other pass a line on in some 40 ns, far ones in some 210.
constexpr double kNearNs = 100;
enum Regime { kNear, kFar, kMoved };
constexpr std::array<const char*, 3> kRegimeNames = {"near", "far", "moved meanwhile"};

/// A batch of each, and how far the processors were from each other around them.
struct Round {
  double before = 0;
  Duel::Tally peer;
  Duel::Tally ours;
  double after = 0;

  /// Whether both threads were seen to run at once, before, meanwhile and after.
  [[nodiscard]] bool together() const {
    return std::isfinite(before + after) && peer.fairness() > 0 && ours.fairness() > 0;
  }
  [[nodiscard]] Regime regime() const {
    if (std::max(before, after) < kNearNs) return kNear;
    return std::min(before, after) >= kNearNs ? kFar : kMoved;
  }
};

/// Computes without touching memory.
void think(std::uint64_t steps) {
  std::uint64_t number = steps;
  for (; steps != 0; --steps) number = number * 0x5851f42d4c957f2d + 1;
  benchmark::DoNotOptimize(number);
}

/// How many steps take so long; by the quickest of some tries.
std::uint64_t steps_for(double nanoseconds) {
  constexpr std::uint64_t kTried = 100'000;
  double best = 1e9;
  for (int i = 0; i < 20; ++i) best = std::min(best, time_batch(think, kTried));
  return static_cast<std::uint64_t>(nanoseconds / best);
}

/// The number that both count up, on a line of its own.
struct alignas(64) Counter {
  std::uint64_t value = 0;
};

/// `with_lock(f)` calls f while it holds the lock.
template <typename WithLock>
Duel::Loop counting(Counter& counter, std::uint64_t think_steps, const WithLock& with_lock) {
  return [&counter, think_steps, with_lock](unsigned, Duel::Stop& stop) {
    std::uint64_t operations = 0;
    while (!stop()) {
      with_lock([&counter] {
        counter.value += 1;
        benchmark::ClobberMemory();
      });
      ++operations;
      think(think_steps);
    }
    return operations;
  };
}

/// All rounds of one regime.
struct Rounds {
  std::vector<double> ours;
  std::vector<double> peer;
  std::vector<double> our_fairness;
  std::vector<double> peer_fairness;
  std::vector<double> transfers;
};

std::array<Rounds, 3> by_regime(const std::vector<Round>& measured) {
  std::array<Rounds, 3> sorted;
  for (const Round& round : measured) {
    if (!round.together()) continue;
    Rounds& like = sorted[round.regime()];
    like.ours.push_back(round.ours.ns_per_operation());
    like.peer.push_back(round.peer.ns_per_operation());
    like.our_fairness.push_back(round.ours.fairness());
    like.peer_fairness.push_back(round.peer.fairness());
    like.transfers.push_back((round.before + round.after) / 2);
  }
  return sorted;
}

void report(Run& run, const std::array<Rounds, 3>& rounds) {
  // Figures of different regimes don't mix: the one most rounds fell into counts.
  const auto size = [](const Rounds& some) { return some.ours.size(); };
  const auto chosen = static_cast<std::size_t>(
      std::ranges::max_element(rounds.begin(), rounds.begin() + kMoved, {}, size) - rounds.begin());
  const Rounds& most = size(rounds[chosen]) != 0 ? rounds[chosen] : rounds[kMoved];
  if (size(most) == 0) throw Skip("the machine is busy: two processors were never ours at once");
  run.add(summarize(most.ours, most.peer));

  Figure fairness = run.figure("fairness", "%");
  fairness.value = median(most.our_fairness);
  fairness.peer = run.figure().peer;
  fairness.peer_value = median(most.peer_fairness);
  fairness.ratio = fairness.value / *fairness.peer_value;
  fairness.target = ">= 90 % (the slower thread's share of the other's)";
  run.add(std::move(fairness));

  for (std::size_t i = 0; i < rounds.size(); ++i) {
    if (rounds[i].ours.empty()) continue;
    const Comparison all = summarize(rounds[i].ours, rounds[i].peer);
    run.note(fmt::format("{} rounds {} (line transfer {:.0f} ns): ours {:.1f}, peer {:.1f}, {:.2f}",
                         size(rounds[i]), kRegimeNames[i], median(rounds[i].transfers), all.ours,
                         all.peer, all.ratio));
  }
}

void contended(Run& run, std::uint64_t think_steps) {
  Domain domain(1);
  const Shared<RobustMutex> mutex;
  const Shared<Counter> our_counter;
  const Shared<Counter> peer_counter;
  const Duel::Loop ours = counting(
      *our_counter, think_steps,
      [&manager = domain.manager(), handle = domain.handles()[0]](const auto& work) {
        auto hold = manager.acquire_scoped_resource(handle, hal::AcquisitionMode::Blocking);
        if (!hold) [[unlikely]] {
          give_up(hold.error());
        }
        work();
      });
  const Duel::Loop peer = counting(*peer_counter, think_steps, [&mutex](const auto& work) {
    if (!mutex->lock()) throw std::runtime_error("pthread_mutex_lock failed");
    work();
    if (!mutex->unlock()) throw std::runtime_error("pthread_mutex_unlock failed");
  });

  Duel duel;
  const Sampling sampling = run.sampling().stretched(kStretch);
  std::uint64_t our_total = duel.run(ours, sampling.batch).total();
  std::uint64_t peer_total = duel.run(peer, sampling.batch).total();
  double before = duel.line_transfer_ns();
  const std::vector<Round> measured = undisturbed(sampling.rounds, [&] {
    Round round{.before = before,
                .peer = duel.run(peer, sampling.batch),
                .ours = duel.run(ours, sampling.batch)};
    our_total += round.ours.total();
    peer_total += round.peer.total();
    before = round.after = duel.line_transfer_ns();
    return Sample{round, round.peer.disturbed || round.ours.disturbed || !round.together()};
  });
  if (our_counter->value != our_total || peer_counter->value != peer_total) {
    throw std::runtime_error("the lock did not exclude: the counter is wrong");
  }
  report(run, by_regime(measured));
}

}  // namespace

void contended2_vs_robust(Run& run) { contended(run, 0); }
void contended2_think_vs_robust(Run& run) { contended(run, steps_for(kThinkNs)); }

}  // namespace bench
