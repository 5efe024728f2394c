// SPDX-License-Identifier: Apache-2.0
//
// Credits: charging what was drawn in advance, by one local operation.
//
// What it is: the client's side of an account: `used` in the lock region against `granted` in the
// registry region. What it is not: the authority's side, which gave the credits and takes all of
// them back when the client is gone, whatever it did with them; a process killed anywhere in here
// leaves nothing to repair (I3).
//
// Lifetime: borrows both words. Thread-safety: all functions from any thread of the account's
// client; who succeeds is within what was granted, exactly, however many try at once.
//
//   if (!charge(credits.used[type], account.granted[type], bytes)) draw_more();
#pragma once

#include <algorithm>
#include <cstdint>

#include "resmgr/base/atomic.hpp"

namespace resmgr::budget {

/// Seq_cst: who does it looks then whether somebody waits for some.
inline void give_back(std::uint64_t& used, std::uint64_t amount) noexcept {
  atomic(used).fetch_sub(amount, std::memory_order_seq_cst);
}

/// Returns false where too little is left; nothing is charged then. `decided`: called between the
/// decision and the charge, where a test has others act.
template <typename Decided = decltype([] {})>
[[nodiscard]] bool charge(std::uint64_t& used, const std::uint64_t& granted, std::uint64_t amount,
                          Decided&& decided = {}) noexcept {
  std::uint64_t before = load_relaxed(used);
  do {
    const std::uint64_t limit = load_relaxed(granted);
    if (before > limit || amount > limit - before) return false;
    decided();
  } while (!cas(used, before, before + amount));
  // Credits may have been returned meanwhile, and `used` be what it was: who returns some charges
  // them first, until the authority has taken them from `granted`. That is seen from here, for
  // `used` was read from him who did, or from one after him.
  const std::uint64_t limit = load_acquire(granted);
  if (before + amount <= limit) [[likely]]
    return true;
  give_back(used, amount);
  return false;
}

/// Charges up to `amount`, as much as is left; returns how much.
[[nodiscard]] inline std::uint64_t charge_up_to(std::uint64_t& used, const std::uint64_t& granted,
                                                std::uint64_t amount) noexcept {
  for (;;) {
    const std::uint64_t limit = load_relaxed(granted);
    const std::uint64_t before = load_relaxed(used);
    const std::uint64_t some = std::min(amount, before < limit ? limit - before : 0);
    if (some == 0 || charge(used, granted, some)) return some;
  }
}

}  // namespace resmgr::budget
