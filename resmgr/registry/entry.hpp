// SPDX-License-Identifier: Apache-2.0
//
// EntryCopy: what the registry says of one resource, copied out and checked.
//
// What it is: a snapshot with typed fields; every value is in its documented range, whatever the
// region contained. What it is not: live; `state` never says Active or Locked, which the lock
// region's words know. Lifetime: owns its bytes. Thread-safety: reading beside the writer is safe
// at any time; the copy is a plain value.
//
//   auto entry = read_entry(tables, handle);
//   if (entry) log(entry->name_text(), entry->size_bytes);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "resmgr/abi/registry_layout.h"
#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {

struct EntryCopy {
  Handle handle;
  std::array<char, RM_NAME_BYTES> name{};  ///< zero-terminated
  std::uint8_t name_bytes = 0;
  Lifecycle state = Lifecycle::Deallocated;
  ResourceType type = ResourceType::Custom;
  ResourcePriority priority = ResourcePriority::Normal;
  AccessPattern access_pattern = AccessPattern::Unspecified;
  ResourceFlags flags = ResourceFlags::None;
  std::uint16_t class_id = 0;
  std::uint8_t backing = 0;   ///< as registered
  std::uint32_t fd_kind = 0;  ///< as registered
  std::int32_t numa_node = -1;
  std::uint32_t owner_driver = 0;
  std::uint32_t owner_client = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t alignment = 0;  ///< bytes, a power of two or 0
  std::uint64_t cookie = 0;
  std::uint64_t created_at = 0;  ///< ns, CLOCK_MONOTONIC
  std::uint64_t type_tag = 0;
  bool drained = false;  ///< an operator has its driver drained: nobody acquires it

  [[nodiscard]] std::string_view name_text() const noexcept { return {name.data(), name_bytes}; }
};

/// Whether everything in a published entry is in its documented range.
[[nodiscard]] bool is_sound(const rm_entry& entry) noexcept;

/// The entry's words while `handle` names a published resource, null otherwise. The resource may go
/// at any time after.
[[nodiscard]] const Word* live_entry(const Tables& tables, Handle handle) noexcept;

/// The handle of the published resource in `slot`, null if there is none.
[[nodiscard]] Handle live_handle(const Tables& tables, std::uint32_t slot) noexcept;

/// The driver that owns the resource with these words, 0 if none was named.
[[nodiscard]] inline std::uint32_t owner_of(const Word* entry) noexcept {
  return load_field<std::uint32_t>(entry, offsetof(rm_entry, owner_driver));
}

/// And its type, as it is written there.
[[nodiscard]] inline ResourceType type_of(const Word* entry) noexcept {
  return static_cast<ResourceType>(load_field<std::uint8_t>(entry, offsetof(rm_entry, type)));
}

/// Whether the resource with these words is being unregistered.
[[nodiscard]] inline bool is_leaving(const Word* entry) noexcept {
  const auto state = load_field<std::uint8_t>(entry, offsetof(rm_entry, lifecycle));
  return (state & RM_STATE_MASK) == RM_STATE_PENDING_CLEANUP;
}

/// Errors: StaleHandle (no such resource, or none of this domain), InvalidArgument (the entry is
/// damaged).
[[nodiscard]] Result<EntryCopy> read_entry(const Tables& tables, Handle handle) noexcept;
/// The resource's priority; Normal if there is no such resource, or its entry is damaged.
[[nodiscard]] ResourcePriority read_priority(const Tables& tables, Handle handle) noexcept;
/// Its owner's number times RM_RESOURCE_TYPES, and its type: the row in which it counts. Nothing if
/// there is no such resource, or its entry is damaged.
[[nodiscard]] std::optional<std::uint32_t> read_row(const Tables& tables, Handle handle) noexcept;

}  // namespace resmgr::registry
