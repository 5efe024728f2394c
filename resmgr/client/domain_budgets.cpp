// SPDX-License-Identifier: Apache-2.0
//
// Waiting for budget, and giving it back to others who do. Callbacks run on the thread of the
// hooks, so that nobody who registers or charges runs those of others.
#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "resmgr/base/clock.hpp"
#include "resmgr/base/futex.hpp"
#include "resmgr/client/domain.hpp"

namespace resmgr::client {
namespace {

/// So often a need that lasts is named again: the daemon may be another one by now, and the domain
/// be over.
constexpr std::uint64_t kNamedAgainNs = 250'000'000;

/// What a driver can have at most, whatever comes back.
std::uint64_t most_of(const BudgetTables& tables, std::uint32_t driver,
                      ResourceType type) noexcept {
  std::uint64_t most = kUnlimited;
  for (const std::uint32_t each : {std::uint32_t{0}, driver}) {
    const rm_budget* const row = tables.row(each, type);
    if (row == nullptr) continue;
    const ResourceBudget budget = budget::read_usage(*row).budget;
    most = std::min(most, budget.max - budget.reserved);
  }
  return most;
}

}  // namespace

Result<void> Domain::wait_for_budget(const Error& refused, std::uint32_t driver, ResourceType type,
                                     std::uint32_t seen, std::uint64_t deadline_ns) {
  const std::uint64_t requested = refused.requested();
  const auto with_amounts = [&](ErrorCode code) {
    Error error(code, "budget");
    error.with_amounts(requested, refused.available());
    return std::unexpected(std::move(error));
  };
  // Who would free something is the thread that would wait.
  if (requested > most_of(budgets(), driver, type) || hooks_.on_own_thread()) {
    return with_amounts(ErrorCode::BudgetExceeded);
  }
  const std::uint64_t now = monotonic_ns();
  if (now >= deadline_ns) return with_amounts(ErrorCode::TimedOut);
  listen();
  // Who can't be asked comes back by himself, or does not.
  (void)authority_->need(
      driver, type,
      std::max<std::uint64_t>(1, requested - std::min(requested, refused.available())));
  if (closed()) return fail(ErrorCode::Disconnected);
  const std::uint64_t until = std::min(deadline_ns, now + kNamedAgainNs);
  if (futex_wait(budgets().changes, seen, until) == FutexResult::Failed) {
    return fail_errno(errno, "futex");
  }
  return closed() ? fail(ErrorCode::Disconnected) : Result<void>();
}

Result<std::uint64_t*> Domain::charge(lock::Context& context, ResourceType type,
                                      std::uint64_t amount, Urgency urgency,
                                      std::uint64_t deadline_ns) {
  const std::uint32_t driver = load_relaxed(context.record->driver);
  // Others can have what is drawn here and not charged: they ask for it.
  listen();
  const auto account = within_budget(
      deadline_ns, driver, type, [&] { return credits_.charge(driver, type, amount, urgency); });
  if (!account) return std::unexpected(account.error());
  context.credits_used = locks_.tables().credits[*account].used;
  context.credits_granted = budgets().accounts[*account].granted;
  return context.credits_used + static_cast<std::size_t>(type);
}

Result<std::uint64_t> Domain::add_reclaimer(Reclaimer reclaimer, int rank) {
  if (closed()) return fail(ErrorCode::Disconnected);
  listen();
  return reclaimers_.add(std::move(reclaimer), rank);
}

Result<std::uint64_t> Domain::on_pressure(OnPressure callback) {
  if (closed()) return fail(ErrorCode::Disconnected);
  listen();
  auto added = pressures_.add(std::move(callback));
  // From the first one on, the memory around the process is looked at as well.
  if (added) (void)hooks_.schedule(monotonic_ns(), [this] { begin_to_watch(); });
  return added;
}

// By whoever hears of it. What is asked for while somebody reclaims is added to what he does.
void Domain::asked_to_reclaim(ResourceType type, std::uint64_t amount) noexcept try {
  std::atomic<std::uint64_t>& wanted = wanted_.at(static_cast<std::size_t>(type));
  std::uint64_t before = wanted.load(std::memory_order_relaxed);
  while (before < amount &&
         !wanted.compare_exchange_weak(before, amount, std::memory_order_acq_rel)) {
  }
  if (before != 0) return;
  (void)hooks_.schedule(monotonic_ns(), [this, type] { reclaim(type); });
} catch (const std::bad_alloc&) {
  // It is asked for again.
  wanted_.at(static_cast<std::size_t>(type)).store(0, std::memory_order_release);
}

void Domain::reclaim(ResourceType type) {
  const std::uint64_t wanted =
      wanted_.at(static_cast<std::size_t>(type)).exchange(0, std::memory_order_acq_rel);
  if (closed()) return;
  std::uint64_t freed = credits_.return_idle(type);
  if (freed >= wanted) return;
  reclaimers_.for_each([&](const Reclaimer& reclaimer) {
    if (reclaimer.type != type) return true;
    freed += std::min(reclaimer.free(wanted - freed), kUnlimited - freed);
    return freed < wanted;
  });
  // What they charged here is idle now, and others need it.
  (void)credits_.return_idle(type);
}

// What was given back here, while somebody waits for some.
void Domain::return_soon(ResourceType type) noexcept try {
  std::atomic<bool>& returns = returns_.at(static_cast<std::size_t>(type));
  if (returns.exchange(true, std::memory_order_acq_rel)) return;
  (void)hooks_.schedule(monotonic_ns(), [this, type, &returns] {
    returns.store(false, std::memory_order_release);
    if (!closed()) (void)credits_.return_idle(type);
  });
} catch (const std::bad_alloc&) {
  // Who waits asks again.
  returns_.at(static_cast<std::size_t>(type)).store(false, std::memory_order_release);
}

// By whoever changes the book, under its lock.
void Domain::pressure_changed(const wire::PressureEvent& event) noexcept try {
  (void)hooks_.schedule(monotonic_ns(), [this, event] {
    pressures_.for_each([&](const OnPressure& callback) {
      callback(event);
      return true;
    });
    begin_to_watch();
  });
} catch (const std::bad_alloc&) {
  // The next change is told.
}

void Domain::begin_to_watch() {
  if (!std::exchange(watches_pressure_, true)) watch_pressure();
}

// A level that has lasted ends though nothing changes any more.
void Domain::watch_pressure() {
  watches_pressure_ = false;
  if (closed()) return;
  const auto next = authority_->look_at_pressure();
  if (!next) return;
  watches_pressure_ = hooks_.schedule(*next, [this] { watch_pressure(); }).has_value();
}

}  // namespace resmgr::client
