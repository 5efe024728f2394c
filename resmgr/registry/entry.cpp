// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/entry.hpp"

#include <bit>

#include "resmgr/abi/names.hpp"

namespace resmgr::registry {
namespace {

constexpr Word kNameBytesMask = 0xff;
constexpr Word kUnpublished = Word{RM_STATE_UNPUBLISHED} << 8;

// The handle that an entry's first word stands for.
Handle handle_of(std::uint32_t slot, Word identity) noexcept {
  return {slot, static_cast<std::uint32_t>(identity >> 32)};
}

bool is_published(Word identity) noexcept {
  return (identity & kNameBytesMask) != 0 && (identity & kUnpublished) == 0;
}

bool is_stored_state(std::uint8_t state) noexcept {
  return state != RM_STATE_DEALLOCATED && state != RM_STATE_ACTIVE && state != RM_STATE_LOCKED;
}

EntryCopy typed(std::uint32_t slot, const rm_entry& entry) noexcept {
  EntryCopy copy;
  copy.handle = Handle(slot, entry.generation);
  copy_text(copy.name, {entry.name, entry.name_bytes});
  copy.name_bytes = entry.name_bytes;
  copy.state = static_cast<Lifecycle>(entry.lifecycle & RM_STATE_MASK);
  copy.type = static_cast<ResourceType>(entry.type);
  copy.priority = static_cast<ResourcePriority>(entry.priority);
  copy.access_pattern = static_cast<AccessPattern>(entry.access_pattern);
  copy.flags = static_cast<ResourceFlags>(entry.flags);
  copy.class_id = entry.class_id;
  copy.backing = entry.backing;
  copy.fd_kind = entry.fd_kind;
  copy.numa_node = entry.numa_node;
  copy.owner_driver = entry.owner_driver;
  copy.owner_client = entry.owner_client;
  copy.size_bytes = entry.size_bytes;
  copy.alignment = entry.alignment;
  copy.cookie = entry.cookie;
  copy.created_at = entry.created_at;
  copy.type_tag = entry.type_tag;
  copy.drained = (entry.gate & RM_GATE_DRAINED) != 0;
  return copy;
}

}  // namespace

bool is_sound(const rm_entry& entry) noexcept {
  return entry.name_bytes <= kMaxNameBytes && is_valid_name({entry.name, entry.name_bytes}) &&
         entry.name[entry.name_bytes] == '\0' && is_stored_state(entry.lifecycle & RM_STATE_MASK) &&
         entry.type < kResourceTypes &&
         entry.priority <= static_cast<std::uint8_t>(ResourcePriority::Critical) &&
         entry.access_pattern <= static_cast<std::uint8_t>(AccessPattern::Streaming) &&
         (entry.flags & ~kKnownResourceFlags) == 0 &&
         (entry.alignment == 0 || std::has_single_bit(entry.alignment));
}

const Word* live_entry(const Tables& tables, Handle handle) noexcept {
  const Word* const entry = tables.entries.at(handle.slot());
  if (entry == nullptr || handle.is_null()) return nullptr;
  const Word identity = load_acquire(entry[0]);
  return is_published(identity) && handle_of(handle.slot(), identity) == handle ? entry : nullptr;
}

Handle live_handle(const Tables& tables, std::uint32_t slot) noexcept {
  const Word* const entry = tables.entries.at(slot);
  if (entry == nullptr) return {};
  const Word identity = load_acquire(entry[0]);
  return is_published(identity) ? handle_of(slot, identity) : Handle();
}

ResourcePriority read_priority(const Tables& tables, Handle handle) noexcept {
  const Word* const entry = live_entry(tables, handle);
  if (entry == nullptr) return ResourcePriority::Normal;
  const auto priority = load_field<std::uint8_t>(entry, offsetof(rm_entry, priority));
  const bool sound = priority <= static_cast<std::uint8_t>(ResourcePriority::Critical) &&
                     live_entry(tables, handle) != nullptr;
  return sound ? static_cast<ResourcePriority>(priority) : ResourcePriority::Normal;
}

std::optional<std::uint32_t> read_row(const Tables& tables, Handle handle) noexcept {
  const Word* const entry = live_entry(tables, handle);
  if (entry == nullptr) return std::nullopt;
  const auto type = load_field<std::uint8_t>(entry, offsetof(rm_entry, type));
  const std::uint32_t owner = owner_of(entry);
  if (type >= kResourceTypes || owner >= RM_MAX_DRIVERS || live_entry(tables, handle) == nullptr) {
    return std::nullopt;
  }
  return owner * RM_RESOURCE_TYPES + type;
}

Result<EntryCopy> read_entry(const Tables& tables, Handle handle) noexcept {
  const Word* const entry = live_entry(tables, handle);
  if (entry == nullptr) return fail(ErrorCode::StaleHandle);
  const auto copy = load_record<rm_entry>(entry);
  // While the same resource is published nothing but its state, gate and links change, each by
  // one store; so the copy is whole if it was there before and after.
  if (live_entry(tables, handle) == nullptr) return fail(ErrorCode::StaleHandle);
  if (!is_sound(copy)) return fail(ErrorCode::InvalidArgument, "damaged registry entry");
  return typed(handle.slot(), copy);
}

}  // namespace resmgr::registry
