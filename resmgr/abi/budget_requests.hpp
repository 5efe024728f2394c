// SPDX-License-Identifier: Apache-2.0
//
// Budget requests: what a client asks of resmgrd about what it may have, and the events of that.
//
// What it is: as requests.hpp, whose rules hold here too: check() says what an encoder would refuse
// and a decoder does. What it is not: permission; who may set what is for the receiver to say.
// Errors, lifetime and thread-safety: as there.
//
//   auto bytes = encode(DrawRequest{.driver_id = driver, .type = type, .least = n, .most = n}, 7,
//                       out);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "resmgr/abi/frame.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr::wire {

/// By operators alone.
struct SetBudgetRequest {
  std::uint32_t driver_id = 0;   ///< below RM_MAX_DRIVERS; 0: all together, or
  std::string_view driver = {};  ///< the driver of this name
  ResourceType type = ResourceType::Custom;
  ResourceBudget budget = {};  ///< whether it can be is for the book to say

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<SetBudgetRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const SetBudgetRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

struct DrawRequest {
  std::uint32_t driver_id = 0;  ///< below RM_MAX_DRIVERS
  ResourceType type = ResourceType::Custom;
  std::uint64_t least = 0;
  std::uint64_t most = 0;  ///< at least `least`
  Urgency urgency = Urgency::Normal;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<DrawRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const DrawRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

struct ReturnCreditsRequest {
  std::uint32_t account = 0;
  ResourceType type = ResourceType::Custom;
  std::uint64_t kept = 0;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<ReturnCreditsRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const ReturnCreditsRequest& request,
                                         std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

/// Waits until a driver may be given so much.
struct NeedRequest {
  std::uint32_t driver_id = 0;  ///< below RM_MAX_DRIVERS
  ResourceType type = ResourceType::Custom;
  std::uint64_t amount = 0;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<NeedRequest> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const NeedRequest& request, std::uint64_t request_id,
                                         std::span<std::byte> out) noexcept;

// ---- events -------------------------------------------------------------------------------------

/// Whoever can do without some gives it back.
struct ReclaimEvent {
  ResourceType type = ResourceType::Custom;
  std::uint64_t amount = 0;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<ReclaimEvent> decode(const Frame& frame) noexcept;
};
[[nodiscard]] Result<std::size_t> encode(const ReclaimEvent& event,
                                         std::span<std::byte> out) noexcept;

/// A budget has become more or less scarce.
struct PressureEvent {
  std::uint32_t driver_id = 0;  ///< below RM_MAX_DRIVERS; 0: that of all
  ResourceType type = ResourceType::Custom;
  ResourcePressure level = ResourcePressure::Low;
  ResourcePressure before = ResourcePressure::Low;

  [[nodiscard]] Result<void> check() const noexcept;
  [[nodiscard]] static Result<PressureEvent> decode(const Frame& frame) noexcept;
  friend bool operator==(const PressureEvent&, const PressureEvent&) = default;
};
[[nodiscard]] Result<std::size_t> encode(const PressureEvent& event,
                                         std::span<std::byte> out) noexcept;

}  // namespace resmgr::wire
