// SPDX-License-Identifier: Apache-2.0
//
// Duel: two threads, each bound to a processor of its own, that do the same thing until told to
// stop.
//
// What it is: the frame of every measurement with two processors, and the measure of how far these
// are from each other: the hosts of virtual machines move them, and ratios of contended locks
// change with it. What it is not: a benchmark. Lifetime: the threads end with the object.
// Thread-safety: one thread calls it.
//
//   Duel duel;
//   auto tally = duel.run([&](unsigned thread, Duel::Stop& stop) { while (!stop()) ... }, 3ms);
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>

namespace bench {

class Duel {
 public:
  /// Asked between operations, by each thread its own: whether it is over. Looks at the clock now
  /// and then; whoever sees the end tells the other.
  class Stop {
   public:
    using Clock = std::chrono::steady_clock;
    Stop(std::atomic<bool>& over, Clock::time_point end) noexcept : over_(over), end_(end) {}
    [[nodiscard]] bool operator()() noexcept {
      if (++asked_ % kClockShare == 0 && Clock::now() >= end_) {
        over_.store(true, std::memory_order_relaxed);
      }
      return over_.load(std::memory_order_relaxed);
    }

   private:
    static constexpr std::uint32_t kClockShare = 256;
    std::atomic<bool>& over_;
    Clock::time_point end_;
    std::uint32_t asked_ = 0;
  };
  /// Called in both threads; returns how many operations it did until it was over.
  using Loop = std::function<std::uint64_t(unsigned thread, Stop& stop)>;

  struct Tally {
    double elapsed_ns = 0;
    std::array<std::uint64_t, 2> operations{};
    bool disturbed = false;  ///< a thread was preempted meanwhile

    [[nodiscard]] std::uint64_t total() const noexcept { return operations[0] + operations[1]; }
    /// Of both threads together.
    [[nodiscard]] double ns_per_operation() const noexcept {
      return elapsed_ns / static_cast<double>(total());
    }
    /// What the thread with fewer operations did, in percent of the other's.
    [[nodiscard]] double fairness() const noexcept;
  };

  /// Throws Skip where there are not two processors for us.
  Duel();
  Duel(const Duel&) = delete;
  Duel& operator=(const Duel&) = delete;
  ~Duel();

  /// Starts both at once and has them stop after `duration`. What a loop throws is thrown here.
  [[nodiscard]] Tally run(const Loop& loop, std::chrono::nanoseconds duration);

  /// How long a line that one processor wrote takes to be seen by the other, both looking: one way,
  /// in nanoseconds. Infinite if they did not run at the same time.
  [[nodiscard]] double line_transfer_ns();

 private:
  using Clock = Stop::Clock;

  /// What one thread did.
  struct Part {
    Clock::time_point start;
    Clock::time_point end;
    std::uint64_t operations = 0;
    bool preempted = false;
    std::exception_ptr error;
  };
  void serve(unsigned thread, int processor);
  [[nodiscard]] Part do_part(unsigned thread);

  // Threads wait for a round here; what a round needs is written before and read after.
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::uint32_t> done_{0};
  const Loop* loop_ = nullptr;
  std::chrono::nanoseconds duration_{};
  std::array<Part, 2> parts_;
  bool ending_ = false;

  alignas(64) std::atomic<std::uint32_t> ready_{0};
  alignas(64) std::atomic<bool> over_{false};
  std::array<std::thread, 2> threads_;
};

}  // namespace bench
