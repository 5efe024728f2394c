// SPDX-License-Identifier: Apache-2.0
//
// Conversions between the public interface's types and the engine's.
//
// What it is: pure functions, with the checks of what callers pass. What it is not: installed.
// Thread-safety: pure.
#pragma once

#include <source_location>
#include <span>

#include <hal/resource_manager.hpp>

#include "resmgr/base/clock.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/lock/engine.hpp"

namespace hal::convert {

/// Errors: InvalidArgument (it has none of its values).
[[nodiscard]] Result<void> check(AsyncPath path) noexcept;
/// Whether every enumeration has one of its values.
[[nodiscard]] bool is_valid(const AcquireOptions& options) noexcept;
/// Options as a request of the engine. Errors: InvalidArgument (an enumeration out of range).
[[nodiscard]] Result<resmgr::lock::Request> request(const AcquireOptions& options,
                                                    std::source_location where) noexcept;
/// Nanoseconds from now as CLOCK_MONOTONIC; what is too far away is no deadline, what is not
/// positive is over already.
[[nodiscard]] std::uint64_t deadline(std::chrono::nanoseconds timeout,
                                     std::uint64_t now = resmgr::monotonic_ns()) noexcept;
/// As deadline(), of waits that have none by default: now for what is not positive, and never for
/// what is too far away.
[[nodiscard]] std::uint64_t latest(std::chrono::nanoseconds timeout) noexcept;
/// Until when something waits for budget in that mode; 0: not at all. REQUIRES: it is a mode.
[[nodiscard]] std::uint64_t patience(AcquisitionMode mode,
                                     std::chrono::nanoseconds timeout) noexcept;
[[nodiscard]] constexpr resmgr::Urgency urgency(AcquisitionMode mode) noexcept {
  return mode == AcquisitionMode::Emergency ? resmgr::Urgency::Emergency : resmgr::Urgency::Normal;
}
/// What the registry writes of a resource; views the metadata and the pairs, which are its own.
[[nodiscard]] resmgr::Description description(const ResourceMetadata& metadata,
                                              const RegisterOptions& options,
                                              std::uint64_t type_tag,
                                              std::span<const resmgr::PairText> pairs);
/// What the registry says, as the public type. Errors: StaleHandle (it went meanwhile),
/// InvalidArgument (damaged).
[[nodiscard]] Result<ResourceInfo> info(const resmgr::client::Domain& domain,
                                        const resmgr::registry::EntryCopy& entry);

}  // namespace hal::convert
