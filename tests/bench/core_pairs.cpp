// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/core_pairs.hpp"

#include <absl/synchronization/mutex.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

#include "tests/bench/domain.hpp"
#include "tests/bench/floor_locks.hpp"
#include "tests/bench/must.hpp"
#include "tests/bench/peers.hpp"
#include "tests/bench/shared_memory.hpp"

namespace bench {
namespace {

constexpr std::uint32_t kMillion = 1'000'000;

/// Pairs on a lock of another hand.
template <typename Lock>
Batch pairs_on(Lock& lock) {
  return [&lock](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      if (!lock.lock() || !lock.unlock()) [[unlikely]] {
        throw std::runtime_error("the peer failed");
      }
    }
  };
}

/// Pairs on a resource of ours: acquired in this way, and released by the end of its scope.
template <typename Acquire>
Batch our_pairs(hal::ResourceManager& manager, hal::Handle handle, Acquire acquire) {
  return [&manager, handle, acquire](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      auto hold = acquire(manager, handle);
      if (!hold) [[unlikely]] {
        give_up(hold.error());
      }
    }
  };
}

// As drivers call it: the mode is known where the call is written.
constexpr auto kExclusive = [](hal::ResourceManager& manager, hal::Handle handle) {
  return manager.acquire_scoped_resource(handle, hal::AcquisitionMode::Blocking);
};
constexpr auto kShared = [](hal::ResourceManager& manager, hal::Handle handle) {
  return manager.acquire_scoped_resource(
      handle, {.mode = hal::AcquisitionMode::Blocking, .kind = hal::HoldKind::Shared});
};

template <typename Floor>
void compare_floor(Run& run) {
  const Shared<Floor> floor;
  const Shared<CasLine> peer;
  run.add(run.compare(pairs_on(*floor), pairs_on(*peer)));
}

template <typename Lock, typename Acquire>
void compare_pairs(Run& run, const Acquire& acquire) {
  Domain domain(1);
  const Shared<Lock> peer;
  run.add(run.compare(our_pairs(domain.manager(), domain.handles()[0], acquire), pairs_on(*peer)));
}

/// Goes through places round and round, over as many batches as it takes.
template <typename Pair>
Batch round_and_round(std::span<const hal::Handle> places, const Pair& pair) {
  return [places, pair, at = std::size_t{0}](std::uint64_t operations) mutable {
    for (; operations != 0; --operations) {
      pair(places[at]);
      if (++at == places.size()) at = 0;
    }
  };
}

}  // namespace

void pair_vs_cas(Run& run) { compare_pairs<CasLine>(run, kExclusive); }
void pair_floor_of_calls_vs_cas(Run& run) { compare_floor<CalledLine>(run); }
void pair_floor_of_books_vs_cas(Run& run) { compare_floor<BookedLine>(run); }
void pair_vs_robust(Run& run) { compare_pairs<RobustMutex>(run, kExclusive); }
void shared_pair_vs_rwlock(Run& run) { compare_pairs<SharedRwLock>(run, kShared); }
void shared_pair_vs_boost(Run& run) { compare_pairs<BoostSharableMutex>(run, kShared); }

void try_pair_vs_cas(Run& run) {
  compare_pairs<CasLine>(run, [](hal::ResourceManager& manager, hal::Handle handle) {
    return manager.try_acquire(handle);
  });
}

void pair_by_options_vs_cas(Run& run) {
  compare_pairs<CasLine>(run,
                         [options = hal::AcquireOptions{.mode = hal::AcquisitionMode::Blocking}](
                             hal::ResourceManager& manager, hal::Handle handle) {
                           return manager.acquire_scoped_resource(handle, options);
                         });
}

namespace {

/// A million resources, and the order in which they are gone through.
struct Million {
  Domain domain{kMillion};
  std::vector<hal::Handle> places;
  std::uint32_t lines = 0;  ///< that have an index below

  Million() {
    for (const std::uint32_t i : random_order(kMillion)) places.push_back(domain.handles()[i]);
    for (const hal::Handle place : places) lines = std::max(lines, place.slot() + 1);
  }
};

/// Lines of another hand, one for each resource, gone through in the same order.
template <typename Line>
class OtherLines {
 public:
  explicit OtherLines(const Million& million)
      : memory_(million.lines * sizeof(Line)),
        lines_(reinterpret_cast<Line*>(memory_.data()), million.lines) {
    std::uninitialized_default_construct(lines_.begin(), lines_.end());
  }
  /// Reads the same array of handles as we do: what that costs, each pays.
  [[nodiscard]] Batch pairs(const Million& million) const {
    return round_and_round(million.places, [lines = lines_](hal::Handle place) {
      Line& line = lines[place.slot()];
      if (!line.lock() || !line.unlock()) [[unlikely]] {
        throw std::runtime_error("the peer failed");
      }
    });
  }

 private:
  SharedMemory memory_;
  std::span<Line> lines_;
};

}  // namespace

void pair_1m_vs_cas(Run& run) {
  Million million;
  const OtherLines<CasLine> peer(million);
  const Batch ours =
      round_and_round(million.places, [&manager = million.domain.manager()](hal::Handle place) {
        auto hold = kExclusive(manager, place);
        if (!hold) [[unlikely]] {
          give_up(hold.error());
        }
      });
  run.add(run.compare(ours, peer.pairs(million)));
}

void pair_1m_floor_of_books_vs_cas(Run& run) {
  const Million million;
  const OtherLines<BookedLine> floor(million);
  const OtherLines<CasLine> peer(million);
  run.add(run.compare(floor.pairs(million), peer.pairs(million)));
}

void pair_vs_absl(Run& run, unsigned held) {
  // Ours: others of different classes, taken in an order that is known after the first round.
  Domain domain(0);
  std::deque<hal::ScopedResource> holds;
  for (unsigned i = 0; i < held; ++i) {
    const hal::Handle other = domain.add(fmt::format("held/{}", i), fmt::format("class-{}", i));
    holds.push_back(must(kExclusive(domain.manager(), other)));
  }
  const hal::Handle measured = domain.add("measured", "class-last");
  const Batch ours = our_pairs(domain.manager(), measured, kExclusive);

  std::deque<absl::Mutex> others(held);
  absl::Mutex mutex;
  const Batch peer = [&mutex](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      mutex.Lock();
      mutex.Unlock();
    }
  };
  // Tells whether the detector is at work below: a library built without it shows no difference.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  run.note(fmt::format("absl::Mutex with detection off: {:.1f} ns", run.measure(peer)));
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kReport);
  std::deque<absl::MutexLock> locks;
  for (absl::Mutex& other : others) locks.emplace_back(&other);
  run.add(run.compare(ours, peer));
}

void handle_check(Run& run) {
  constexpr std::uint32_t kHandles = 64;
  Domain domain(kHandles);
  const Batch ours =
      round_and_round(domain.handles(), [&manager = domain.manager()](hal::Handle handle) {
        benchmark::DoNotOptimize(manager.is_valid(handle));
      });
  Figure figure = run.figure();
  figure.value = run.measure(ours);
  run.add(std::move(figure));
}

}  // namespace bench
