// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/platform.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/daemon/config.hpp"
#include "resmgr/daemon/config_keys.hpp"
#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

using resmgr::kUnlimited;
using resmgr::ResourceBudget;
using resmgr::ResourceType;
using resmgr::budget::HugePages;
using resmgr::budget::NumaNode;
using resmgr::budget::Platform;
using resmgr::budget::Profile;

// Calls with each table: its key of [domain] in resmgrd.toml, and its capacity.
template <typename Call>
void each_table(const resmgr::Capacities& capacities, const Call& call) {
  using Setting = resmgr::daemon::setting::Capacity<resmgr::daemon::DomainConfig>;
  for (const auto& key : resmgr::daemon::domain_keys()) {
    const auto* const setting = std::get_if<Setting>(&key.setting);
    if (setting != nullptr) call(key.name, capacities.*setting->member);
  }
}

std::string line(std::string_view head, const std::string& text) {
  return fmt::format("{:<18}{}\n", head, text);
}

std::string budget_text(ResourceType type, const ResourceBudget& budget) {
  if (budget.max == kUnlimited) return "none";
  return fmt::format("{}, {} of it for emergencies", amount_text(type, budget.max),
                     amount_text(type, budget.reserved));
}
std::string group_text(const Platform& platform) {
  if (!platform.cgroup) return "none found";
  const std::string limit = platform.cgroup_bytes == kUnlimited
                                ? "no limit"
                                : "limit " + size_text(platform.cgroup_bytes);
  return fmt::format("version {}, {}", static_cast<int>(*platform.cgroup), limit);
}
std::string processors_text(const Platform& platform) {
  if (platform.processor_quota == 0) return fmt::format("{}", platform.processors);
  return fmt::format("{}, time of {:.3f}", platform.processors,
                     static_cast<double>(platform.processor_quota) / 1000);
}

std::string found_text(const Platform& platform) {
  std::string text;
  text += line("memory", fmt::format("{}, {} available", size_text(platform.physical_bytes),
                                     size_text(platform.available_bytes)));
  text += line("memory cgroup", group_text(platform));
  text += line("processors", processors_text(platform));
  for (const NumaNode& node : platform.nodes) {
    text += line(fmt::format("node {}", node.number),
                 fmt::format("{}, {} free", size_text(node.bytes), size_text(node.free_bytes)));
  }
  for (const HugePages& size : platform.huge_pages) {
    text += line("huge pages", fmt::format("{}: {}, {} free", size_text(size.page_bytes),
                                           size.pages, size.free_pages));
  }
  text += line("transparent ones", std::string(to_string(platform.transparent)));
  text += line("memory stalls", platform.tells_stalls ? "told of" : "not told of");
  return text;
}

std::string chosen_text(const Profile& profile) {
  std::string text;
  text +=
      line("profile", fmt::format("{}{}", to_string(profile.kind),
                                  profile.allocates_at_start ? ", all allocated at start" : ""));
  text += line("tables", size_text(resmgr::budget::table_bytes(profile.capacities)) +
                             " with every entry in use");
  each_table(profile.capacities, [&](std::string_view name, std::uint32_t capacity) {
    text += line(fmt::format("  {}", name), fmt::format("{}", capacity));
  });
  text += "budgets\n";
  for (unsigned number = 0; number < resmgr::kResourceTypes; ++number) {
    const auto type = static_cast<ResourceType>(number);
    text += line(fmt::format("  {}", to_string(type)), budget_text(type, profile.budget(type)));
  }
  const auto& pool = profile.pool;
  text += line("pools", fmt::format("{} blocks of {}, up to {}{}{}", pool.first_blocks,
                                    size_text(pool.block_bytes), pool.most_blocks,
                                    pool.huge_pages ? ", in huge pages" : "",
                                    pool.by_node ? ", by node" : ""));
  return text;
}

Json or_null(std::uint64_t limit) { return limit == kUnlimited ? Json() : Json(limit); }

Json json_of(const Platform& platform) {
  Json nodes = Json::array();
  for (const NumaNode& node : platform.nodes) {
    nodes.push_back(
        {{"node", node.number}, {"bytes", node.bytes}, {"free_bytes", node.free_bytes}});
  }
  Json sizes = Json::array();
  for (const HugePages& size : platform.huge_pages) {
    sizes.push_back(
        {{"page_bytes", size.page_bytes}, {"pages", size.pages}, {"free_pages", size.free_pages}});
  }
  return {{"physical_bytes", platform.physical_bytes},
          {"available_bytes", platform.available_bytes},
          {"cgroup_version", platform.cgroup ? static_cast<int>(*platform.cgroup) : 0},
          {"cgroup_bytes", or_null(platform.cgroup_bytes)},
          {"memory_bytes", platform.memory_bytes()},
          {"processors", platform.processors},
          {"processor_quota_thousandths", platform.processor_quota},
          {"usable_processors", platform.usable_processors()},
          {"nodes", std::move(nodes)},
          {"huge_pages", std::move(sizes)},
          {"transparent_huge_pages", to_string(platform.transparent)},
          {"tells_stalls", platform.tells_stalls}};
}

Json json_of(const Profile& profile) {
  Json capacities = Json::object();
  each_table(profile.capacities, [&](std::string_view name, std::uint32_t capacity) {
    capacities[std::string(name)] = capacity;
  });
  Json budgets = Json::object();
  for (unsigned number = 0; number < resmgr::kResourceTypes; ++number) {
    const auto type = static_cast<ResourceType>(number);
    const ResourceBudget& budget = profile.budget(type);
    budgets[std::string(to_string(type))] = {{"max", or_null(budget.max)},
                                             {"reserved", budget.reserved}};
  }
  const auto& pool = profile.pool;
  return {{"name", to_string(profile.kind)},
          {"allocates_at_start", profile.allocates_at_start},
          {"capacities", std::move(capacities)},
          {"table_bytes", resmgr::budget::table_bytes(profile.capacities)},
          {"budgets", std::move(budgets)},
          {"pool",
           {{"block_bytes", pool.block_bytes},
            {"first_blocks", pool.first_blocks},
            {"most_blocks", pool.most_blocks},
            {"huge_pages", pool.huge_pages},
            {"by_node", pool.by_node}}}};
}

}  // namespace

std::string show_platform(const Platform& platform, const Profile& profile, bool json) {
  if (json) return dump({{"platform", json_of(platform)}, {"profile", json_of(profile)}});
  return found_text(platform) + '\n' + chosen_text(profile);
}

}  // namespace resmgrctl
