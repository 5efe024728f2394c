// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/ticker.hpp"

#include <limits>
#include <system_error>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/futex.hpp"

namespace resmgr::client {

Result<void> Ticker::start() {
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return fail_errno(error.code().value(), "ticker thread");
  }
  return {};
}

void Ticker::wake() noexcept {
  std::uint32_t asleep = kAsleep;
  if (state_.compare_exchange_strong(asleep, kTicking)) futex_wake(&state_, 1);
}

void Ticker::stop() noexcept {
  if (!thread_.joinable()) return;
  state_.store(kStopping);
  futex_wake(&state_, std::numeric_limits<int>::max());
  thread_.join();
}

void Ticker::run() noexcept {
  for (;;) {
    const std::uint32_t state = state_.load();
    if (state == kStopping) return;
    if (state == kAsleep) {
      futex_wait(&state_, kAsleep, kNoDeadline);
      continue;
    }
    tick();
    engine_.tick().stop();
    std::uint32_t ticking = kTicking;
    (void)state_.compare_exchange_strong(ticking, kAsleep);
  }
}

void Ticker::tick() noexcept {
  for (unsigned i = 0; i < kTicks && !engine_.records_all(); ++i) {
    const std::uint64_t now = Clock::now();
    engine_.tick().set(Clock::stamp(now));
    while (Clock::now() < now + kPeriodNs) {
      futex_wait(&state_, kTicking, now + kPeriodNs);
      if (state_.load() != kTicking) return;
    }
  }
}

}  // namespace resmgr::client
