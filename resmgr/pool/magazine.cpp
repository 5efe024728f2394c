// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/magazine.hpp"

#include <algorithm>
#include <bit>

namespace resmgr::pool {
namespace {

/// Adds to a number that this thread alone writes.
void add(std::uint64_t& number, std::uint64_t more) noexcept {
  store_relaxed(number, load_relaxed(number) + more);
}

}  // namespace

bool Magazine::drop_spoiled() noexcept {
  if (last_.block) {
    if (load_relaxed(*last_.tag) == cached_) return false;
    store_relaxed(last_.block, nullptr);
    add(returned_, 1);
    return true;
  }
  const std::uint32_t count = load_relaxed(count_);
  if (count == 0 || load_relaxed(*stack_[count - 1].tag) == cached_) return false;
  store_relaxed(count_, count - 1);
  add(returned_, 1);
  return true;
}

std::uint32_t Magazine::refill(const Depot& depot, Owner owner) noexcept {
  const std::uint32_t count = load_relaxed(count_);
  const std::uint32_t wanted = std::max<std::uint32_t>(1, load_relaxed(limit_) / 2);
  bump(refills_);
  if (count >= wanted) return 0;
  const std::uint32_t got =
      depot.take(owner, std::span(stack_).subspan(count, wanted - count), cursor_);
  store_relaxed(count_, count + got);
  add(taken_, got);
  return got;
}

// Those on top, as they lie: to move the others down would take longer than to fetch them back.
void Magazine::give_back_above(const Depot& depot, std::uint32_t kept) noexcept {
  const std::uint32_t count = load_relaxed(count_);
  depot.give_back(std::span(stack_).subspan(kept, count - kept));
  store_relaxed(count_, kept);
  add(returned_, count - kept);
}

// The limit may have been lowered meanwhile.
void Magazine::make_room(const Depot& depot) noexcept {
  const std::uint32_t count = load_relaxed(count_);
  const std::uint32_t kept = load_relaxed(limit_) / 2;
  bump(overflows_);
  if (count > kept) give_back_above(depot, kept);
}

void Magazine::flush(const Depot& depot) noexcept {
  give_back_above(depot, 0);
  if (!last_.block) return;
  depot.give_back(std::span(&last_, 1));
  store_relaxed(last_.block, nullptr);
  add(returned_, 1);
}

MagazineCounts Magazine::counts() const noexcept {
  return {.freed = load_relaxed(freed_),
          .foreign = load_relaxed(foreign_),
          .taken = load_relaxed(taken_),
          .returned = load_relaxed(returned_),
          .refills = load_relaxed(refills_),
          .overflows = load_relaxed(overflows_),
          .cached = count()};
}

}  // namespace resmgr::pool
