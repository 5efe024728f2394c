// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/acquirer.hpp"

#include <utility>

namespace demo {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

void Latencies::record_at_once(std::chrono::nanoseconds time) {
  const std::lock_guard lock(mutex_);
  at_once_.record(time);
}

void Latencies::record_waited(std::chrono::nanoseconds time) {
  const std::lock_guard lock(mutex_);
  waited_.record(time);
}

Latencies::Summary Latencies::at_once() const {
  const std::lock_guard lock(mutex_);
  return at_once_.summary();
}

Latencies::Summary Latencies::waited() const {
  const std::lock_guard lock(mutex_);
  return waited_.summary();
}

void Latencies::copy(drivers::timer::Lateness& at_once, drivers::timer::Lateness& waited) const {
  const std::lock_guard lock(mutex_);
  at_once = at_once_;
  waited = waited_;
}

void Latencies::merge(const drivers::timer::Lateness& at_once,
                      const drivers::timer::Lateness& waited) {
  const std::lock_guard lock(mutex_);
  at_once_.merge(at_once);
  waited_.merge(waited);
}

Outcome<hal::ScopedResource> Acquirer::acquire(hal::Handle handle, hal::HoldKind kind) {
  const auto asked = Clock::now();
  auto tried = kind == hal::HoldKind::Shared ? manager_.try_acquire_shared(handle)
                                             : manager_.try_acquire(handle);
  const auto answered = Clock::now();
  if (tried) {
    latencies_.record_at_once(answered - asked);
    return std::move(*tried);
  }
  if (tried.error() != hal::ErrorCode::WouldBlock) return failed("acquiring", tried.error());

  ++waits_;
  auto waited = manager_.acquire_scoped_resource(
      handle, {.mode = hal::AcquisitionMode::Blocking, .kind = kind});
  latencies_.record_waited(Clock::now() - answered);
  if (!waited) return failed("waiting for a frame", waited.error());
  return std::move(*waited);
}

}  // namespace demo
