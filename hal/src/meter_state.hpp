// SPDX-License-Identifier: Apache-2.0
//
// Meter::State: what a meter of libhal stands on.
//
// What it is: the domain, the resource, and its rate as it was registered. Lifetime: of the Meter.
// Thread-safety: constant.
#pragma once

#include <memory>
#include <utility>

#include <hal/meter.hpp>

#include "hal/src/convert.hpp"
#include "resmgr/budget/meter.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

struct Meter::State {
  State(std::shared_ptr<resmgr::client::Domain> where, Handle which,
        const resmgr::budget::MeterRate& tokens)
      : domain(std::move(where)),
        handle(which),
        rate(tokens),
        coarse(tokens.burst() / kCoarseShare >= tokens.tokens_per_second() / kTicksOfSecond) {}

  /// The meter, to be asked now. Errors: StaleHandle, Disconnected.
  [[nodiscard]] Result<resmgr::budget::Meter> meter() noexcept;

  /// A clock that is up to a tick of the kernel late, 10 ms at most, loses what comes beyond the
  /// burst meanwhile: where that is several ticks' worth, nothing.
  static constexpr std::uint64_t kTicksOfSecond = 100;
  static constexpr std::uint64_t kCoarseShare = 2;

  std::shared_ptr<resmgr::client::Domain> domain;
  Handle handle;
  resmgr::budget::MeterRate rate;
  bool coarse;
};

}  // namespace hal
