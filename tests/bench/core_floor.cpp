// SPDX-License-Identifier: Apache-2.0
//
// A file of its own, so that the calls are calls: see floor_calls.cpp.
#include "tests/bench/core_floor.hpp"

#include <stdexcept>

#include "tests/bench/peers.hpp"
#include "tests/bench/shared_memory.hpp"

namespace bench {
namespace {

template <typename Lock, typename Unlock>
void compare_floor(Run& run, const Lock& lock, const Unlock& unlock) {
  const Shared<FloorSlot> slot;
  const Shared<CasLine> peer;
  const Batch ours = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      if (!lock(*slot) || !unlock(*slot)) [[unlikely]] {
        throw std::runtime_error("the floor failed");
      }
    }
  };
  const Batch bare = [&](std::uint64_t operations) {
    for (; operations != 0; --operations) {
      if (!peer->lock() || !peer->unlock()) [[unlikely]] {
        throw std::runtime_error("the peer failed");
      }
    }
  };
  run.add(run.compare(ours, bare));
}

}  // namespace

void pair_floor_of_calls_vs_cas(Run& run) { compare_floor(run, floor_lock, floor_unlock); }

void pair_floor_of_books_vs_cas(Run& run) {
  const auto acquire = [place = &run](FloorSlot& slot) { return floor_acquire(slot, place); };
  compare_floor(run, acquire, floor_release);
}

}  // namespace bench
