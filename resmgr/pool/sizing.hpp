// SPDX-License-Identifier: Apache-2.0
//
// Sizing: how large a pool and its magazines should be, by what happened lately.
//
// What it is: a pure decision: numbers of two moments in, sizes out, and why. What it is not: who
// applies it; BlockPool::adapt() does. It never asks for more than the maximum, nor for less than
// is in use. Lifetime and thread-safety: pure functions, plain values.
//
// Magazines double while more than one allocation in so many asks the depot, and halve when hardly
// any does. A pool that used less than half of what it has, for some looks in a row, gives the rest
// up but for a reserve: a burst that comes again finds half as much more than its last peak.
//
//   Sizing sizing;
//   const Decision decision = sizing.decide({.limit = 4096, .peak = 300, ...});
#pragma once

#include <cstdint>

namespace resmgr::pool {

/// What was seen since the last look.
struct Load {
  std::uint32_t capacity = 0;         ///< blocks the pool may have
  std::uint32_t limit = 0;            ///< blocks it has
  std::uint32_t peak = 0;             ///< the most that were out of the depot
  std::uint32_t magazine_blocks = 0;  ///< what a magazine may hold
  std::uint32_t magazines = 0;
  std::uint64_t allocations = 0;
  std::uint64_t refills = 0;  ///< of them, those that asked the depot
};

struct Decision {
  std::uint32_t magazine_blocks = 0;  ///< as before, or another number
  std::uint32_t limit = 0;            ///< as before, or less
};

class Sizing {
 public:
  /// `least`: blocks that the pool keeps, whatever happens.
  explicit Sizing(std::uint32_t least = 0) noexcept : least_(least) {}

  [[nodiscard]] Decision decide(const Load& load) noexcept;

 private:
  /// A look at too few calls says nothing.
  static constexpr std::uint64_t kFewCalls = 64;
  static constexpr std::uint64_t kManyRefills = 64;   ///< more than one in so many: they double
  static constexpr std::uint64_t kFewRefills = 4096;  ///< fewer than one in so many: they halve
  static constexpr std::uint32_t kLeastMagazine = 8;
  /// All magazines together have at most this share of the pool.
  static constexpr std::uint32_t kMagazinesShare = 4;
  static constexpr unsigned kIdleLooks = 4;  ///< so many in a row before memory is given up

  [[nodiscard]] std::uint32_t magazine_for(const Load& load) const noexcept;

  std::uint32_t least_;
  unsigned idle_looks_ = 0;
  std::uint32_t idle_peak_ = 0;
};

}  // namespace resmgr::pool
