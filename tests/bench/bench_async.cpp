// SPDX-License-Identifier: Apache-2.0
//
// What a wait costs that no thread sleeps for.
#include <fmt/format.h>
#include <liburing.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <hal/async_acquire.hpp>
#include <hal/ring.hpp>
#include <hal/selection.hpp>

#include "tests/bench/domain.hpp"
#include "tests/bench/harness.hpp"
#include "tests/bench/memory_use.hpp"
#include "tests/bench/must.hpp"
#include "tests/bench/raw_futex.hpp"

namespace {

using bench::Batch;
using bench::Benchmark;
using bench::must;
using bench::RawFutexes;
using bench::Run;
using bench::UringOwner;
using hal::AcquisitionMode;
using hal::AsyncAcquire;
using std::chrono::hours;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kCrowd = 100'000;
constexpr unsigned kQueue = 256;

void arm(UringOwner& ring, AsyncAcquire& wait, std::uint64_t user_data) {
  std::array<io_uring_sqe*, 2> entries{};
  for (unsigned i = 0; i < wait.submissions(); ++i) entries[i] = ring.entry();
  must(wait.prepare(entries, user_data));
}

/// One thread: a hold, a wait behind it, the release that grants it, and its completion.
void wait_vs_raw(Run& run, AcquisitionMode mode) {
  const bool timed = mode == AcquisitionMode::Timeout;
  bench::Domain domain(1);
  hal::ResourceManager& manager = domain.manager();
  const hal::Handle handle = domain.handles()[0];
  hal::Context other = must(manager.create_context());
  UringOwner ring(kQueue);
  const Batch ours = [&](std::uint64_t operations) {
    const hal::AcquireOptions options{.mode = mode, .timeout = hours(1), .context = &other};
    for (; operations != 0; --operations) {
      hal::ScopedResource held = must(manager.acquire_scoped_resource(handle));
      AsyncAcquire wait(manager, handle, options);
      arm(ring, wait, 1);
      ring.submit();
      must(held.release());
      AsyncAcquire::Step step = AsyncAcquire::Step::More;
      while (step != AsyncAcquire::Step::Done) {
        const io_uring_cqe completion = ring.next();
        step = wait.complete(&completion);
      }
      must(must(wait.take()).release());
    }
  };
  RawFutexes raw(1);
  UringOwner raw_ring(kQueue);
  const Batch peer = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      raw.arm(raw_ring, 0, 1, timed);
      raw_ring.submit();
      raw.wake(0);
      for (int completions = timed ? 2 : 1; completions != 0; --completions) (void)raw_ring.next();
    }
  };
  run.add(run.compare(ours, peer));
}

void uncontended(Run& run) {
  bench::Domain domain(1);
  hal::ResourceManager& manager = domain.manager();
  const hal::Handle handle = domain.handles()[0];
  const Batch ours = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      AsyncAcquire wait(manager, handle);
      const hal::ScopedResource hold = must(wait.take());
    }
  };
  const Batch peer = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      const hal::ScopedResource hold = must(manager.acquire_scoped_resource(handle));
    }
  };
  run.add(run.compare(ours, peer));
}

/// Four at once, against four one after the other, each let go of before the next.
void acquire_all4(Run& run) {
  constexpr unsigned kSet = 4;
  bench::Domain domain(kSet);
  hal::ResourceManager& manager = domain.manager();
  const auto& handles = domain.handles();
  const std::array<hal::Wanted, kSet> wanted{handles[0], handles[1], handles[2], handles[3]};
  const Batch ours = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      std::array<hal::ScopedResource, kSet> holds;
      must(manager.acquire_all_into(holds, wanted));
    }
  };
  const Batch peer = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      for (const hal::Wanted& one : wanted) {
        const hal::ScopedResource hold = must(manager.acquire_scoped_resource(one.handle));
      }
    }
  };
  run.add(run.compare(ours, peer));
}

/// Any of 64, of which those that are tried first are held by another context.
void acquire_any64(Run& run, hal::SelectionOrder order) {
  constexpr unsigned kAll = 64;
  bench::Domain domain(kAll);
  hal::ResourceManager& manager = domain.manager();
  hal::Context other = must(manager.create_context());
  hal::Selection any = must(manager.select({.order = order}));
  std::vector<hal::ScopedResource> busy;
  const std::vector<hal::Handle> all = must(any.candidates());
  for (const hal::Handle handle : std::span(all).first(kAll / 2)) {
    busy.push_back(must(manager.acquire_scoped_resource(handle, {.context = &other})));
  }
  const Batch ours = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      const hal::ScopedResource hold = must(manager.acquire_any(any));
    }
  };
  const hal::Handle free = all.back();
  const Batch peer = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      const hal::ScopedResource hold = must(manager.acquire_scoped_resource(free));
    }
  };
  run.add(run.compare(ours, peer));
}

/// A hundred thousand resources, each held by this thread, and a wait of another context for each.
class Crowd {
 public:
  Crowd()
      : manager_(must(hal::ResourceManager::create(
            {.capacities = {.resources = kCrowd, .waits = 1u << 18}}))),
        other_(must(manager_->create_context())),
        ring_(kQueue, kCrowd) {
    for (const std::string& name : bench::frame_names(kCrowd)) {
      handles_.push_back(must(manager_->register_resource(name, {})));
      holds_.push_back(must(manager_->acquire_scoped_resource(handles_.back())));
    }
  }

  /// Nanoseconds for each.
  [[nodiscard]] double arm_all() {
    if (!waits_) waits_.reset(new Slot[kCrowd]);
    const auto start = Clock::now();
    for (std::uint32_t i = 0; i < kCrowd; ++i) {
      AsyncAcquire& wait = waits_[i].wait.emplace(
          *manager_, handles_[i],
          hal::AcquireOptions{.mode = AcquisitionMode::Blocking, .context = &other_});
      arm(ring_, wait, i);
      if (i % kQueue == kQueue - 1) ring_.submit();
    }
    ring_.submit();
    return since(start);
  }
  /// In the order of their arming.
  [[nodiscard]] double cancel_all() {
    const auto start = Clock::now();
    for (std::uint32_t i = 0; i < kCrowd; ++i) {
      if (!waits_[i].wait->cancel()) throw std::runtime_error("a wait was not cancelled");
    }
    for (std::uint32_t i = 0; i < kCrowd; ++i) {
      const io_uring_cqe completion = ring_.next();
      if (waits_[completion.user_data].wait->complete(&completion) != AsyncAcquire::Step::Done) {
        throw std::runtime_error("a wait that was cancelled goes on");
      }
    }
    const double each = since(start);
    for (std::uint32_t i = 0; i < kCrowd; ++i) waits_[i].wait.reset();
    return each;
  }
  static double since(Clock::time_point start) {
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / kCrowd;
  }

 private:
  struct Slot {
    std::optional<AsyncAcquire> wait;
  };
  std::unique_ptr<hal::ResourceManager> manager_;
  hal::Context other_;
  UringOwner ring_;
  std::vector<hal::Handle> handles_;
  std::vector<hal::ScopedResource> holds_;
  std::unique_ptr<Slot[]> waits_;
};

constexpr unsigned kCrowdRounds = 11;

void arm_100k(Run& run) {
  Crowd crowd;
  RawFutexes raw(kCrowd);
  UringOwner ring(kQueue, kCrowd);
  std::vector<double> ours;
  std::vector<double> peers;
  for (unsigned round = 0; round < kCrowdRounds; ++round) {
    const auto start = Clock::now();
    for (std::uint32_t i = 0; i < kCrowd; ++i) {
      raw.arm(ring, i, i, false);
      if (i % kQueue == kQueue - 1) ring.submit();
    }
    ring.submit();
    peers.push_back(Crowd::since(start));
    for (std::uint32_t i = 0; i < kCrowd; ++i) raw.wake(i);
    for (std::uint32_t i = 0; i < kCrowd; ++i) (void)ring.next();
    ours.push_back(crowd.arm_all());
    (void)crowd.cancel_all();
  }
  run.add(bench::summarize(ours, peers));
}

void cancel_100k(Run& run) {
  Crowd crowd;
  std::vector<double> times;
  for (unsigned round = 0; round < kCrowdRounds; ++round) {
    (void)crowd.arm_all();
    times.push_back(crowd.cancel_all());
  }
  bench::Figure figure = run.figure();
  figure.value = bench::median(times);
  run.add(std::move(figure));
}

void bytes_per_wait(Run& run) {
  Crowd crowd;
  const auto before = bench::MemoryUse::now();
  (void)crowd.arm_all();
  const auto after = bench::MemoryUse::now();
  bench::Figure figure = run.figure();
  figure.value = static_cast<double>(after.resident - before.resident) / kCrowd;
  run.add(std::move(figure));
}

/// A hold, a callback that waits behind it, and the release that grants it, on one thread.
Batch callbacks(hal::Ring& ring, hal::ResourceManager& manager, hal::Handle handle,
                hal::Context& other) {
  return [&, handle](std::uint64_t operations) {
    const hal::AcquireOptions options{.mode = AcquisitionMode::Blocking, .context = &other};
    for (; operations != 0; --operations) {
      hal::ScopedResource held = must(manager.acquire_scoped_resource(handle));
      must(ring.acquire(manager, handle, options, [](auto hold) { (void)must(std::move(hold)); }));
      must(ring.poll());
      must(held.release());
      must(ring.run());
    }
  };
}

void fallback_vs_futex(Run& run) {
  bench::Domain domain(1);
  hal::Context other = must(domain.manager().create_context());
  const auto doorbell = must(hal::Ring::create({.async_path = hal::AsyncPath::Doorbell}));
  const auto futex = must(hal::Ring::create({.async_path = hal::AsyncPath::Futex}));
  const hal::Handle handle = domain.handles()[0];
  run.add(run.compare(callbacks(*doorbell, domain.manager(), handle, other),
                      callbacks(*futex, domain.manager(), handle, other)));
}

/// Ten thousand callbacks wait at once, for resources that are then released one after the other.
void fallback_10k(Run& run) {
  constexpr std::uint32_t kWaits = 10'000;
  bench::Domain domain(kWaits);
  hal::ResourceManager& manager = domain.manager();
  hal::Context other = must(manager.create_context());
  const auto ring = must(hal::Ring::create({.async_path = hal::AsyncPath::Doorbell}));
  std::vector<double> rates;
  for (unsigned round = 0; round < kCrowdRounds; ++round) {
    std::vector<hal::ScopedResource> holds;
    for (const hal::Handle handle : domain.handles()) {
      holds.push_back(must(manager.acquire_scoped_resource(handle)));
    }
    const auto start = Clock::now();
    for (const hal::Handle handle : domain.handles()) {
      must(ring->acquire(manager, handle, {.mode = AcquisitionMode::Blocking, .context = &other},
                         [](auto hold) { (void)must(std::move(hold)); }));
    }
    must(ring->poll());
    holds.clear();
    must(ring->run());
    rates.push_back(kWaits / std::chrono::duration<double>(Clock::now() - start).count());
  }
  bench::Figure figure = run.figure();
  figure.value = bench::median(rates);
  run.add(std::move(figure));
}

constexpr Benchmark kBenchmarks[] = {
    {.name = "async/wait_vs_raw",
     .unit = "ns",
     .peer = "IORING_OP_FUTEX_WAIT, wake and completion",
     .target = "<= 1.2",
     .about = "a wait behind a hold, on the author's ring: armed, granted, woken, completed",
     .run = [](Run& run) { wait_vs_raw(run, AcquisitionMode::Blocking); }},
    {.name = "async/wait_timeout_vs_raw",
     .unit = "ns",
     .peer = "the same with a linked timeout",
     .target = "<= 1.2",
     .about = "the same with a deadline",
     .run = [](Run& run) { wait_vs_raw(run, AcquisitionMode::Timeout); }},
    {.name = "async/uncontended_vs_sync",
     .unit = "ns",
     .peer = "acquire_scoped_resource()",
     .target = "<= 1.5",
     .about = "an acquisition of what is free, and its release",
     .run = uncontended},
    {.name = "async/acquire_all4_vs_pairs",
     .unit = "ns",
     .peer = "four pairs of acquire_scoped_resource()",
     .target = "<= 1.3",
     .about = "acquire_all_into() of four that are free, and their release",
     .run = acquire_all4},
    {.name = "async/acquire_any64_ns",
     .unit = "ns",
     .peer = "a pair of acquire_scoped_resource()",
     .target = "<= 150 ns",
     .about = "acquire_any() of 64 of which the nearest 32 are held, and its release",
     .run = [](Run& run) { acquire_any64(run, hal::SelectionOrder::NearestFirst); }},
    {.name = "async/acquire_any64_least_used_ns",
     .unit = "ns",
     .peer = "a pair of acquire_scoped_resource()",
     .target = "<= 150 ns",
     .about = "the same, the least used one of those that are free",
     .run = [](Run& run) { acquire_any64(run, hal::SelectionOrder::LeastUsed); }},
    {.name = "async/arm_100k_vs_raw",
     .unit = "ns",
     .peer = "IORING_OP_FUTEX_WAIT",
     .target = "<= 1.3",
     .about = "each of 100,000 waits of one context on one ring, from request to submission",
     .run = arm_100k},
    {.name = "async/bytes_per_wait",
     .unit = "bytes",
     .peer = "",
     .target = "<= 600",
     .about = "what the process has more for each of them, AsyncAcquire itself included",
     .run = bytes_per_wait},
    {.name = "async/cancel_100k_fifo_ns",
     .unit = "ns",
     .peer = "",
     .target = "<= 1000",
     .about = "cancelling all of them in the order of their arming, completions included",
     .run = cancel_100k},
    {.name = "async/fallback_vs_futex",
     .unit = "ns",
     .peer = "the same on a ring that waits on futexes",
     .target = "<= 3",
     .about = "a callback behind a hold, granted, on a ring without io_uring",
     .run = fallback_vs_futex},
    {.name = "async/fallback_10k_per_second",
     .unit = "waits/s",
     .peer = "",
     .target = ">= 200 k",
     .about = "ten thousand of them outstanding: asked for, granted, and called back",
     .run = fallback_10k},
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_benchmarks(argc, argv, "What a wait costs that no thread sleeps for.",
                               kBenchmarks);
}
