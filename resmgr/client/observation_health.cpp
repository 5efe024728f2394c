// SPDX-License-Identifier: Apache-2.0
//
// Health: what speaks against a domain.
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string_view>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/budget/book.hpp"
#include "resmgr/client/observation.hpp"
#include "resmgr/lock/word.hpp"

namespace resmgr::client {
namespace {

std::string seconds(std::uint64_t ns) {
  const std::uint64_t tenths = ns / 100'000'000;
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " s";
}

std::string of(std::uint64_t used, std::uint64_t all) {
  return std::to_string(used) + " of " + std::to_string(all);
}

std::string or_unnamed(std::string name) {
  return name.empty() ? std::string("an unnamed driver") : std::move(name);
}

// Of one part in a hundred, without a product that overflows.
std::uint64_t percent_of(std::uint64_t amount, std::uint32_t percent) noexcept {
  return amount / 100 * percent + amount % 100 * percent / 100;
}

}  // namespace

// The reasons so far; of one code only so many are told one by one.
class Observation::Reasons {
 public:
  explicit Reasons(std::uint32_t most) noexcept : most_(most) {}

  void add(HealthCode code, HealthStatus status, std::string subject, std::string text) {
    report_.status = std::max(report_.status, status);
    Left& left = left_[code];
    if (left.told == most_) {
      ++left.more;
      left.status = std::max(left.status, status);
      return;
    }
    ++left.told;
    report_.reasons.push_back({code, status, std::move(subject), std::move(text)});
  }
  [[nodiscard]] HealthReport take() {
    for (const auto& [code, left] : left_) {
      if (left.more == 0) continue;
      report_.reasons.push_back(
          {code, left.status, {}, "and " + std::to_string(left.more) + " more like that"});
    }
    // Of one status they stay in the order in which they were found.
    std::vector<HealthReason> sorted;
    for (const HealthStatus status : {HealthStatus::Critical, HealthStatus::Degraded}) {
      for (HealthReason& reason : report_.reasons) {
        if (reason.status == status) sorted.push_back(std::move(reason));
      }
    }
    report_.reasons = std::move(sorted);
    return std::move(report_);
  }

 private:
  struct Left {
    std::uint32_t told = 0;
    std::uint32_t more = 0;
    HealthStatus status = HealthStatus::Degraded;
  };
  std::uint32_t most_;
  std::map<HealthCode, Left> left_;
  HealthReport report_;
};

HealthReport Observation::health(const HealthLimits& limits, const Known& known) const {
  Reasons reasons(limits.most_reasons_of_a_code);
  if (known.authority == false) {
    reasons.add(HealthCode::AuthorityAbsent, HealthStatus::Critical, "resmgrd",
                "it does not answer: holds go on, nothing is registered or shared");
  }
  look_at_budgets(reasons);
  look_at_resources(reasons);
  look_at_clients(reasons, known);
  look_at_tables(reasons, limits.table_percent);
  look_at_waits(reasons, limits.long_wait_ns);
  return reasons.take();
}

void Observation::look_at_budgets(Reasons& reasons) const {
  const BudgetTables& budgets = registry_.tables().budgets;
  const std::uint32_t drivers =
      std::min(load_acquire(registry_.tables().root->driver_count), budgets.drivers);
  for (std::uint32_t driver = 0; driver < drivers; ++driver) {
    for (unsigned column = 0; column < kResourceTypes; ++column) {
      const auto type = static_cast<ResourceType>(column);
      const BudgetUsage usage = budget::read_usage(*budgets.row(driver, type));
      const ResourceBudget& budget = usage.budget;
      if (budget.max == kUnlimited) continue;
      std::string subject(to_string(type));
      if (driver != 0) subject += " of " + or_unnamed(driver_name(driver));
      const std::string text = of(usage.used, budget.max) + " used";
      if (usage.used > budget.max) {
        reasons.add(HealthCode::BudgetOverdrawn, HealthStatus::Critical, std::move(subject), text);
      } else if (usage.used != 0 && usage.available() == 0) {
        reasons.add(HealthCode::BudgetExhausted, HealthStatus::Critical, std::move(subject),
                    text + ", " + std::to_string(budget.reserved) + " kept for emergencies");
      } else if (usage.used != 0 && usage.used >= percent_of(budget.max, budget.warning_percent)) {
        reasons.add(HealthCode::BudgetNearLimit, HealthStatus::Degraded, std::move(subject), text);
      }
    }
  }
}

void Observation::look_at_resources(Reasons& reasons) const {
  view_.for_each([&](const registry::EntryCopy& entry) {
    const auto add = [&](HealthCode code, HealthStatus status, std::string text) {
      reasons.add(code, status, std::string(entry.name_text()), std::move(text));
    };
    const rm_slot* const slot = slot_of(entry.handle);
    const bool is_barred = slot && lock::StateWord{load(slot->word)}.has(RM_WORD_QUARANTINED);
    if (slot && (load_relaxed(slot->attributes) & RM_SLOT_ATTR_POISONED) != 0) {
      add(HealthCode::Poisoned, HealthStatus::Critical,
          "the hardware behind it could not be made quiet: nobody gets it");
    } else if (entry.state == Lifecycle::Quarantined || (is_barred && !entry.drained)) {
      add(HealthCode::Quarantined, HealthStatus::Degraded,
          "the hardware behind it is being made quiet");
    }
    if (entry.state == Lifecycle::Orphaned) {
      add(HealthCode::Orphaned, HealthStatus::Degraded,
          or_unnamed(driver_name(entry.owner_driver)) + " died, who owns it");
    }
    return true;
  });
}

void Observation::look_at_waits(Reasons& reasons, std::uint64_t long_ns) const {
  for_each_waiter([&](const lock::Waiter& waiter) {
    const std::uint64_t waited = age(waiter.enqueued_at);
    if (waited < long_ns) return;
    const auto entry = view_.read(Handle(waiter.slot, waiter.generation));
    if (!entry) return;
    const rm_context* const context = locks_.context(waiter.context);
    std::string text =
        or_unnamed(context ? driver_name(load_relaxed(context->driver)) : std::string()) +
        " waits for " + seconds(waited);
    const rm_slot* const slot = slot_of(entry->handle);
    const rm_context* const holder =
        slot ? locks_.context(lock::StateWord{load(slot->word)}.owner()) : nullptr;
    if (holder) text += ", held by " + or_unnamed(driver_name(load_relaxed(holder->driver)));
    reasons.add(HealthCode::LongWait, HealthStatus::Degraded, std::string(entry->name_text()),
                std::move(text));
  });
}

void Observation::look_at_clients(Reasons& reasons, const Known& known) const {
  std::vector<bool> dead(locks_.client_count);
  const std::uint32_t end = std::min(load(locks_.region->context_high_water), locks_.context_count);
  for (std::uint32_t id = 1; id <= end; ++id) {
    const std::uint64_t state = load(locks_.context(id)->state);
    const std::uint32_t client = lock::client_of(state);
    if ((state & RM_CONTEXT_STATE_MASK) == RM_CONTEXT_DEAD && client < dead.size()) {
      dead[client] = true;
    }
  }
  for (std::uint32_t index = 0; index < locks_.client_count; ++index) {
    const rm_client& client = *locks_.client(index);
    const std::uint64_t state = load(client.state) & RM_CONTEXT_STATE_MASK;
    if (state == RM_CONTEXT_FREE && !dead[index]) continue;
    const bool is_gone = known.is_gone && known.is_gone(index);
    if (state != RM_CONTEXT_DEAD && !dead[index] && !is_gone) continue;
    reasons.add(HealthCode::DeadNotRecovered, HealthStatus::Degraded,
                "process " + std::to_string(load(client.pid)),
                "it died, and what it held is not recovered yet");
  }
}

void Observation::look_at_tables(Reasons& reasons, std::uint32_t percent) const {
  const auto look = [&](std::string_view name, std::uint64_t used, std::uint64_t all) {
    if (all == 0 || used < percent_of(all, percent) || used == 0) return;
    const bool is_full = used >= all;
    reasons.add(is_full ? HealthCode::TableFull : HealthCode::TableNearlyFull,
                is_full ? HealthStatus::Critical : HealthStatus::Degraded, std::string(name),
                of(used, all) + " used");
  };
  const registry::Tables& tables = registry_.tables();
  const rm_registry_region& root = *tables.root;
  look("resources", std::uint64_t{view_.size()} + view_.retired_slots(), tables.entries.count());
  look("metadata pairs", load_acquire(root.pairs.used), tables.pairs.count());
  look("dependencies", load_acquire(root.dependencies.used), tables.dependencies.count());
  look("shares", load_acquire(root.shares.used), tables.shares.count());
  look("classes", load_acquire(root.class_count), tables.classes.count());
  look("drivers", load_acquire(root.driver_count), tables.drivers.count());

  const auto is_taken = [](std::uint64_t state) {
    return (state & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_FREE;
  };
  std::uint64_t contexts = 0;
  const std::uint32_t end = std::min(load(locks_.region->context_high_water), locks_.context_count);
  for (std::uint32_t id = 1; id <= end; ++id) contexts += is_taken(load(locks_.context(id)->state));
  look("contexts", contexts, locks_.context_count);
  std::uint64_t clients = 0;
  for (std::uint32_t i = 0; i < locks_.client_count; ++i) {
    clients += is_taken(load(locks_.client(i)->state));
  }
  // An embedded domain has one, and needs no more.
  if (clients > 1) look("clients", clients, locks_.client_count);

  std::uint64_t nodes = 0;
  const std::uint32_t nodes_end =
      std::min(load(locks_.region->nodes.high_water), locks_.node_count);
  for (std::uint32_t i = 0; i < nodes_end; ++i) nodes += load(locks_.nodes[i].refs) != 0;
  look("waits", nodes, locks_.node_count);
  std::uint64_t cells = 0;
  const std::uint32_t cells_end =
      std::min(load(locks_.region->cells.high_water), locks_.cell_count);
  for (std::uint32_t i = 0; i < cells_end; ++i) cells += load(locks_.cells[i].flags) != 0;
  look("shared holds", cells, locks_.cell_count);
}

}  // namespace resmgr::client
