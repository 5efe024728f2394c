// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/sizing.hpp"

#include <algorithm>

#include "resmgr/pool/magazine.hpp"

namespace resmgr::pool {

std::uint32_t Sizing::magazine_for(const Load& load) const noexcept {
  std::uint32_t wanted = load.magazine_blocks;
  if (load.allocations >= kFewCalls && load.refills * kManyRefills > load.allocations) {
    wanted *= 2;
  } else if (load.allocations >= kFewRefills && load.refills * kFewRefills < load.allocations) {
    wanted = std::max(wanted / 2, std::min(wanted, kLeastMagazine));
  }
  // A small pool is not to lie in idle magazines.
  const std::uint32_t share = load.capacity / kMagazinesShare / std::max(load.magazines, 1u);
  return std::clamp(std::min(wanted, share), 1u, Magazine::kMost);
}

Decision Sizing::decide(const Load& load) noexcept {
  Decision decision{.magazine_blocks = magazine_for(load), .limit = load.limit};
  if (load.peak >= load.limit / 2) {
    idle_looks_ = 0;
    idle_peak_ = 0;
    return decision;
  }
  idle_peak_ = std::max(idle_peak_, load.peak);
  if (++idle_looks_ < kIdleLooks) return decision;
  const std::uint32_t reserve = idle_peak_ + idle_peak_ / 2;
  decision.limit = std::min(load.limit, std::max(least_, reserve));
  idle_looks_ = 0;
  idle_peak_ = 0;
  return decision;
}

}  // namespace resmgr::pool
