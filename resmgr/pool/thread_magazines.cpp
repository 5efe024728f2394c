// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/thread_magazines.hpp"

#include <algorithm>
#include <utility>

#include "resmgr/pool/block_pool.hpp"

namespace resmgr::pool {
namespace {

// Outlives the list: destructors of other thread-local objects may use a pool after it.
thread_local constinit bool is_ending = false;

void note(std::uint64_t serial, Magazine* magazine) noexcept {
  known_magazines[serial / kSerialUnit % kKnownMagazines] = {.serial = serial,
                                                             .magazine = magazine};
}

}  // namespace

ThreadMagazines* ThreadMagazines::of_this_thread() {
  if (is_ending) return nullptr;
  static thread_local ThreadMagazines magazines;
  return &magazines;
}

void ThreadMagazines::forget_all() noexcept {
  known_magazines = {};
  // Their pools are closed in this process; see PoolForks.
}

ThreadMagazines::~ThreadMagazines() {
  is_ending = true;
  known_magazines = {};
  for (const Entry& entry : entries_) {
    if (const auto pool = entry.pool.lock()) pool->close_magazine(*entry.magazine);
  }
}

Magazine* ThreadMagazines::find(std::uint64_t serial) noexcept {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.serial == serial; });
  if (found == entries_.end()) return nullptr;
  note(serial, found->magazine);
  return found->magazine;
}

void ThreadMagazines::add(std::uint64_t serial, std::weak_ptr<BlockPool> pool, Magazine* magazine) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.pool.expired(); });
  entries_.push_back({serial, std::move(pool), magazine});
  note(serial, magazine);
}

}  // namespace resmgr::pool
