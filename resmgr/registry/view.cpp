// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/view.hpp"

#include <algorithm>
#include <cstddef>

#include "resmgr/abi/registry_layout.h"

namespace resmgr::registry {

std::uint32_t RegistryView::generation(std::uint32_t slot) const noexcept {
  const Word* const entry = tables_.entries.at(slot);
  if (entry == nullptr) return 0;
  return load_field<std::uint32_t>(entry, offsetof(rm_entry, generation));
}

std::uint32_t RegistryView::slot_end() const noexcept {
  return std::min(load_acquire(tables_.root->slot_high_water), tables_.entries.count());
}

Result<Handle32> RegistryView::compact(Handle handle) const noexcept {
  if ((tables_.flags & RM_DOMAIN_COMPACT_HANDLES) == 0) {
    return fail(ErrorCode::Unsupported, "a domain without compact handles");
  }
  // The capacity bounds the slot, retirement the generation; a damaged entry bounds neither.
  if (!is_live(handle) || handle.slot() >= Handle32::kMaxSlots ||
      handle.generation() > Handle32::kMaxGeneration) {
    return fail(ErrorCode::StaleHandle);
  }
  return Handle32::from_bits(handle.slot() << RM_COMPACT_GENERATION_BITS | handle.generation());
}

Result<Handle> RegistryView::expand(Handle32 handle) const noexcept {
  if ((tables_.flags & RM_DOMAIN_COMPACT_HANDLES) == 0) {
    return fail(ErrorCode::Unsupported, "a domain without compact handles");
  }
  const Handle full(handle.slot(), handle.generation());
  if (!is_live(full)) return fail(ErrorCode::StaleHandle);
  return full;
}

}  // namespace resmgr::registry
