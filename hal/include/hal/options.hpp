// SPDX-License-Identifier: Apache-2.0
//
// How a manager is made, and how is acquired.
//
// What it is: plain aggregates, cheap to build in place; what is left out, is as it says here.
// Lifetime and thread-safety: as plain values.
//
//   manager->acquire_scoped_resource(handle, {.mode = hal::AcquisitionMode::Timeout,
//                                             .timeout = std::chrono::milliseconds(5)});
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <hal/connection.hpp>
#include <hal/resource.hpp>

namespace hal {

/// Bounds of a domain's tables. Address space only: memory is paid when touched. A full table is
/// CapacityExceeded.
struct Capacities {
  std::uint32_t resources = 1u << 20;     ///< up to 2^24
  std::uint32_t contexts = 4096;          ///< up to 65,534
  std::uint32_t waits = 1u << 16;         ///< up to 2^20
  std::uint32_t shared_holds = 1u << 18;  ///< cells; one is kept for each (context, resource) pair
  std::uint32_t metadata_pairs = 1u << 18;
  std::uint32_t dependencies = 1u << 18;
  std::uint32_t shares = 1u << 18;
};

/// Ready-made sizes of domains, which "resmgrctl platform" shows for a machine: tables, and budgets
/// to begin with. Static: whichever the machine can pay for as a whole, and all of its tables'
/// memory is allocated at the start (CapacityExceeded, if there is not so much).
enum class DomainProfile : std::uint8_t { None, Auto, Tiny, Small, Medium, Large, Static };

struct ManagerOptions {
  std::string name = "embedded";
  Capacities capacities = {};
  /// Other than None: it says the capacities, and set_budget() changes the budgets. Auto: the one
  /// that fits the memory that this process may use.
  DomainProfile profile = DomainProfile::None;
  bool compact_handles = false;  ///< allow Handle32; at most 2^20 resources
  OrderPolicy order_policy = OrderPolicy::Warn;
  AsyncPath async_path = AsyncPath::Auto;  ///< see AsyncAcquire
  LogSink log = {};
};

/// How to acquire. Plain aggregate, cheap to build in place.
struct AcquireOptions {
  AcquisitionMode mode = AcquisitionMode::NonBlocking;
  HoldKind kind = HoldKind::Exclusive;
  /// Place in the queue; without it the resource's own.
  bool has_priority = false;
  ResourcePriority priority = ResourcePriority::Normal;
  /// Timeout and Emergency: how long at most. 0 or less: what is not free at once is TimedOut, or
  /// Deadlock where waiting would be one. Ignored by the other modes.
  std::chrono::nanoseconds timeout{0};
  /// Emergency: how long each holder is given to let go by himself, before it is taken from him; 0
  /// or less: half of the timeout, and at most a second. See ResourceManager::on_revoke().
  std::chrono::nanoseconds yield{0};
  /// Who acquires; null: the calling thread's own context.
  class Context* context = nullptr;
};

}  // namespace hal
