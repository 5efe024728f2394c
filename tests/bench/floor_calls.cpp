// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "tests/bench/core_floor.hpp"

namespace bench {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

/// As a library finds its thread's record: by a pointer that the thread keeps.
FloorRecord* make_record() {
  thread_local FloorRecord record;
  return &record;
}
thread_local FloorRecord* known_record = nullptr;

FloorRecord& own_record() noexcept {
  if (!known_record) [[unlikely]] {
    known_record = make_record();
  }
  return *known_record;
}

}  // namespace

bool floor_lock(FloorSlot& slot) noexcept {
  std::uint64_t expected = 0;
  return slot.word.compare_exchange_strong(expected, 1);
}

bool floor_unlock(FloorSlot& slot) noexcept {
  std::uint64_t expected = 1;
  return slot.word.compare_exchange_strong(expected, 0);
}

bool floor_acquire(FloorSlot& slot, const void* place) noexcept {
  FloorRecord& record = own_record();
  std::uint64_t expected = 0;
  if (!slot.word.compare_exchange_strong(expected, record.id)) return false;
  const std::uint64_t used = record.bitmap.load(kRelaxed);
  const auto position = static_cast<std::uint32_t>(std::countr_one(used)) % 64;
  record.holds[position].store(reinterpret_cast<std::uintptr_t>(&slot), kRelaxed);
  record.places[position] = place;
  record.bitmap.store(used | std::uint64_t{1} << position, kRelaxed);
  slot.acquisitions += 1;
  slot.acquired_at = record.time;
  slot.hold_index = position;
  return true;
}

bool floor_release(FloorSlot& slot) noexcept {
  FloorRecord& record = own_record();
  const std::uint32_t position = slot.hold_index;
  std::uint64_t expected = record.id;
  if (!slot.word.compare_exchange_strong(expected, 0)) return false;
  record.bitmap.store(record.bitmap.load(kRelaxed) & ~(std::uint64_t{1} << position), kRelaxed);
  return true;
}

}  // namespace bench
