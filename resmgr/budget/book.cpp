// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/book.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <span>

#include "resmgr/base/atomic.hpp"
#include "resmgr/base/futex.hpp"

namespace resmgr::budget {
namespace {

constexpr const char* kOfType = "budget of the type";
constexpr const char* kOfDriver = "budget of the driver";

ResourceBudget budget_of(const rm_budget& row) noexcept {
  if ((load_acquire(row.flags) & RM_BUDGET_LIMITED) == 0) return {};
  return {.max = load_relaxed(row.max),
          .reserved = load_relaxed(row.reserved),
          .warning_percent = load_relaxed(row.warning_percent),
          .critical_percent = load_relaxed(row.critical_percent)};
}

bool is_sound(const ResourceBudget& budget) noexcept {
  return budget.reserved <= budget.max && budget.warning_percent > 0 &&
         budget.warning_percent <= budget.critical_percent && budget.critical_percent <= 100;
}

/// What is left to somebody of that urgency.
std::uint64_t left_in(const rm_budget* row, Urgency urgency) noexcept {
  if (row == nullptr) return kUnlimited;
  // What can't be counted can't be had, not in an emergency either.
  if (urgency == Urgency::Emergency) return kUnlimited - load_relaxed(row->used);
  const ResourceBudget budget = budget_of(*row);
  const std::uint64_t used = load_relaxed(row->used);
  const std::uint64_t most = budget.max - budget.reserved;
  return used < most ? most - used : 0;
}

void raise(std::uint64_t& mark, std::uint64_t value) noexcept {
  if (value > load_relaxed(mark)) store_relaxed(mark, value);
}

void add(rm_budget* row, std::uint64_t amount) noexcept {
  if (row == nullptr) return;
  const std::uint64_t used = load_relaxed(row->used) + amount;
  store_relaxed(row->used, used);
  raise(row->peak, used);
}

/// Never below nothing, whatever the caller says.
void take(std::uint64_t& sum, std::uint64_t amount) noexcept {
  const std::uint64_t before = load_relaxed(sum);
  store_relaxed(sum, before - std::min(before, amount));
}

void take_used(rm_budget* row, std::uint64_t amount) noexcept {
  if (row != nullptr) take(row->used, amount);
}

void add_drawn(rm_budget* row, std::uint64_t amount) noexcept {
  if (row != nullptr) store_relaxed(row->drawn, load_relaxed(row->drawn) + amount);
}

void take_drawn(rm_budget* row, std::uint64_t amount) noexcept {
  if (row == nullptr) return;
  take(row->drawn, amount);
  take(row->used, amount);
}

/// How far `used` is above `line`, of what the last `amount` did.
std::uint64_t above(std::uint64_t used, std::uint64_t line, std::uint64_t amount) noexcept {
  return used > line ? std::min(used - line, amount) : 0;
}

/// Notes in a row that an emergency just took what is reserved in it, or more. Adds to `told`.
void note_overdraft(rm_budget* row, std::uint64_t amount, Overdraft& told) noexcept {
  if (row == nullptr) return;
  const ResourceBudget budget = budget_of(*row);
  const std::uint64_t used = load_relaxed(row->used);
  const std::uint64_t beyond = above(used, budget.max, amount);
  const std::uint64_t reserved = above(used, budget.max - budget.reserved, amount) - beyond;
  if (beyond == 0 && reserved == 0) return;
  bump(row->overdrafts);
  if (beyond != 0) raise(row->overdrawn, used - budget.max);
  told.beyond = std::max(told.beyond, beyond);
  told.reserved = std::max(told.reserved, reserved);
}

/// Whether an authority wrote it.
bool is_kept(const rm_budget& row) noexcept {
  const unsigned flags = load_relaxed(row.flags);
  if ((flags & ~(RM_BUDGET_LIMITED | RM_BUDGET_CHANGED)) != 0) return false;
  return is_sound(budget_of(row)) &&
         load_relaxed(row.level) <= static_cast<std::uint8_t>(ResourcePressure::Critical);
}

void clear(rm_budget& row) noexcept {
  store_release(row.flags, std::uint8_t{0});
  store_relaxed(row.level, std::uint8_t{0});
}

std::unexpected<Error> exceeded(const char* whose, std::uint64_t requested,
                                std::uint64_t available) noexcept {
  Error error(ErrorCode::BudgetExceeded, whose);
  error.with_amounts(requested, available);
  return std::unexpected(std::move(error));
}

}  // namespace

BudgetUsage read_usage(const rm_budget& row) noexcept {
  BudgetUsage usage;
  usage.budget = budget_of(row);
  // A row that is being written, or a damaged one, is as good as unlimited to who looks.
  if (!is_sound(usage.budget)) usage.budget = {};
  usage.used = load_relaxed(row.used);
  usage.drawn = load_relaxed(row.drawn);
  usage.peak = load_relaxed(row.peak);
  usage.overdrawn = load_relaxed(row.overdrawn);
  usage.refusals = load_relaxed(row.refusals);
  usage.overdrafts = load_relaxed(row.overdrafts);
  usage.pressure = static_cast<ResourcePressure>(load_relaxed(row.level) & 3u);
  return usage;
}

std::uint64_t available(const BudgetTables& tables, std::uint32_t driver,
                        ResourceType type) noexcept {
  const rm_budget* const own = tables.row(driver, type);
  if (own == nullptr) return 0;
  return std::min(left_in(own, Urgency::Normal), left_in(tables.row(0, type), Urgency::Normal));
}

Book::Rows Book::rows_of(std::uint32_t driver, ResourceType type) const noexcept {
  rm_budget* const own = tables_.row(driver, type);
  if (own == nullptr) return {};
  return {.all = tables_.row(0, type), .own = driver == 0 ? nullptr : own};
}

Result<void> Book::set(std::uint32_t driver, ResourceType type, const ResourceBudget& budget,
                       bool while_running) noexcept {
  rm_budget* const row = tables_.row(driver, type);
  if (row == nullptr) return fail(ErrorCode::InvalidArgument, "no such driver or type");
  if (!is_sound(budget)) return fail(ErrorCode::InvalidArgument, "a budget that can't be");
  store_release(row->flags, std::uint8_t{0});
  store_relaxed(row->max, budget.max);
  store_relaxed(row->reserved, budget.reserved);
  store_relaxed(row->warning_percent, budget.warning_percent);
  store_relaxed(row->critical_percent, budget.critical_percent);
  unsigned flags = while_running ? RM_BUDGET_CHANGED : 0u;
  if (budget.max != kUnlimited) flags |= RM_BUDGET_LIMITED;
  store_release(row->flags, static_cast<std::uint8_t>(flags));
  returned();
  changed(driver, type);
  return {};
}

void Book::expect_return(ResourceType type) noexcept {
  store(*tables_.wanted, load(*tables_.wanted) | 1u << static_cast<unsigned>(type));
}

void Book::returned() noexcept {
  // Release: who sees it changed sees what came back.
  store_release(*tables_.changes, load_relaxed(*tables_.changes) + 1);
  // Who is not content with it says so again.
  if (load(*tables_.wanted) == 0) return;
  store(*tables_.wanted, 0);
  (void)futex_wake(tables_.changes, std::numeric_limits<int>::max());
}

Result<BudgetUsage> Book::usage(std::uint32_t driver, ResourceType type) const noexcept {
  const rm_budget* const row = tables_.row(driver, type);
  if (row == nullptr) return fail(ErrorCode::InvalidArgument, "no such driver or type");
  return read_usage(*row);
}

rm_budget* Book::row_without(const Rows& rows, std::uint64_t amount, Urgency urgency) noexcept {
  for (rm_budget* const row : {rows.own, rows.all}) {
    if (amount > left_in(row, urgency)) return row;
  }
  return nullptr;
}

Result<void> Book::check(std::uint32_t driver, ResourceType type, std::uint64_t amount,
                         Urgency urgency) noexcept {
  const Rows rows = rows_of(driver, type);
  if (rows.all == nullptr) return fail(ErrorCode::InvalidArgument, "no such driver or type");
  rm_budget* const row = row_without(rows, amount, urgency);
  if (row == nullptr) return {};
  bump(row->refusals);
  return exceeded(row == rows.all ? kOfType : kOfDriver, amount, left_in(row, urgency));
}

Result<void> Book::charge(std::uint32_t driver, ResourceType type, std::uint64_t amount,
                          Urgency urgency) noexcept {
  if (auto possible = check(driver, type, amount, urgency); !possible) return possible;
  const Rows rows = rows_of(driver, type);
  add(rows.all, amount);
  add(rows.own, amount);
  changed(driver, type);
  if (urgency == Urgency::Emergency) {
    Overdraft told{.driver = driver, .type = type, .amount = amount};
    note_overdraft(rows.all, amount, told);
    note_overdraft(rows.own, amount, told);
    if ((told.beyond != 0 || told.reserved != 0) && overdraft_) overdraft_(told);
  }
  return {};
}

void Book::give_back(std::uint32_t driver, ResourceType type, std::uint64_t amount) noexcept {
  const Rows rows = rows_of(driver, type);
  take_used(rows.all, amount);
  take_used(rows.own, amount);
  changed(driver, type);
  returned();
}

// What nobody can be told for want of memory is told with the next change.
void Book::changed(std::uint32_t driver, ResourceType type) const noexcept try {
  if (!changed_) return;
  changed_(0, type);
  if (driver != 0) changed_(driver, type);
} catch (const std::bad_alloc&) {
}

Result<rm_account*> Book::account_of(std::uint32_t client, std::uint32_t driver) noexcept {
  rm_account* vacant = nullptr;
  for (std::uint32_t i = 0; i < tables_.account_count; ++i) {
    rm_account& account = tables_.accounts[i];
    const std::uint32_t link = load_relaxed(account.client_link);
    if (link == client + 1 && load_relaxed(account.driver) == driver) return &account;
    if (link == 0 && vacant == nullptr) vacant = &account;
  }
  if (vacant == nullptr) {
    Error full(ErrorCode::CapacityExceeded, "accounts of credits");
    full.with_amounts(std::uint64_t{tables_.account_count} + 1, tables_.account_count);
    return std::unexpected(std::move(full));
  }
  for (std::uint64_t& granted : vacant->granted) store_relaxed(granted, 0);
  store_relaxed(vacant->driver, driver);
  // Last: what is somebody's is whole (I3).
  store_release(vacant->client_link, client + 1);
  return vacant;
}

// Clients that have much keep it from others: of what is left, one draws a sixteenth in advance.
Result<Drawn> Book::draw(std::uint32_t client, std::uint32_t driver, ResourceType type,
                         std::uint64_t least, std::uint64_t most, Urgency urgency) noexcept {
  constexpr std::uint64_t kShareOfRest = 16;
  const Rows rows = rows_of(driver, type);
  if (rows.all == nullptr) return fail(ErrorCode::InvalidArgument, "no such driver or type");
  const std::uint64_t left = available(tables_, driver, type);
  const std::uint64_t amount = std::max(least, std::min(most, left / kShareOfRest));
  auto account = account_of(client, driver);
  if (!account) return std::unexpected(std::move(account.error()));
  if (auto charged = charge(driver, type, amount, urgency); !charged) {
    return std::unexpected(std::move(charged.error()));
  }
  add_drawn(rows.all, amount);
  add_drawn(rows.own, amount);
  std::uint64_t& granted = (*account)->granted[static_cast<std::size_t>(type)];
  // Release: who reads it in the client has the right to charge it from here on.
  store_release(granted, load_relaxed(granted) + amount);
  return Drawn{.account = static_cast<std::uint32_t>(*account - tables_.accounts),
               .amount = amount};
}

Result<void> Book::return_credits(std::uint32_t client, std::uint32_t account, ResourceType type,
                                  std::uint64_t kept) noexcept {
  const auto column = static_cast<std::size_t>(type);
  if (account >= tables_.account_count || column >= RM_RESOURCE_TYPES ||
      load_relaxed(tables_.accounts[account].client_link) != client + 1) {
    return fail(ErrorCode::InvalidArgument, "not an account of this client");
  }
  rm_account& record = tables_.accounts[account];
  const std::uint64_t granted = load_relaxed(record.granted[column]);
  if (kept > granted) return fail(ErrorCode::InvalidArgument, "more than was drawn");
  const std::uint64_t amount = granted - kept;
  // Before anybody else is given it.
  store_release(record.granted[column], kept);
  const Rows rows = rows_of(load_relaxed(record.driver), type);
  take_drawn(rows.all, amount);
  take_drawn(rows.own, amount);
  changed(load_relaxed(record.driver), type);
  returned();
  return {};
}

void Book::close_accounts(std::uint32_t client) noexcept {
  for (std::uint32_t i = 0; i < tables_.account_count; ++i) {
    rm_account& account = tables_.accounts[i];
    if (load_relaxed(account.client_link) != client + 1) continue;
    for (std::uint32_t column = 0; column < RM_RESOURCE_TYPES; ++column) {
      (void)return_credits(client, i, static_cast<ResourceType>(column), 0);
    }
    store_release(account.client_link, 0u);
  }
}

void Book::recount(const Known& known, const std::function<void(const Add&)>& registered) {
  const std::size_t count =
      std::size_t{std::min(known.drivers, tables_.drivers)} * RM_RESOURCE_TYPES;
  for (rm_budget& row : std::span(tables_.rows, count)) {
    if (!is_kept(row)) clear(row);
    store_relaxed(row.used, 0);
    store_relaxed(row.drawn, 0);
  }
  for (rm_account& account : std::span(tables_.accounts, tables_.account_count)) {
    if (load_relaxed(account.client_link) > known.clients ||
        load_relaxed(account.driver) >= known.drivers) {
      store_release(account.client_link, 0u);
    }
  }
  registered([this](std::uint32_t driver, ResourceType type, std::uint64_t amount) {
    const Rows rows = rows_of(driver, type);
    add(rows.all, amount);
    add(rows.own, amount);
  });
  for (std::uint32_t i = 0; i < tables_.account_count; ++i) {
    const rm_account& account = tables_.accounts[i];
    if (load_relaxed(account.client_link) == 0) continue;
    for (std::uint32_t column = 0; column < RM_RESOURCE_TYPES; ++column) {
      const std::uint64_t granted = load_relaxed(account.granted[column]);
      const rm_budget* const all = tables_.row(0, static_cast<ResourceType>(column));
      if (granted > left_in(all, Urgency::Emergency)) continue;
      const auto both = rows_of(load_relaxed(account.driver), static_cast<ResourceType>(column));
      for (rm_budget* const row : {both.all, both.own}) {
        add(row, granted);
        add_drawn(row, granted);
      }
    }
  }
  returned();
}

}  // namespace resmgr::budget
