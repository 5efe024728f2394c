// SPDX-License-Identifier: Apache-2.0
#include "drivers/timer/lateness.hpp"

#include <algorithm>
#include <bit>

namespace drivers::timer {
namespace {

std::chrono::nanoseconds to_ns(std::uint64_t ns) noexcept {
  return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(ns));
}

}  // namespace

std::size_t Lateness::bucket_of(std::uint64_t ns) noexcept {
  if (ns < (1u << kSubBits)) return static_cast<std::size_t>(ns);
  const unsigned exponent = static_cast<unsigned>(std::bit_width(ns)) - 1;
  if (exponent > kMaxExponent) return kBuckets - 1;
  const std::uint64_t sub = (ns >> (exponent - kSubBits)) & ((1u << kSubBits) - 1);
  return (std::size_t{exponent - kSubBits + 1} << kSubBits) + static_cast<std::size_t>(sub);
}

std::uint64_t Lateness::upper_edge(std::size_t bucket) noexcept {
  if (bucket < (1u << kSubBits)) return bucket;
  const std::size_t exponent = (bucket >> kSubBits) + kSubBits - 1;
  const std::uint64_t sub = bucket & ((1u << kSubBits) - 1);
  const std::uint64_t width = std::uint64_t{1} << (exponent - kSubBits);
  return (std::uint64_t{1} << exponent) + (sub + 1) * width - 1;
}

void Lateness::record(std::chrono::nanoseconds late) noexcept {
  const std::uint64_t ns = late.count() > 0 ? static_cast<std::uint64_t>(late.count()) : 0;
  min_ns_ = samples_ == 0 ? ns : std::min(min_ns_, ns);
  max_ns_ = std::max(max_ns_, ns);
  sum_ns_ += ns;
  ++samples_;
  ++buckets_[bucket_of(ns)];
}

void Lateness::merge(const Lateness& other) noexcept {
  if (other.samples_ == 0) return;
  min_ns_ = samples_ == 0 ? other.min_ns_ : std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
  sum_ns_ += other.sum_ns_;
  samples_ += other.samples_;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    buckets_[bucket] += other.buckets_[bucket];
  }
}

std::chrono::nanoseconds Lateness::quantile(std::uint32_t permille) const noexcept {
  const std::uint64_t share = std::min<std::uint64_t>(permille, 1000);
  // Rounded up, and split so that the product can't overflow.
  const std::uint64_t wanted = samples_ / 1000 * share + (samples_ % 1000 * share + 999) / 1000;
  std::uint64_t below = 0;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    below += buckets_[bucket];
    if (below >= wanted && below > 0) {
      const bool last = bucket == kBuckets - 1;
      return to_ns(last ? max_ns_ : std::min(upper_edge(bucket), max_ns_));
    }
  }
  return to_ns(0);
}

LatenessSummary Lateness::summary() const noexcept {
  if (samples_ == 0) return {};
  return {.samples = samples_,
          .min = to_ns(min_ns_),
          .max = to_ns(max_ns_),
          .mean = to_ns(sum_ns_ / samples_),
          .p50 = quantile(500),
          .p99 = quantile(990)};
}

}  // namespace drivers::timer
