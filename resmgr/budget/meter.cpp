// SPDX-License-Identifier: Apache-2.0
//
// Time is counted in grains, 2^-40 s, modulo 2^64: a rate of 10^12 has more than one for each
// token. Token k of a rate comes k / rate seconds after time 0, rounded down to a grain. Rates are
// whole numbers, so the moments repeat each second, and every computation starts at a whole second
// of its own: numbers stay small, and neither rounds nor wraps where another one would not.
#include "resmgr/budget/meter.hpp"

#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/clock.hpp"

namespace resmgr::budget {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr unsigned kGrainBits = 40;
constexpr std::uint64_t kGrains = std::uint64_t{1} << kGrainBits;
constexpr std::uint64_t kNanoseconds = 1'000'000'000;
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

// Grains in a nanosecond, times 2^53.
constexpr unsigned kClockShift = 53;
constexpr auto kClockFactor =
    static_cast<std::uint64_t>((Wide{1} << (kClockShift + kGrainBits)) / kNanoseconds);

// An honest word is at most kLongestDebtSeconds ahead of the time of whoever wrote it, which may be
// ahead of that of whoever reads it.
constexpr std::int64_t kFarthest = 2 * static_cast<std::int64_t>(kLongestDebtSeconds * kGrains);

// A word is this much more than its moment. So it is never 0, a meter that nobody used: no token
// comes in the last grain of a second, for the last but one is a grain and more before its end.
constexpr std::uint64_t kFirst = 1;
static_assert(kGrains > MeterRate::kMostTokensPerSecond);

constexpr std::uint64_t low(Wide value) noexcept { return static_cast<std::uint64_t>(value); }

constexpr std::uint64_t grains_at(std::uint64_t ns) noexcept {
  return low(Wide{ns} * kClockFactor >> kClockShift);
}

// Nanoseconds after which so many grains are over by every clock; one grain more makes up for what
// grains_at() rounds down.
constexpr std::uint64_t ns_after(std::uint64_t grains) noexcept {
  return low((Wide{grains + 1} * kNanoseconds + (kGrains - 1)) >> kGrainBits);
}

}  // namespace

Result<MeterRate> MeterRate::make(std::uint64_t tokens_per_second, std::uint64_t burst) noexcept {
  if (tokens_per_second == 0 || tokens_per_second > kMostTokensPerSecond) {
    return fail(ErrorCode::InvalidArgument, "rate of a meter out of range");
  }
  if (burst == 0 || burst > tokens_per_second * kMostBurstSeconds) {
    return fail(ErrorCode::InvalidArgument, "burst of a meter out of range");
  }
  return MeterRate(tokens_per_second, burst);
}

MeterRate::MeterRate(std::uint64_t tokens_per_second, std::uint64_t burst) noexcept
    : tokens_(tokens_per_second),
      burst_(burst),
      history_seconds_((burst + tokens_per_second - 1) / tokens_per_second),
      grains_(0),
      shift_(0) {
  const auto bits = static_cast<unsigned>(std::bit_width(tokens_ - 1));
  grains_ = low((Wide{1} << (63 + bits)) / tokens_);
  shift_ = 63 + bits - kGrainBits;
}

std::uint64_t MeterRate::moment_of(std::uint64_t token) const noexcept {
  // `grains_` is less than one too small, and token < 2^shift_: so the result is at most one less.
  const std::uint64_t moment = low(Wide{token} * grains_ >> shift_);
  const std::uint64_t rest = (token << kGrainBits) - moment * tokens_;
  return moment + (rest >= tokens_ ? 1 : 0);
}

// A time as a meter's rate sees it. Tokens are counted from a whole second that is so long ago that
// none before it matters.
struct Meter::Instant {
  Instant(const MeterRate& by, std::uint64_t now_ns) noexcept
      : rate(by),
        now(grains_at(now_ns)),
        start(now - now % kGrains - rate.history_seconds_ * kGrains),
        come(low(Wide{now - start} * rate.tokens_ >> kGrainBits)),
        oldest(come - rate.burst_) {}

  // Tokens that were taken or have been lost, by a word.
  [[nodiscard]] std::uint64_t gone(std::uint64_t word) const noexcept {
    const std::uint64_t moment = word - kFirst;
    const auto ahead = static_cast<std::int64_t>(moment - now);
    const auto since_start = static_cast<std::int64_t>(now - start);
    if (word == 0 || ahead < -since_start || ahead > kFarthest) return oldest;
    const Wide product = Wide{moment - start} * rate.tokens_;
    return std::max(oldest, low((product + (kGrains - 1)) >> kGrainBits));
  }
  [[nodiscard]] std::uint64_t word_of(std::uint64_t token) const noexcept {
    return start + rate.moment_of(token) + kFirst;
  }
  // Nanoseconds until a token will have come.
  [[nodiscard]] std::uint64_t until(std::uint64_t token) const noexcept {
    return token <= come ? 0 : ns_after(start + rate.moment_of(token) + 1 - now);
  }

  const MeterRate& rate;
  std::uint64_t now;     // grains
  std::uint64_t start;   // grains, of token 0
  std::uint64_t come;    // tokens
  std::uint64_t oldest;  // likewise: of those before, none is left
};

Result<Charge> Meter::charge_by(std::uint64_t amount, std::uint64_t now_ns,
                                std::uint64_t latest_ns) noexcept {
  if (amount > rate_.most()) [[unlikely]] {
    return fail(ErrorCode::InvalidArgument, "a charge that could not be paid for");
  }
  const Instant at(rate_, now_ns);
  const std::uint64_t last = at.come + rate_.tokens_ * kLongestDebtSeconds;
  std::uint64_t word = load_relaxed(word_);
  for (;;) {
    const std::uint64_t gone = std::min(last, at.gone(word) + amount);
    const std::uint64_t ready_ns = now_ns + at.until(gone);
    if (ready_ns > now_ns && ready_ns > latest_ns) return Charge{false, ready_ns};
    if (cas(word_, word, at.word_of(gone))) return Charge{true, ready_ns};
  }
}

Result<Charge> Meter::try_charge(std::uint64_t amount, std::uint64_t now_ns) noexcept {
  if (amount > rate_.burst_) {
    return fail(ErrorCode::InvalidArgument, "a charge of more than a burst");
  }
  return charge_by(amount, now_ns, now_ns);
}

Result<std::uint64_t> Meter::charge(std::uint64_t amount, std::uint64_t now_ns) noexcept {
  auto charge = charge_by(amount, now_ns, kNever);
  if (!charge) return std::unexpected(std::move(charge.error()));
  return charge->ready_ns;
}

Result<void> Meter::charge_and_sleep(std::uint64_t amount, std::uint64_t deadline_ns) noexcept {
  const std::uint64_t now_ns = Clock::now();
  auto charge = charge_by(amount, now_ns, deadline_ns);
  if (!charge) return std::unexpected(std::move(charge.error()));
  if (!charge->taken) return fail(ErrorCode::TimedOut, "tokens of a meter");
  if (charge->ready_ns == now_ns) return {};
  const timespec until{.tv_sec = static_cast<time_t>(charge->ready_ns / kNanoseconds),
                       .tv_nsec = static_cast<long>(charge->ready_ns % kNanoseconds)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
  return {};
}

void Meter::refund(std::uint64_t amount, std::uint64_t now_ns) noexcept {
  const Instant at(rate_, now_ns);
  std::uint64_t word = load_relaxed(word_);
  for (;;) {
    const std::uint64_t gone = at.gone(word);
    const std::uint64_t back = std::min(amount, gone - at.oldest);
    if (cas(word_, word, at.word_of(gone - back))) return;
  }
}

std::int64_t Meter::level(std::uint64_t now_ns) const noexcept {
  const Instant at(rate_, now_ns);
  return static_cast<std::int64_t>(at.come - at.gone(load_relaxed(word_)));
}

}  // namespace resmgr::budget
