// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/wait_ledger.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <numeric>

#include "resmgr/lock/word.hpp"

namespace resmgr::lock {
namespace {

void add(std::uint64_t& to, std::uint64_t amount) noexcept {
  atomic(to).fetch_add(amount, std::memory_order_relaxed);
}

// What anybody may have written must not make sums small again.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) noexcept {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return a > kMost - b ? kMost : a + b;
}

// Whether it is the longest so far.
bool raise(std::uint64_t& to, std::uint64_t value) noexcept {
  std::uint64_t seen = load_relaxed(to);
  while (value > seen) {
    if (cas(to, seen, value)) return true;
  }
  return false;
}

constexpr std::uint32_t generation_of(std::uint64_t tally) noexcept {
  return static_cast<std::uint32_t>(tally >> RM_WAITS_GENERATION_SHIFT);
}
constexpr std::uint32_t waits_of(std::uint64_t tally) noexcept {
  return static_cast<std::uint32_t>(tally);
}

}  // namespace

std::uint64_t WaitTotals::granted() const noexcept {
  return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0}, plus);
}

std::uint64_t WaitTotals::failed() const noexcept {
  return std::accumulate(outcomes.begin(), outcomes.end(), std::uint64_t{0}, plus);
}

std::uint64_t WaitTotals::percentile_ns(std::uint32_t thousandths) const noexcept {
  return std::min(percentile(buckets, thousandths), longest_ns);
}

WaitTotals& WaitTotals::operator+=(const WaitTotals& other) noexcept {
  granted_ns = plus(granted_ns, other.granted_ns);
  failed_ns = plus(failed_ns, other.failed_ns);
  longest_ns = std::max(longest_ns, other.longest_ns);
  retired = plus(retired, other.retired);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    outcomes[i] = plus(outcomes[i], other.outcomes[i]);
  }
  for (std::size_t i = 0; i < buckets.size(); ++i) buckets[i] = plus(buckets[i], other.buckets[i]);
  return *this;
}

WaitTotals read_wait_row(const LockTables& tables, std::uint32_t row) noexcept {
  WaitTotals to;
  const rm_wait_row* const from = tables.wait_row(row);
  if (from == nullptr) return to;
  to.granted_ns = load_relaxed(from->granted_ns);
  to.failed_ns = load_relaxed(from->failed_ns);
  to.longest_ns = load_relaxed(from->longest_ns);
  to.retired = load_relaxed(from->retired);
  for (std::size_t i = 0; i < to.outcomes.size(); ++i) {
    to.outcomes[i] = load_relaxed(from->outcomes[i]);
  }
  for (std::size_t i = 0; i < to.buckets.size(); ++i)
    to.buckets[i] = load_relaxed(from->buckets[i]);
  return to;
}

SlotWaits read_slot_waits(const LockTables& tables, Handle handle) noexcept {
  const rm_slot_waits* const from = tables.waits_of_slot(handle.slot());
  if (from == nullptr) return {};
  const std::uint64_t tally = load_relaxed(from->tally);
  if (generation_of(tally) != handle.generation()) return {};
  return {.waits = waits_of(tally),
          .waited_ns = load_relaxed(from->waited_ns),
          .longest_ns = load_relaxed(from->longest_ns),
          .blamed_driver = load_relaxed(from->blamed_driver),
          .blamed_pid = load_relaxed(from->blamed_pid)};
}

rm_outcome outcome_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::WouldBlock:
      return RM_OUTCOME_WOULD_BLOCK;
    case ErrorCode::TimedOut:
      return RM_OUTCOME_TIMED_OUT;
    case ErrorCode::Deadlock:
      return RM_OUTCOME_DEADLOCK;
    case ErrorCode::Preempted:
    case ErrorCode::Revoked:
      return RM_OUTCOME_PREEMPTED;
    case ErrorCode::Cancelled:
      return RM_OUTCOME_CANCELLED;
    case ErrorCode::StaleHandle:
    case ErrorCode::OwnerDied:
      return RM_OUTCOME_GONE;
    default:
      return RM_OUTCOME_REFUSED;
  }
}

Account WaitLedger::open(Handle handle, const rm_slot& slot) const noexcept {
  Account account{.row = names_.row_of(handle)};
  const rm_context* const holder = t_.context(StateWord{load_relaxed(slot.word)}.owner());
  if (holder == nullptr) return account;
  account.blamed_driver = load_relaxed(holder->driver);
  const rm_client* const client = t_.client(client_of(load_relaxed(holder->state)));
  if (client != nullptr) account.blamed_pid = load_relaxed(client->pid);
  return account;
}

void WaitLedger::granted(const Account& account, Handle handle,
                         std::uint64_t waited_ns) const noexcept {
  if (rm_wait_row* const to = row(account.row)) {
    add(to->buckets[wait_bucket(waited_ns)], 1);
    add(to->granted_ns, waited_ns);
    (void)raise(to->longest_ns, waited_ns);
  }
  add_to_slot(account, handle, waited_ns);
}

void WaitLedger::failed(const Account& account, Handle handle, ErrorCode code,
                        std::uint64_t waited_ns) const noexcept {
  if (rm_wait_row* const to = row(account.row)) {
    add(to->outcomes[outcome_of(code)], 1);
    add(to->failed_ns, waited_ns);
    (void)raise(to->longest_ns, waited_ns);
  }
  add_to_slot(account, handle, waited_ns);
}

void WaitLedger::refused(Handle handle, ErrorCode code) const noexcept {
  if (rm_wait_row* const to = row(names_.row_of(handle))) add(to->outcomes[outcome_of(code)], 1);
}

void WaitLedger::retired(Handle handle, std::uint64_t acquisitions) const noexcept {
  if (acquisitions == 0) return;
  if (rm_wait_row* const to = row(names_.row_of(handle))) add(to->retired, acquisitions);
}

// Who comes first after another resource had the record takes out of the sum what was there when he
// made it this one's: what others add in between stays.
void WaitLedger::add_to_slot(const Account& account, Handle handle,
                             std::uint64_t waited_ns) const noexcept {
  rm_slot_waits* const to = t_.waits_of_slot(handle.slot());
  if (to == nullptr) return;
  const auto one = std::uint64_t{handle.generation()} << RM_WAITS_GENERATION_SHIFT | 1u;
  std::uint64_t tally = load_relaxed(to->tally);
  std::uint64_t before = 0;
  bool is_first = false;
  do {
    // A wait for what is gone: a later resource has the record.
    if (generation_of(tally) > handle.generation()) return;
    is_first = generation_of(tally) != handle.generation();
    before = is_first ? load_relaxed(to->waited_ns) : 0;
    // Full is where it stays.
    if (!is_first && waits_of(tally) == std::numeric_limits<std::uint32_t>::max()) break;
  } while (!cas(to->tally, tally, is_first ? one : tally + 1));
  add(to->waited_ns, waited_ns - before);
  if (is_first) store_relaxed(to->longest_ns, waited_ns);
  if (is_first || raise(to->longest_ns, waited_ns)) {
    store_relaxed(to->blamed_driver, account.blamed_driver);
    store_relaxed(to->blamed_pid, account.blamed_pid);
  }
}

}  // namespace resmgr::lock
