// SPDX-License-Identifier: Apache-2.0
//
// Lateness: how late things were, in a bounded histogram.
//
// What it is: exact count, minimum, maximum and mean, and quantiles that are at most 1/32 too high,
// in some 10 KiB whatever is recorded. What it is not: a log of samples.
// Lifetime: a plain value. Thread-safety: one thread at a time.
//
//   lateness.record(now - due);
//   log(lateness.summary().p99);
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace drivers::timer {

/// All zero while nothing was recorded.
struct LatenessSummary {
  std::uint64_t samples = 0;
  std::chrono::nanoseconds min{0};
  std::chrono::nanoseconds max{0};
  std::chrono::nanoseconds mean{0};
  std::chrono::nanoseconds p50{0};
  std::chrono::nanoseconds p99{0};
};

class Lateness {
 public:
  /// What is early (below 0) counts as 0.
  void record(std::chrono::nanoseconds late) noexcept;
  /// Adds what `other` recorded, as if it had been recorded here.
  void merge(const Lateness& other) noexcept;
  [[nodiscard]] LatenessSummary summary() const noexcept;
  /// The smallest time that at least `permille` of 1000 samples don't exceed, rounded up to the
  /// edge of its bucket, but never above the maximum; 0 without samples. `permille` above 1000 is
  /// 1000.
  [[nodiscard]] std::chrono::nanoseconds quantile(std::uint32_t permille) const noexcept;

 private:
  // Below 32 ns one bucket a nanosecond, then 32 to each power of two up to 2^42 ns (73 minutes);
  // later ones share the last bucket.
  static constexpr unsigned kSubBits = 5;
  static constexpr unsigned kMaxExponent = 41;
  static constexpr std::size_t kBuckets = (kMaxExponent - kSubBits + 2) << kSubBits;

  [[nodiscard]] static std::size_t bucket_of(std::uint64_t ns) noexcept;
  [[nodiscard]] static std::uint64_t upper_edge(std::size_t bucket) noexcept;

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t samples_ = 0;
  std::uint64_t sum_ns_ = 0;
  std::uint64_t min_ns_ = 0;
  std::uint64_t max_ns_ = 0;
};

}  // namespace drivers::timer
