// SPDX-License-Identifier: Apache-2.0
//
// register_twin(): a resource of another manager whose handle has the same bits.
//
// What it is: for tests of drivers that must tell managers apart. Handles of two managers are equal
// by chance alone; where they are compact, it comes to that soon. What it is not: for managers with
// long generations, where it would take 2^24 registrations.
// Lifetime: the resource stays registered with the manager. Thread-safety: one thread.
//
//   const auto elsewhere = hal::ResourceManager::create({.compact_handles = true}).value();
//   const hal::Handle twin = register_twin(*elsewhere, driver->handles()[0]);
//   ASSERT_EQ(twin, driver->handles()[0]);
#pragma once

#include <cstdint>

#include "hal/resource_manager.hpp"

namespace drivers::test {

/// The null handle if the manager can't register it, or it never comes to that number: `elsewhere`
/// has given another slot to the name then. REQUIRES: nothing is registered in `elsewhere`.
[[nodiscard]] inline hal::Handle register_twin(hal::ResourceManager& elsewhere,
                                               hal::Handle handle) {
  for (std::uint32_t i = 0; i <= hal::Handle32::kMaxGeneration; ++i) {
    const auto twin = elsewhere.register_resource("twin", {});
    if (!twin || *twin == handle) return twin.value_or(hal::Handle());
    if (!elsewhere.unregister_resource(*twin)) break;
  }
  return {};
}

}  // namespace drivers::test
