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

void Magazine::give_back_lowest(const Depot& depot, std::uint32_t blocks) noexcept {
  const std::uint32_t count = load_relaxed(count_);
  depot.give_back(std::span(stack_).first(blocks));
  std::move(stack_.begin() + blocks, stack_.begin() + count, stack_.begin());
  store_relaxed(count_, count - blocks);
  add(returned_, blocks);
}

// The limit may have been lowered meanwhile.
void Magazine::make_room(const Depot& depot) noexcept {
  const std::uint32_t count = load_relaxed(count_);
  const std::uint32_t kept = load_relaxed(limit_) / 2;
  bump(overflows_);
  if (count > kept) give_back_lowest(depot, count - kept);
}

void Magazine::flush(const Depot& depot) noexcept { give_back_lowest(depot, load_relaxed(count_)); }

MagazineCounts Magazine::counts() const noexcept {
  return {.freed = load_relaxed(freed_),
          .foreign = load_relaxed(foreign_),
          .taken = load_relaxed(taken_),
          .returned = load_relaxed(returned_),
          .refills = load_relaxed(refills_),
          .overflows = load_relaxed(overflows_),
          .cached = load_relaxed(count_)};
}

}  // namespace resmgr::pool
