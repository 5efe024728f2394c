// SPDX-License-Identifier: Apache-2.0
//
// Tallies: how many resources of each type and driver there were, are, and were at most.
//
// What it is: a row of each driver and type, and driver 0 with the sums of all, as budgets have
// them. What it is not: budgets: what these count is resources alone, of whatever size.
//
// Lifetime: borrows the region. Thread-safety: one writer; readers see each field by itself.
//
//   tallies.came(owner_of(entry), type);
#pragma once

#include <cstdint>
#include <functional>

#include "resmgr/abi/budget_layout.h"
#include "resmgr/base/types.hpp"

namespace resmgr::registry {

struct Tally {
  std::uint64_t created = 0;
  std::uint64_t destroyed = 0;
  std::uint64_t peak = 0;  ///< the most that there were at once

  [[nodiscard]] std::uint64_t current() const noexcept {
    return created > destroyed ? created - destroyed : 0;
  }
};

class Tallies {
 public:
  Tallies() noexcept = default;
  Tallies(rm_tally* rows, std::uint32_t drivers) noexcept : rows_(rows), drivers_(drivers) {}

  /// Nothing if there is no such driver or type. Driver 0: the sums of all.
  [[nodiscard]] Tally read(std::uint32_t driver, ResourceType type) const noexcept;

  void came(std::uint32_t driver, ResourceType type) noexcept;
  void went(std::uint32_t driver, ResourceType type) noexcept;
  /// Makes the numbers fit what is there, after a writer died between a change and its count.
  /// `known`: drivers that have names, 0 included; `each` calls its argument for each resource.
  using Add = std::function<void(std::uint32_t driver, ResourceType type)>;
  void recover(std::uint32_t known, const std::function<void(const Add&)>& each);

 private:
  [[nodiscard]] rm_tally* row(std::uint32_t driver, ResourceType type) const noexcept;

  rm_tally* rows_ = nullptr;
  std::uint32_t drivers_ = 0;
};

}  // namespace resmgr::registry
