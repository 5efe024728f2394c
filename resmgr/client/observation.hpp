// SPDX-License-Identifier: Apache-2.0
//
// Observation: statistics, bottlenecks and health of a domain, from its two regions.
//
// What it is: what libhal tells its process and resmgrctl an operator, made the same way from a
// living domain or a copy of one: no message is sent and nothing is locked. What it is not:
// believed: any client can write the lock region, so indices are checked and sums end at the most
// there is; nor one moment.
//
// Lifetime: borrows the regions. Thread-safety: constant.
//
//   const Observation observation(registry, locks.tables(), monotonic_ns());
//   auto memory = observation.statistics(0, ResourceType::Memory);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "resmgr/base/health.hpp"
#include "resmgr/base/statistics.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/lock/queue.hpp"
#include "resmgr/lock/tables.hpp"
#include "resmgr/registry/region.hpp"
#include "resmgr/registry/view.hpp"

namespace resmgr::client {

class Observation {
 public:
  /// `now_ns`: when the regions were like this, CLOCK_MONOTONIC.
  Observation(const registry::RegistryRegion& registry, const lock::LockTables& locks,
              std::uint64_t now_ns)
      : registry_(registry), view_(registry), locks_(locks), now_ns_(now_ns) {}

  /// Of a type, and of a driver, if it is not 0. Looks at every resource that there is.
  [[nodiscard]] TypeStatistics statistics(std::uint32_t driver, ResourceType type) const;
  /// The resources that cost the most waiting, at most so many, the worst first.
  [[nodiscard]] std::vector<Bottleneck> bottlenecks(std::size_t most) const;

  /// What can't be read from the regions.
  struct Known {
    std::optional<bool> authority = {};  ///< whether it answers
    /// Whether a client's process has ended; empty: only what is marked is known.
    std::function<bool(std::uint32_t client)> is_gone = {};
  };
  [[nodiscard]] HealthReport health(const HealthLimits& limits, const Known& known) const;

 private:
  struct Queued {
    std::uint32_t count = 0;
    std::uint64_t waited_ns = 0;
    std::uint64_t longest_ns = 0;
  };
  [[nodiscard]] std::string driver_name(std::uint32_t driver) const;
  [[nodiscard]] std::uint64_t age(std::uint64_t since) const noexcept {
    return since == 0 || since > now_ns_ ? 0 : now_ns_ - since;
  }
  /// The slot that a resource has, null if it is another one's by now.
  [[nodiscard]] const rm_slot* slot_of(Handle handle) const noexcept;
  template <typename Visit>
  void for_each_waiter(Visit&& visit) const;
  [[nodiscard]] Bottleneck bottleneck(const registry::EntryCopy& entry, const rm_slot& slot,
                                      const Queued& queued) const;

  class Reasons;
  void look_at_budgets(Reasons& reasons) const;
  void look_at_resources(Reasons& reasons) const;
  void look_at_waits(Reasons& reasons, std::uint64_t long_ns) const;
  void look_at_clients(Reasons& reasons, const Known& known) const;
  void look_at_tables(Reasons& reasons, std::uint32_t percent) const;

  const registry::RegistryRegion& registry_;
  registry::RegistryView view_;
  const lock::LockTables& locks_;
  std::uint64_t now_ns_;
};

template <typename Visit>
void Observation::for_each_waiter(Visit&& visit) const {
  const std::uint32_t end = load(locks_.region->nodes.high_water);
  for (std::uint32_t i = 0; i < end && i < locks_.node_count; ++i) {
    lock::Waiter waiter;
    if (lock::read_waiter(locks_, locks_.nodes[i], waiter)) visit(waiter);
  }
}

}  // namespace resmgr::client
