// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/budget.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>

#include "resmgr/abi/budget_requests.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/budget/book.hpp"
#include "resmgr/registry/tags.hpp"
#include "tools/resmgrctl/ask.hpp"
#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

using resmgr::BudgetUsage;
using resmgr::kUnlimited;
using resmgr::ResourceBudget;
using resmgr::ResourceType;

namespace wire = resmgr::wire;

// JSON has no number for it.
Json amount_json(std::uint64_t amount) { return amount == kUnlimited ? Json() : Json(amount); }

Json json_of(const std::string& driver, ResourceType type, const BudgetUsage& usage) {
  return {{"driver", driver.empty() ? Json() : Json(driver)},
          {"type", to_string(type)},
          {"used", usage.used},
          {"drawn", usage.drawn},
          {"peak", usage.peak},
          {"max", amount_json(usage.budget.max)},
          {"reserved", usage.budget.reserved},
          {"warning_percent", usage.budget.warning_percent},
          {"critical_percent", usage.budget.critical_percent},
          {"pressure", to_string(usage.pressure)},
          {"refusals", usage.refusals},
          {"overdrafts", usage.overdrafts},
          {"overdrawn", usage.overdrawn}};
}

/// Calls with each row that says anything: number and name of its driver, 0 and none for all.
template <typename Visit>
void each_budget(const Look& look, const Visit& visit) {
  const auto& tables = look.registry.tables();
  const resmgr::registry::TagReader drivers(tables.drivers);
  for (std::uint32_t driver = 0; driver < tables.budgets.drivers; ++driver) {
    // No number below one that has a name is without.
    const auto name = drivers.name(driver);
    if (driver != 0 && !name) break;
    for (unsigned i = 0; i < resmgr::kResourceTypes; ++i) {
      const auto type = static_cast<ResourceType>(i);
      const rm_budget* const row = tables.budgets.row(driver, type);
      if (row == nullptr) continue;
      const BudgetUsage usage = resmgr::budget::read_usage(*row);
      if (usage.budget.max == kUnlimited && usage.used == 0 && usage.peak == 0) continue;
      visit(driver == 0 ? std::string() : std::string(name->data()), type, usage);
    }
  }
}

}  // namespace

Outcome<std::string> show_budgets(const Look& look, const Options& options) {
  if (!options.driver.empty()) {
    const resmgr::registry::TagReader drivers(look.registry.tables().drivers);
    if (!drivers.find(options.driver)) {
      return failed("no driver is named '" + options.driver +
                    "': 'resmgrctl budget' lists those that have anything");
    }
  }
  Json list = Json::array();
  Table table({"DRIVER", "TYPE", "USED", "PEAK", "MAX", "RESERVED", "PRESSURE", "REFUSED"});
  each_budget(look, [&](const std::string& driver, ResourceType type, const BudgetUsage& usage) {
    if (!options.driver.empty() && driver != options.driver) return;
    list.push_back(json_of(driver, type, usage));
    table.add({driver.empty() ? "all" : printable(driver), std::string(to_string(type)),
               amount_text(type, usage.used), amount_text(type, usage.peak),
               amount_text(type, usage.budget.max), amount_text(type, usage.budget.reserved),
               std::string(to_string(usage.pressure)), fmt::format("{}", usage.refusals)});
  });
  if (options.json) return dump({{"budgets", std::move(list)}});
  if (table.is_empty()) return std::string("nothing is limited, and nothing used\n");
  return table.text();
}

Outcome<Operation> set_budget(Source& source, const Options& options) {
  const ResourceType type = options.budget_type;
  const ResourceBudget& budget = options.budget;
  const std::string whose = options.driver.empty() ? "all drivers" : options.driver;
  const auto done =
      ask(source, wire::SetBudgetRequest{.driver = options.driver, .type = type, .budget = budget});
  if (!done) return failed(advice(source, whose, done.error()));
  if (options.json) {
    return Operation{.text =
                         dump({{"driver", options.driver.empty() ? Json() : Json(options.driver)},
                               {"type", to_string(type)},
                               {"max", amount_json(budget.max)},
                               {"reserved", budget.reserved}})};
  }
  if (budget.max == kUnlimited) {
    return Operation{.text = fmt::format("{}: {} is not limited\n", whose, to_string(type))};
  }
  return Operation{.text = fmt::format("{}: at most {} of {}, {} of it for emergencies\n", whose,
                                       amount_text(type, budget.max), to_string(type),
                                       amount_text(type, budget.reserved))};
}

}  // namespace resmgrctl
