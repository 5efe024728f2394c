// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/description.hpp"

#include <bit>

namespace resmgr::registry {

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

}  // namespace resmgr::registry
