// SPDX-License-Identifier: Apache-2.0
//
// What a description means for the resource's slot in the lock region.
//
// What it is: the flags that an acquisition has to know of, in the form that lies on its cache
// line. What it is not: more than a copy; the registry's entry is what they are made from.
// Thread-safety: a pure function.
//
//   engine.arm(slot, generation, class_id, slot_attributes(description, {.lazy = true}));
#pragma once

#include <cstdint>

#include "resmgr/abi/description.hpp"
#include "resmgr/abi/layout.h"
#include "resmgr/base/types.hpp"

namespace resmgr::registry {

/// What a registration says besides its description.
struct SlotWishes {
  bool access_hook = false;   ///< its owner wants to hear of acquisitions
  bool lazy = false;          ///< its memory is made at the first one
  bool quiesce_hook = false;  ///< its owner makes hardware quiet when a holder died
};

/// RM_SLOT_ATTR_*.
[[nodiscard]] constexpr std::uint8_t slot_attributes(const Description& description,
                                                     SlotWishes wishes) noexcept {
  std::uint8_t attributes = 0;
  if (wishes.access_hook) attributes |= RM_SLOT_ATTR_ACCESS_HOOK;
  if (has(description.flags, ResourceFlags::ExclusiveOnly)) {
    attributes |= RM_SLOT_ATTR_EXCLUSIVE_ONLY;
  }
  if (has(description.flags, ResourceFlags::Restricted)) attributes |= RM_SLOT_ATTR_RESTRICTED;
  if (wishes.quiesce_hook) attributes |= RM_SLOT_ATTR_QUIESCE;
  if (wishes.lazy) attributes |= RM_SLOT_ATTR_LAZY;
  return attributes;
}

}  // namespace resmgr::registry
