// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/duel.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "tests/bench/harness.hpp"

namespace bench {
namespace {

/// Long enough for some thousand transfers, short enough to stand around each round.
constexpr auto kTransferTime = std::chrono::microseconds(300);

std::vector<int> our_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<int> processors;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(static_cast<unsigned>(i), &allowed)) processors.push_back(i);
  }
  return processors;
}

void run_on(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(processor), &one);
  ::pthread_setaffinity_np(::pthread_self(), sizeof(one), &one);
}

}  // namespace

double Duel::Tally::fairness() const noexcept {
  const auto [fewer, more] = std::minmax(operations[0], operations[1]);
  return more == 0 ? 0 : 100 * static_cast<double>(fewer) / static_cast<double>(more);
}

Duel::Duel() {
  const std::vector<int> processors = our_processors();
  if (processors.size() < 2) throw Skip("two processors are needed");
  for (unsigned thread = 0; thread < 2; ++thread) {
    threads_[thread] =
        std::thread([this, thread, processor = processors[thread]] { serve(thread, processor); });
  }
}

Duel::~Duel() {
  ending_ = true;
  round_ += 1;
  round_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Duel::serve(unsigned thread, int processor) {
  run_on(processor);
  for (std::uint32_t seen = 0;;) {
    round_.wait(seen);
    seen = round_;
    if (ending_) return;
    parts_[thread] = do_part(thread);
    done_ += 1;
    done_.notify_all();
  }
}

Duel::Part Duel::do_part(unsigned thread) {
  Part part;
  // From before the start: who is preempted on the way leaves the other alone.
  const long before = times_preempted();
  // Nobody else has to run for both to start: whoever woke them sleeps by now.
  ready_ += 1;
  while (ready_ != threads_.size()) {
  }
  part.start = Clock::now();
  Stop stop(over_, part.start + duration_);
  try {
    part.operations = (*loop_)(thread, stop);
  } catch (...) {
    part.error = std::current_exception();
    over_ = true;
  }
  part.end = Clock::now();
  part.preempted = times_preempted() != before;
  return part;
}

Duel::Tally Duel::run(const Loop& loop, std::chrono::nanoseconds duration) {
  loop_ = &loop;
  duration_ = duration;
  over_ = false;
  ready_ = 0;
  done_ = 0;
  round_ += 1;
  round_.notify_all();
  for (std::uint32_t done = done_; done != threads_.size(); done = done_) done_.wait(done);

  for (const Part& part : parts_) {
    if (part.error) std::rethrow_exception(part.error);
  }
  const auto& [a, b] = parts_;
  const Clock::duration elapsed = std::max(a.end, b.end) - std::min(a.start, b.start);
  return {.elapsed_ns = std::chrono::duration<double, std::nano>(elapsed).count(),
          .operations = {a.operations, b.operations},
          .disturbed = a.preempted || b.preempted};
}

double Duel::line_transfer_ns() {
  struct alignas(64) Ball {
    std::atomic<std::uint64_t> turn{0};
  };
  Ball ball;
  // Each waits for its turn and gives it to the other.
  const Tally tally = run(
      [&ball](unsigned thread, Stop& stop) {
        std::uint64_t passes = 0;
        while (!stop()) {
          const std::uint64_t turn = ball.turn.load(std::memory_order_acquire);
          if (turn % 2 != thread) continue;
          ball.turn.store(turn + 1, std::memory_order_release);
          ++passes;
        }
        return passes;
      },
      kTransferTime);
  const bool together = !tally.disturbed && tally.total() != 0;
  return together ? tally.ns_per_operation() : std::numeric_limits<double>::infinity();
}

}  // namespace bench
