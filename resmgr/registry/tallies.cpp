// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/tallies.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "resmgr/base/atomic.hpp"

namespace resmgr::registry {
namespace {

void raise_peak(rm_tally& row) noexcept {
  const std::uint64_t now = load_relaxed(row.created) - load_relaxed(row.destroyed);
  if (now > load_relaxed(row.peak)) store_relaxed(row.peak, now);
}

}  // namespace

rm_tally* Tallies::row(std::uint32_t driver, ResourceType type) const noexcept {
  const auto column = static_cast<std::uint32_t>(type);
  if (driver >= drivers_ || column >= RM_RESOURCE_TYPES) return nullptr;
  return rows_ + (std::size_t{driver} * RM_RESOURCE_TYPES + column);
}

Tally Tallies::read(std::uint32_t driver, ResourceType type) const noexcept {
  const rm_tally* const from = row(driver, type);
  if (from == nullptr) return {};
  // What went was there before: in this order there are never more gone than came.
  const std::uint64_t destroyed = load_acquire(from->destroyed);
  const std::uint64_t created = load_acquire(from->created);
  return {.created = created, .destroyed = destroyed, .peak = load_relaxed(from->peak)};
}

void Tallies::came(std::uint32_t driver, ResourceType type) noexcept {
  const auto count = [&](std::uint32_t of) {
    rm_tally* const to = row(of, type);
    if (to == nullptr) return;
    store_release(to->created, load_relaxed(to->created) + 1);
    raise_peak(*to);
  };
  count(0);
  if (driver != 0) count(driver);
}

void Tallies::went(std::uint32_t driver, ResourceType type) noexcept {
  const auto count = [&](std::uint32_t of) {
    rm_tally* const to = row(of, type);
    if (to != nullptr) store_release(to->destroyed, load_relaxed(to->destroyed) + 1);
  };
  count(0);
  if (driver != 0) count(driver);
}

void Tallies::recover(std::uint32_t known, const std::function<void(const Add&)>& each) {
  const std::uint32_t drivers = std::min(known, drivers_);
  std::vector<std::uint64_t> live(std::size_t{drivers} * RM_RESOURCE_TYPES);
  each([&](std::uint32_t driver, ResourceType type) {
    const auto column = static_cast<std::size_t>(type);
    if (drivers == 0 || column >= RM_RESOURCE_TYPES) return;
    ++live[column];
    if (driver != 0 && driver < drivers) ++live[std::size_t{driver} * RM_RESOURCE_TYPES + column];
  });
  for (std::size_t i = 0; i < live.size(); ++i) {
    rm_tally& to = rows_[i];
    const std::uint64_t created = std::max(load_relaxed(to.created), live[i]);
    store_release(to.created, created);
    store_release(to.destroyed, created - live[i]);
    raise_peak(to);
  }
}

}  // namespace resmgr::registry
