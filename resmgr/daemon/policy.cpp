// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/policy.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "resmgr/daemon/name_pattern.hpp"

namespace resmgr::daemon {
namespace {

bool contains(const auto& values, const auto& value) {
  return std::ranges::find(values, value) != values.end();
}

bool is_about(const Whom& whom, const Identity& who) {
  return whom.is_everybody() || contains(whom.users, who.uid) || contains(whom.groups, who.gid) ||
         std::ranges::any_of(who.groups, [&](gid_t group) { return contains(whom.groups, group); });
}

Error refusal(ErrorCode code, const char* what, std::string detail) {
  Error error(code, what);
  error.with_detail(ErrorDetail{.cycle = {}, .text = std::move(detail)});
  return error;
}

std::string user_text(const Identity& who) { return "user " + std::to_string(who.uid); }

std::string line_text(std::string_view file_name, std::uint32_t line) {
  return std::string(file_name) + ":" + std::to_string(line);
}

}  // namespace

DriverPolicy::DriverPolicy(std::string_view file_name, const DriverRule& rule)
    : max_resources_(rule.max_resources),
      max_priority_(rule.max_priority),
      may_register_(rule.may_register),
      emergency_(rule.emergency),
      rule_(std::make_shared<const std::string>(line_text(file_name, rule.line))) {
  if (!rule.types.empty()) {
    types_ = 0;
    for (const ResourceType type : rule.types) types_ |= 1u << static_cast<unsigned>(type);
  }
  if (rule.classes.empty()) return;
  Classes classes;
  std::vector<std::string> stems;
  for (const std::string& pattern : rule.classes) {
    (is_open_pattern(pattern) ? stems : classes.names).emplace_back(pattern_stem(pattern));
  }
  std::ranges::sort(classes.names);
  std::ranges::sort(stems);
  // What begins with another one stands right behind that and its like.
  for (std::string& stem : stems) {
    if (classes.stems.empty() || !stem.starts_with(classes.stems.back())) {
      classes.stems.push_back(std::move(stem));
    }
  }
  classes_ = std::make_shared<const Classes>(std::move(classes));
}

bool DriverPolicy::allows_class(std::string_view class_name) const noexcept {
  if (!classes_) return true;
  const auto& [names, stems] = *classes_;
  if (std::ranges::binary_search(names, class_name, std::less<>())) return true;
  // Of the stems up to the name, only the last one can be its beginning: any between that and the
  // name would begin with it too.
  const auto behind = std::ranges::upper_bound(stems, class_name, std::less<>());
  return behind != stems.begin() && class_name.starts_with(*std::prev(behind));
}

Result<void> DriverPolicy::may_register(ResourceType type, std::string_view class_name,
                                        ResourcePriority priority, std::uint32_t owned) const {
  if (!may_register_) {
    return refuse(ErrorCode::NotPermitted, "the driver may not register resources", owned);
  }
  const auto bit = static_cast<unsigned>(type);
  if (bit >= kResourceTypes || (types_ >> bit & 1u) == 0) {
    return refuse(ErrorCode::NotPermitted, "the driver may not register this type", owned);
  }
  if (priority > max_priority_) {
    return refuse(ErrorCode::NotPermitted, "the driver may not give this priority", owned);
  }
  if (!allows_class(class_name)) {
    return refuse(ErrorCode::NotPermitted, "the driver may not register this class", owned);
  }
  if (owned >= max_resources_) {
    return refuse(ErrorCode::CapacityExceeded, "the driver has all the resources it may own",
                  owned);
  }
  return {};
}

std::unexpected<Error> DriverPolicy::refuse(ErrorCode code, const char* what,
                                            std::uint32_t owned) const {
  Error error = refusal(code, what, rule_ ? "by the rule in " + *rule_ : std::string());
  if (code == ErrorCode::CapacityExceeded) {
    error.with_amounts(std::uint64_t{owned} + 1, max_resources_);
  }
  return std::unexpected(std::move(error));
}

Policy::Policy(const Config& config, uid_t own_uid)
    : file_name_(config.file_name),
      own_uid_(own_uid),
      limits_(config.limits),
      grace_(config.grace),
      operators_(config.operators.whom),
      attach_(config.attach),
      budgets_(config.budgets) {
  drivers_.reserve(config.drivers.size());
  for (const DriverRule& rule : config.drivers) {
    drivers_.push_back({rule.name, rule.whom, rule.line, DriverPolicy(file_name_, rule)});
  }
}

Result<void> Policy::may_attach(const Identity& who) const {
  constexpr const char* kWhat = "attach";
  if (attach_.empty()) {
    if (who.uid == 0 || who.uid == own_uid_) return {};
    return std::unexpected(refusal(ErrorCode::NotPermitted, kWhat,
                                   user_text(who) + " is neither root nor the daemon's, and " +
                                       file_name_ + " has no [[attach]]"));
  }
  const auto rule = std::ranges::find_if(
      attach_, [&](const AttachRule& candidate) { return is_about(candidate.whom, who); });
  if (rule == attach_.end()) {
    return std::unexpected(
        refusal(ErrorCode::NotPermitted, kWhat,
                "no [[attach]] in " + file_name_ + " is about " + user_text(who)));
  }
  if (rule->allow) return {};
  return std::unexpected(
      refusal(ErrorCode::NotPermitted, kWhat,
              user_text(who) + " is refused by the rule in " + line_text(file_name_, rule->line)));
}

Result<void> Policy::may_operate(const Identity& who) const {
  if (who.uid == 0 || who.uid == own_uid_) return {};
  if (!operators_.is_everybody() && is_about(operators_, who)) return {};
  return std::unexpected(refusal(ErrorCode::NotPermitted, "operate",
                                 user_text(who) +
                                     " is neither root nor the daemon's, and no one "
                                     "whom [operators] in " +
                                     file_name_ + " names"));
}

ResourceBudget Policy::budget(std::string_view driver, ResourceType type) const noexcept {
  const auto rule = std::ranges::find_if(budgets_, [&](const BudgetRule& candidate) {
    if (candidate.type != type || candidate.driver.empty() != driver.empty()) return false;
    return driver.empty() || pattern_matches(candidate.driver, driver);
  });
  return rule == budgets_.end() ? ResourceBudget() : rule->budget();
}

Result<DriverPolicy> Policy::driver(std::string_view name, const Identity& who) const {
  if (drivers_.empty()) return DriverPolicy();
  const NamedRule* nearest = nullptr;
  for (const NamedRule& rule : drivers_) {
    if (!pattern_matches(rule.pattern, name)) continue;
    if (is_about(rule.whom, who)) return rule.policy;
    if (nearest == nullptr) nearest = &rule;
  }
  const std::string driver = "driver '" + std::string(name) + "'";
  std::string detail = nearest ? "the rule for " + driver + " in " +
                                     line_text(file_name_, nearest->line) + " is not about " +
                                     user_text(who)
                               : "no [[driver]] in " + file_name_ + " is about " + driver;
  return std::unexpected(refusal(ErrorCode::NotPermitted, "become a driver", std::move(detail)));
}

}  // namespace resmgr::daemon
