// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/config_checks.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "resmgr/abi/layout.h"
#include "resmgr/daemon/name_pattern.hpp"

namespace resmgr::daemon {
namespace {

std::string in_line(std::uint32_t line) { return " in line " + std::to_string(line); }

/// Reports a key that the file gives and that is larger than another value allows.
void check_bound(const Given& given, std::string_view key, std::uint64_t value, std::uint64_t most,
                 const std::string& because, Mistakes& mistakes) {
  const TomlMember* member = given.find(key);
  if (member == nullptr || value <= most) return;
  mistakes.add(member->value.place, quoted(key) + " is " + std::to_string(value) +
                                        ", but at most " + std::to_string(most) +
                                        " make sense: " + because);
}

/// Reports a key that the file gives to no effect.
void check_effect(const Given& given, std::string_view key, bool has_effect,
                  const std::string& because, Mistakes& mistakes) {
  const TomlMember* member = given.find(key);
  if (member == nullptr || has_effect) return;
  mistakes.add(member->place, quoted(key) + " has no effect: " + because);
}

void check_domain(const DomainConfig& domain, const Given& given, Mistakes& mistakes) {
  if (!domain.compact_handles) return;
  const auto ranges = capacity_ranges(RM_DOMAIN_COMPACT_HANDLES);
  const auto slots = std::ranges::find(ranges, &Capacities::slots, &CapacityRange::member);
  check_bound(given, "slots", domain.capacities.slots, slots->most,
              "more have no compact handle ('compact_handles' is true)", mistakes);
}

void check_limits(const Config& config, const Given& given, Mistakes& mistakes) {
  const Capacities& capacities = config.domain.capacities;
  // Number 0 is no driver.
  check_bound(given, "drivers", config.limits.drivers, capacities.drivers - 1,
              "the domain has no room for more ('drivers' of [domain])", mistakes);
  check_bound(given, "resources", config.limits.resources, capacities.slots,
              "the domain has no room for more ('slots' of [domain])", mistakes);
  check_bound(given, "clients_per_uid", config.limits.clients_per_uid, capacities.clients,
              "the domain has no room for more ('clients' of [domain])", mistakes);
}

/// Whether the first rule leaves nobody to a later one about the same names.
bool takes_all(const Whom& first, const Whom& later) {
  if (first.is_everybody()) return true;
  if (later.is_everybody()) return false;
  const auto has_all = [](const auto& those, const auto& these) {
    return std::ranges::all_of(
        these, [&](auto one) { return std::ranges::find(those, one) != those.end(); });
  };
  return has_all(first.users, later.users) && has_all(first.groups, later.groups);
}

/// Reports rules that are never come to. `covers(earlier, later)`: nothing is left to the later.
template <typename Rule, typename Covers>
void check_reached(std::string_view title, const std::vector<Rule>& rules,
                   const std::vector<Given>& given, Covers covers, Mistakes& mistakes) {
  for (std::size_t later = 0; later < rules.size(); ++later) {
    for (std::size_t earlier = 0; earlier < later; ++earlier) {
      if (!given[earlier].is_whole() || !given[later].is_whole()) continue;
      if (!covers(rules[earlier], rules[later])) continue;
      mistakes.add(given[later].heading(), "this " + std::string(title) +
                                               " is never come to: the one" +
                                               in_line(rules[earlier].line) + " takes all of it");
      break;
    }
  }
}

void check_attach(const Config& config, const GivenConfig& given, Mistakes& mistakes) {
  check_reached(
      "[[attach]]", config.attach, given.attach,
      [](const AttachRule& a, const AttachRule& b) { return takes_all(a.whom, b.whom); }, mistakes);
  const bool all_known = std::ranges::all_of(given.attach, &Given::is_whole);
  if (all_known && !config.attach.empty() &&
      std::ranges::none_of(config.attach, &AttachRule::allow)) {
    mistakes.add(given.attach.front().heading(),
                 "nobody may attach: all of [[attach]] refuse, and so does the end of the list");
  }
}

void check_drivers(const Config& config, const GivenConfig& given, Mistakes& mistakes) {
  check_reached(
      "[[driver]]", config.drivers, given.drivers,
      [](const DriverRule& a, const DriverRule& b) {
        return pattern_covers(a.name, b.name) && takes_all(a.whom, b.whom);
      },
      mistakes);
  for (std::size_t i = 0; i < config.drivers.size(); ++i) {
    const DriverRule& rule = config.drivers[i];
    for (const std::string_view key : {"types", "classes", "max_resources", "max_priority"}) {
      check_effect(given.drivers[i], key, rule.may_register, "'may_register' is false", mistakes);
    }
    check_bound(given.drivers[i], "max_resources", rule.max_resources,
                config.domain.capacities.slots,
                "the domain has no room for more ('slots' of [domain])", mistakes);
  }
}

void check_budgets(const Config& config, const GivenConfig& given, Mistakes& mistakes) {
  check_reached(
      "[[budget]]", config.budgets, given.budgets,
      [](const BudgetRule& a, const BudgetRule& b) {
        if (a.type != b.type || a.driver.empty() != b.driver.empty()) return false;
        return a.driver.empty() || pattern_covers(a.driver, b.driver);
      },
      mistakes);
  const bool drivers_known = std::ranges::all_of(given.drivers, &Given::is_whole);
  for (std::size_t i = 0; i < config.budgets.size(); ++i) {
    const BudgetRule& rule = config.budgets[i];
    const Given& said = given.budgets[i];
    if (said.find("max") != nullptr) {
      check_bound(said, "reserved", rule.reserved, rule.max, "'max' is no more", mistakes);
    }
    // Of two that are wrong together, one that was written.
    const bool by_default = said.find("warning") == nullptr;
    check_bound(said, "warning", rule.warning, rule.critical, "'critical' is no more", mistakes);
    if (by_default && rule.critical < rule.warning) {
      mistakes.add(said.find("critical")->value.place,
                   "'critical' is " + std::to_string(rule.critical) + ", but 'warning' is " +
                       std::to_string(rule.warning) + " where nothing else is said");
    }
    for (const std::string_view key : {"max", "reserved"}) {
      const TomlMember* amount = said.find(key);
      if (amount == nullptr || said.find("type") == nullptr || rule.type == ResourceType::Memory ||
          !std::holds_alternative<std::string>(amount->value.content)) {
        continue;
      }
      mistakes.add(amount->value.place,
                   quoted(key) + " must be an integer: only memory is counted in bytes");
    }
    const bool has_driver = config.drivers.empty() ||
                            std::ranges::any_of(config.drivers, [&](const DriverRule& driver) {
                              return patterns_meet(driver.name, rule.driver);
                            });
    if (drivers_known) {
      check_effect(said, "driver", has_driver, "no [[driver]] allows such a driver", mistakes);
    }
  }
}

}  // namespace

void check_config(const Config& config, const GivenConfig& given, Mistakes& mistakes) {
  check_domain(config.domain, given.domain, mistakes);
  check_limits(config, given.limits, mistakes);
  check_effect(given.grace, "quiesce_backoff", config.grace.quiesce_attempts > 1,
               "'quiesce_attempts' is 1", mistakes);
  check_attach(config, given, mistakes);
  check_drivers(config, given, mistakes);
  check_budgets(config, given, mistakes);
  check_effect(given.log, "audit",
               config.log.audit.empty() || config.log.audit != config.socket.path,
               "'path' of [socket] is the same file", mistakes);
}

}  // namespace resmgr::daemon
