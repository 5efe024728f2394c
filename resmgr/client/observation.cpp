// SPDX-License-Identifier: Apache-2.0
//
// Statistics and bottlenecks.
#include "resmgr/client/observation.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/lock/pools.hpp"
#include "resmgr/lock/wait_ledger.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::client {
namespace {

constexpr std::uint64_t kPage = 4096;

std::uint64_t plus(std::uint64_t a, std::uint64_t b) noexcept {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return a > kMost - b ? kMost : a + b;
}

std::uint64_t in_pages(std::uint64_t bytes) noexcept {
  return plus(bytes, kPage - 1) / kPage * kPage;
}

WaitStatistics told(const lock::WaitTotals& totals) noexcept {
  const auto& outcomes = totals.outcomes;
  return {.granted = totals.granted(),
          .would_block = outcomes[RM_OUTCOME_WOULD_BLOCK],
          .timed_out = outcomes[RM_OUTCOME_TIMED_OUT],
          .deadlocks = outcomes[RM_OUTCOME_DEADLOCK],
          .preempted = outcomes[RM_OUTCOME_PREEMPTED],
          .cancelled = outcomes[RM_OUTCOME_CANCELLED],
          .gone = outcomes[RM_OUTCOME_GONE],
          .refused = outcomes[RM_OUTCOME_REFUSED],
          .granted_ns = totals.granted_ns,
          .failed_ns = totals.failed_ns,
          .p50_ns = totals.percentile_ns(500),
          .p90_ns = totals.percentile_ns(900),
          .p99_ns = totals.percentile_ns(990),
          .longest_ns = totals.longest_ns};
}

}  // namespace

std::string Observation::driver_name(std::uint32_t driver) const {
  const auto name = view_.drivers().name(driver);
  return name ? std::string(name->data()) : std::string();
}

const rm_slot* Observation::slot_of(Handle handle) const noexcept {
  const rm_slot* const slot = locks_.slot(handle.slot());
  const bool is_its = slot && lock::StateWord{load(slot->word)}.is_tenant(handle.generation());
  return is_its ? slot : nullptr;
}

TypeStatistics Observation::statistics(std::uint32_t driver, ResourceType type) const {
  TypeStatistics to;
  const registry::Tally tally = view_.tally(driver, type);
  to.peak = tally.peak;
  to.created = tally.created;
  to.destroyed = tally.destroyed;

  // Rows of drivers that never had any are not touched: that would give them memory.
  lock::WaitTotals totals;
  const auto add_row = [&](std::uint32_t of) {
    totals +=
        lock::read_wait_row(locks_, of * RM_RESOURCE_TYPES + static_cast<std::uint32_t>(type));
  };
  if (driver != 0) {
    add_row(driver);
  } else if (tally.created != 0) {
    const std::uint32_t end =
        std::min(load_acquire(registry_.tables().root->driver_count), registry_.header().drivers);
    for (std::uint32_t of = 0; of < end; ++of) {
      if (of == 0 || view_.tally(of, type).created != 0) add_row(of);
    }
  }
  to.waits = told(totals);
  to.acquisitions = totals.retired;

  const lock::CellPool cells(locks_);
  std::uint64_t ages = 0;
  std::uint64_t holds = 0;
  std::uint64_t sampled = 0;
  view_.for_each([&](const registry::EntryCopy& entry) {
    if (entry.type != type || (driver != 0 && entry.owner_driver != driver)) return true;
    ++to.current;
    ages = plus(ages, age(entry.created_at));
    to.size_bytes = plus(to.size_bytes, entry.size_bytes);
    to.page_bytes = plus(to.page_bytes, in_pages(entry.size_bytes));
    const rm_slot* const slot = slot_of(entry.handle);
    if (slot == nullptr) return true;
    const lock::StateWord word{load(slot->word)};
    bool is_held = word.owner() != 0;
    to.acquisitions = plus(to.acquisitions, load_relaxed(slot->acquisitions));
    cells.for_each(*slot, entry.handle.generation(), [&](const rm_cell& cell, lock::CellWord held) {
      to.acquisitions = plus(to.acquisitions, load_relaxed(cell.acquisitions));
      is_held = is_held || (word.has(RM_WORD_SHARED) && held.in_use());
      return true;
    });
    if (is_held) ++to.held;
    if (const std::uint64_t ns = load_relaxed(slot->sampled_hold_ns); ns != 0) {
      holds = plus(holds, ns);
      ++sampled;
    }
    return true;
  });
  to.average_age_ns = to.current == 0 ? 0 : ages / to.current;
  to.average_hold_ns = sampled == 0 ? 0 : holds / sampled;

  for_each_waiter([&](const lock::Waiter& waiter) {
    const auto row = view_.row(Handle(waiter.slot, waiter.generation));
    if (!row || *row % RM_RESOURCE_TYPES != static_cast<std::uint32_t>(type)) return;
    if (driver == 0 || *row / RM_RESOURCE_TYPES == driver) ++to.waiting;
  });
  return to;
}

std::vector<Bottleneck> Observation::bottlenecks(std::size_t most) const {
  std::unordered_map<Handle, Queued> queues;
  for_each_waiter([&](const lock::Waiter& waiter) {
    Queued& queue = queues[Handle(waiter.slot, waiter.generation)];
    const std::uint64_t waited = age(waiter.enqueued_at);
    ++queue.count;
    queue.waited_ns = plus(queue.waited_ns, waited);
    queue.longest_ns = std::max(queue.longest_ns, waited);
  });
  std::vector<Bottleneck> all;
  view_.for_each([&](const registry::EntryCopy& entry) {
    const rm_slot* const slot = slot_of(entry.handle);
    const auto queue = queues.find(entry.handle);
    // The record of one that nobody queued for is not touched: that would give it memory.
    if (slot == nullptr || (load_relaxed(slot->contended) == 0 && queue == queues.end())) {
      return true;
    }
    all.push_back(bottleneck(entry, *slot, queue == queues.end() ? Queued{} : queue->second));
    return true;
  });
  const auto worse = [](const Bottleneck& a, const Bottleneck& b) {
    if (a.waited_ns != b.waited_ns) return a.waited_ns > b.waited_ns;
    return a.handle.bits() < b.handle.bits();
  };
  const std::size_t kept = std::min(most, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(), worse);
  all.resize(kept);
  return all;
}

Bottleneck Observation::bottleneck(const registry::EntryCopy& entry, const rm_slot& slot,
                                   const Queued& queued) const {
  const lock::SlotWaits ended = lock::read_slot_waits(locks_, entry.handle);
  Bottleneck to{.handle = entry.handle,
                .name = std::string(entry.name_text()),
                .type = entry.type,
                .owner = driver_name(entry.owner_driver),
                .waited_ns = plus(ended.waited_ns, queued.waited_ns),
                .longest_ns = std::max(ended.longest_ns, queued.longest_ns),
                .waits = ended.waits,
                .waiting = queued.count,
                .blamed_driver = driver_name(ended.blamed_driver),
                .blamed_pid = ended.blamed_pid,
                .holder_driver = {}};
  const rm_context* const holder = locks_.context(lock::StateWord{load(slot.word)}.owner());
  if (holder == nullptr) return to;
  to.holder_driver = driver_name(load_relaxed(holder->driver));
  to.held_ns = age(load_relaxed(slot.acquired_at));
  const rm_client* const client = locks_.client(lock::client_of(load_relaxed(holder->state)));
  if (client != nullptr) to.holder_pid = load_relaxed(client->pid);
  return to;
}

}  // namespace resmgr::client
