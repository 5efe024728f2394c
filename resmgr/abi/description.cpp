// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/description.hpp"

#include <bit>
#include <cstddef>

#include "resmgr/abi/names.hpp"
#include "resmgr/abi/registry_layout.h"

namespace resmgr {

Result<void> check_description(const Description& d) noexcept {
  const auto refuse = [](const char* why) { return fail(ErrorCode::InvalidArgument, why); };
  if (static_cast<std::uint8_t>(d.type) >= kResourceTypes) return refuse("unknown resource type");
  if (d.priority > ResourcePriority::Critical) return refuse("unknown priority");
  if (d.access_pattern > AccessPattern::Streaming) return refuse("unknown access pattern");
  if ((static_cast<std::uint32_t>(d.flags) & ~kKnownResourceFlags) != 0) {
    return refuse("unknown resource flag");
  }
  if (has(d.flags, ResourceFlags::Shareable | ResourceFlags::ExclusiveOnly)) {
    return refuse("Shareable contradicts ExclusiveOnly");
  }
  if (has(d.flags, ResourceFlags::Persistent | ResourceFlags::Transient)) {
    return refuse("Persistent contradicts Transient");
  }
  if (has(d.flags, ResourceFlags::Restricted) && d.owner_driver == 0) {
    return refuse("Restricted contradicts an owner without a name");
  }
  if (d.size_bytes > kMaxResourceBytes) return refuse("size out of range");
  if (d.alignment != 0 && (!std::has_single_bit(d.alignment) || d.alignment > kMaxAlignment)) {
    return refuse("an alignment is a power of two up to 2^40");
  }
  if (d.numa_node < -1 || d.numa_node > kMaxNumaNode) return refuse("NUMA node out of range");
  return {};
}

Result<void> check_pairs(std::span<const PairText> pairs) noexcept {
  if (pairs.size() > RM_MAX_PAIRS) {
    return fail(ErrorCode::InvalidArgument, "more than 16 metadata pairs");
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [key, value] = pairs[i];
    if (key.empty() || key.size() > kMaxKeyBytes || !is_in_alphabet(key)) {
      return fail(ErrorCode::InvalidArgument, "a metadata key has 1 to 23 bytes of the alphabet");
    }
    if (value.size() > kMaxValueBytes || value.find('\0') != std::string_view::npos) {
      return fail(ErrorCode::InvalidArgument,
                  "a metadata value has up to 35 bytes, none of them 0");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (pairs[j].key == key) return fail(ErrorCode::InvalidArgument, "metadata key given twice");
    }
  }
  return {};
}

}  // namespace resmgr
