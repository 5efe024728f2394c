// SPDX-License-Identifier: Apache-2.0
//
// Meter: so many tokens a second, for bandwidth, processor time or operations, and at most a burst
// of them at once.
//
// What it is: a token bucket in one 64-bit word that processes share, changed by one
// compare-and-swap: who dies between any two instructions has charged, or has not. The word says
// when all that was charged will have been paid for (the "theoretical arrival time" of ITU-T
// I.371); 0 is a meter that nobody used, with its burst untouched. Tokens come one by one, at
// moments that are the same for all who know the rate, and the word is always such a moment: sums
// of them are exact, and nothing drifts, whatever the amounts. A rate may change at any time; then
// at most one token is lost. What it is not: a queue (who charges first goes on first, but nobody
// is woken), a limit of the whole machine, or a clock: times are given, see below. It binds those
// who ask it, and a peer that writes anything into the word is bounded: nobody waits longer for it
// than kLongestDebtSeconds, and words from beyond count as unused.
//
// Times: ns of CLOCK_MONOTONIC. Clock::coarse() will do where a burst is more than what comes
// between two ticks of the kernel (up to 10 ms): tokens beyond the burst are lost meanwhile.
// Waiting: whoever was told ready_ns sleeps until then, for example by an io_uring timeout with
// IORING_TIMEOUT_ABS, and asks nothing afterwards: his tokens are his already.
//
// Lifetime: a Meter is a view; it borrows the word. A word that lies idle for 194 days may be taken
// for one with debts, as one by a peer's hand. Thread-safety: any thread, any process, each with a
// view of its own or the same; a MeterRate is a constant value.
//
//   const auto rate = MeterRate::make(2'000'000'000, 1 << 20);   // 2 GB/s, a MiB at once
//   Meter meter(word, *rate);
//   const auto charge = meter.try_charge(4096, Clock::now());
//   if (charge && !charge->taken) arm_timer(charge->ready_ns);
#pragma once

#include <cstdint>

#include "resmgr/base/error.hpp"

namespace resmgr::budget {

/// How far into the future anybody can charge, and so the longest that anybody waits for a meter.
inline constexpr std::uint64_t kLongestDebtSeconds = 1024;

/// Tokens a second and the most at once, with what a charge would compute anew each time.
class MeterRate {
 public:
  static constexpr std::uint64_t kMostTokensPerSecond = 1'000'000'000'000;
  /// A burst is at most what comes in so many seconds, 12 days.
  static constexpr std::uint64_t kMostBurstSeconds = std::uint64_t{1} << 20;

  /// Errors: InvalidArgument (a rate of 0 or above kMostTokensPerSecond; a burst of 0, or above
  /// what comes in kMostBurstSeconds).
  [[nodiscard]] static Result<MeterRate> make(std::uint64_t tokens_per_second,
                                              std::uint64_t burst) noexcept;

  [[nodiscard]] std::uint64_t tokens_per_second() const noexcept { return tokens_; }
  [[nodiscard]] std::uint64_t burst() const noexcept { return burst_; }
  /// The most that can be charged at once: the burst, and what comes in kLongestDebtSeconds.
  [[nodiscard]] std::uint64_t most() const noexcept {
    return burst_ + tokens_ * kLongestDebtSeconds;
  }

 private:
  friend class Meter;
  MeterRate(std::uint64_t tokens_per_second, std::uint64_t burst) noexcept;

  /// The moment of a token, in grains after that of token 0. REQUIRES: it comes in the first 2^22
  /// seconds.
  [[nodiscard]] std::uint64_t moment_of(std::uint64_t token) const noexcept;

  std::uint64_t tokens_;
  std::uint64_t burst_;
  std::uint64_t history_seconds_;  ///< in which a burst comes, whole ones
  std::uint64_t grains_;           ///< a token, times 2^shift_, rounded down; the top bit is set
  unsigned shift_;
};

/// What became of a charge.
struct Charge {
  bool taken = false;
  /// Taken: when its tokens will all have come, so when to go on; the time that was given if they
  /// have. Not taken: when it could be, if nobody else charges meanwhile.
  std::uint64_t ready_ns = 0;
};

class Meter {
 public:
  Meter(std::uint64_t& word, const MeterRate& rate) noexcept : word_(word), rate_(rate) {}

  /// Takes the tokens if they have all come. An amount of 0 asks whether there are debts. Errors:
  /// InvalidArgument (more than the burst: it could never be).
  [[nodiscard]] Result<Charge> try_charge(std::uint64_t amount, std::uint64_t now_ns) noexcept;
  /// Takes the tokens if they will have come by `latest_ns`, behind all that was charged before.
  /// Errors: InvalidArgument (more than MeterRate::most()).
  [[nodiscard]] Result<Charge> charge_by(std::uint64_t amount, std::uint64_t now_ns,
                                         std::uint64_t latest_ns) noexcept;
  /// Takes the tokens whether they have come or not, and returns when to go on. Debts beyond
  /// kLongestDebtSeconds are forgiven. Errors: InvalidArgument (more than MeterRate::most()).
  [[nodiscard]] Result<std::uint64_t> charge(std::uint64_t amount, std::uint64_t now_ns) noexcept;
  /// charge_by(), and sleeps until it is paid for. Errors: TimedOut (at once, and nothing was
  /// taken: it would not be by then), InvalidArgument.
  [[nodiscard]] Result<void> charge_and_sleep(std::uint64_t amount,
                                              std::uint64_t deadline_ns) noexcept;

  /// Gives tokens back that were taken and not used, of a wait that was withdrawn. What goes beyond
  /// the burst is lost.
  void refund(std::uint64_t amount, std::uint64_t now_ns) noexcept;

  /// Tokens that could be taken at once; below 0: those that are owed.
  [[nodiscard]] std::int64_t level(std::uint64_t now_ns) const noexcept;

 private:
  struct Instant;

  std::uint64_t& word_;
  const MeterRate& rate_;
};

}  // namespace resmgr::budget
