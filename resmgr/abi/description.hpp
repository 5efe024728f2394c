// SPDX-License-Identifier: Apache-2.0
//
// Description: what the authority is told about a resource when it is registered.
//
// What it is: a caller's metadata as it goes over the wire and into the registry, and the check of
// all that can be checked without looking at other resources. What it is not: stored like this; see
// rm_entry.
// Lifetime: borrows its texts for the call. Thread-safety: a plain value.
//
//   Description d{.type = ResourceType::Memory, .class_name = "gpu-buffer", .size_bytes = 4096};
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/types.hpp"

namespace resmgr {

/// A pair of metadata as the caller gives it.
struct PairText {
  std::string_view key;
  std::string_view value;
};

struct Description {
  ResourceType type = ResourceType::Custom;
  std::string_view class_name = {};  ///< empty: the name of the type
  std::uint64_t size_bytes = 0;      ///< up to kMaxResourceBytes
  std::uint64_t alignment = 0;       ///< bytes, a power of two up to kMaxAlignment, or 0
  AccessPattern access_pattern = AccessPattern::Unspecified;
  ResourcePriority priority = ResourcePriority::Normal;
  ResourceFlags flags = ResourceFlags::None;
  std::int32_t numa_node = -1;  ///< -1: none preferred; up to kMaxNumaNode
  std::span<const PairText> pairs = {};
  std::uint32_t owner_driver = 0;  ///< 0: none named
  std::uint32_t owner_client = 0;
  std::uint64_t cookie = 0;
  std::uint64_t created_at = 0;  ///< ns, CLOCK_MONOTONIC
  std::uint64_t type_tag = 0;
  Urgency urgency = Urgency::Normal;  ///< of what its budget is asked for
  std::uint8_t backing = 0;           ///< kept for the caller
  std::uint32_t fd_kind = 0;          ///< kept for the caller
};

/// Sizes stay far from where rounding up to an alignment, or off_t, would overflow.
inline constexpr std::uint64_t kMaxResourceBytes = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kMaxAlignment = std::uint64_t{1} << 40;
inline constexpr std::int32_t kMaxNumaNode = 1023;

/// Checks ranges and contradictions; pairs, class and owner are checked where they are stored.
/// Errors: InvalidArgument.
[[nodiscard]] Result<void> check_description(const Description& description) noexcept;

/// Checks count, lengths, alphabet of keys, zero bytes in values, and double keys.
/// Errors: InvalidArgument.
[[nodiscard]] Result<void> check_pairs(std::span<const PairText> pairs) noexcept;

}  // namespace resmgr
