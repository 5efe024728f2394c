// SPDX-License-Identifier: Apache-2.0
//
// A file of its own, so that the calls are calls.
#include "tests/bench/floor_locks.hpp"

#include <bit>

namespace bench {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

/// What a thread holds; a plain reader may look at any time.
struct Record {
  alignas(64) std::uint64_t id = 1;
  std::uint64_t time = 1;  ///< kept by somebody else
  alignas(64) std::atomic<std::uint64_t> bitmap{0};
  alignas(64) std::atomic<std::uint64_t> holds[64]{};
  const void* places[64]{};
};

/// As a library finds its thread's record: by a pointer that the thread keeps.
Record* make_record() {
  thread_local Record record;
  return &record;
}
thread_local Record* known_record = nullptr;

Record& own_record() noexcept {
  if (!known_record) [[unlikely]] {
    known_record = make_record();
  }
  return *known_record;
}

}  // namespace

bool CalledLine::lock() noexcept {
  std::uint64_t expected = 0;
  return word.compare_exchange_strong(expected, 1);
}

bool CalledLine::unlock() noexcept {
  std::uint64_t expected = 1;
  return word.compare_exchange_strong(expected, 0);
}

bool BookedLine::lock() noexcept {
  Record& record = own_record();
  std::uint64_t expected = 0;
  if (!word.compare_exchange_strong(expected, record.id)) return false;
  const std::uint64_t used = record.bitmap.load(kRelaxed);
  const auto position = static_cast<std::uint32_t>(std::countr_one(used)) % 64;
  record.holds[position].store(reinterpret_cast<std::uintptr_t>(this), kRelaxed);
  record.places[position] = __builtin_return_address(0);
  record.bitmap.store(used | std::uint64_t{1} << position, kRelaxed);
  acquisitions += 1;
  acquired_at = record.time;
  hold_index = position;
  return true;
}

bool BookedLine::unlock() noexcept {
  Record& record = own_record();
  const std::uint32_t position = hold_index;
  std::uint64_t expected = record.id;
  if (!word.compare_exchange_strong(expected, 0)) return false;
  record.bitmap.store(record.bitmap.load(kRelaxed) & ~(std::uint64_t{1} << position), kRelaxed);
  return true;
}

}  // namespace bench
