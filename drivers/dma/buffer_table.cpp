// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/buffer_table.hpp"

#include <limits>

namespace drivers::dma {
namespace {

constexpr unsigned kSlotShift = 32;

std::uint32_t slot_of(BufferId id) { return static_cast<std::uint32_t>(id.bits >> kSlotShift); }
std::uint32_t generation_of(BufferId id) { return static_cast<std::uint32_t>(id.bits); }

}  // namespace

BufferTable::BufferTable(std::uint32_t slots) : slots_(slots) {
  free_.reserve(slots);
  for (std::uint32_t index = slots; index > 0; --index) free_.push_back(index - 1);
}

hal::Result<BufferId> BufferTable::attach(const AttachedBuffer& buffer) {
  const auto start = reinterpret_cast<std::uintptr_t>(buffer.memory.data());
  const std::uint64_t size = buffer.memory.size();
  if (start == 0 || size == 0 || size > std::numeric_limits<std::uintptr_t>::max() - start) {
    return fail(hal::ErrorCode::InvalidArgument, "memory to attach");
  }
  if (free_.empty()) {
    hal::Error full(hal::ErrorCode::CapacityExceeded, "buffers attached to the channel");
    full.with_amounts(slots_.size() + 1, slots_.size());
    return std::unexpected(std::move(full));
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.buffer = buffer;
  slot.used = true;
  return BufferId{std::uint64_t{index} << kSlotShift | slot.generation};
}

hal::Result<void> BufferTable::detach(BufferId id) {
  if (find(id) == nullptr) return fail(hal::ErrorCode::StaleHandle, "buffer to detach");
  Slot& slot = slots_[slot_of(id)];
  slot.used = false;
  slot.buffer = {};
  if (slot.generation != std::numeric_limits<std::uint32_t>::max()) {
    ++slot.generation;
    free_.push_back(slot_of(id));
  }
  return {};
}

const AttachedBuffer* BufferTable::find(BufferId id) const noexcept {
  if (slot_of(id) >= slots_.size()) return nullptr;
  const Slot& slot = slots_[slot_of(id)];
  return slot.used && slot.generation == generation_of(id) ? &slot.buffer : nullptr;
}

}  // namespace drivers::dma
