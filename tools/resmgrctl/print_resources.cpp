// SPDX-License-Identifier: Apache-2.0
//
// Resources, their holders and their waiters: list, show, holders, waiters.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/print.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

bool matches(const Resource& resource, const Filter& filter) {
  return (!filter.driver || resource.owner_driver == *filter.driver) &&
         (!filter.type || resmgr::to_string(resource.entry.type) == *filter.type) &&
         (!filter.class_name || resource.class_name == *filter.class_name) &&
         (!filter.state || resmgr::to_string(resource.state) == *filter.state) &&
         (!filter.held || !resource.holds.empty()) && (!filter.waiting || !resource.waits.empty());
}

std::string owner_text(const Resource& resource) {
  const std::string driver = resource.owner_driver.empty() ? "-" : printable(resource.owner_driver);
  return resource.owner_pid == 0 ? driver : fmt::format("{} ({})", driver, resource.owner_pid);
}

// The first of them, and how many more.
std::string holders_text(const Resource& resource) {
  if (resource.holds.empty()) return "-";
  const std::size_t more = resource.holds.size() - 1;
  return who_text(resource.holds.front().who) +
         (more == 0 ? "" : fmt::format(" and {} more", more));
}

std::string blockers_text(const Wait& wait, const Picture& picture) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> texts;
  for (const Wait::Blocker& blocker : wait.blockers) {
    if (texts.size() == kShown) break;
    const Who* const who = picture.who(blocker.context);
    texts.push_back((who ? who_text(*who) : fmt::format("context {}", blocker.context)) +
                    (blocker.holds ? "" : ", who is before"));
  }
  if (texts.empty()) return "nobody: it is being served";
  const std::size_t more = wait.blocker_count - texts.size();
  return joined(texts, "; ") + (more == 0 ? "" : fmt::format("; and {} more", more));
}

Table holders_table() {
  return Table({"RESOURCE", "DRIVER", "PID", "CONTEXT", "KIND", "AGE", "PROCESS"});
}
void add_holders(Table& table, const Resource& resource) {
  for (const Hold& hold : resource.holds) {
    table.add({std::string(resource.name()),
               hold.who.driver.empty() ? "-" : printable(hold.who.driver),
               std::to_string(hold.who.pid), std::to_string(hold.who.context),
               std::string(kind_text(hold.kind)) + (hold.offered ? ", offered" : ""),
               time_text(hold.held_ns), std::string(process_text(hold.who.process))});
  }
}

Table waiters_table() {
  return Table({"RESOURCE", "DRIVER", "PID", "CONTEXT", "MODE", "PRIORITY", "AGE", "WAITS FOR"});
}
void add_waiters(Table& table, const Resource& resource, const Picture& picture) {
  for (const Wait& wait : resource.waits) {
    const bool lent = wait.priority != wait.base_priority;
    table.add(
        {std::string(resource.name()), wait.who.driver.empty() ? "-" : printable(wait.who.driver),
         std::to_string(wait.who.pid), std::to_string(wait.who.context),
         std::string(mode_text(wait.mode)), priority_text(wait.priority) + (lent ? " (lent)" : ""),
         time_text(wait.waited_ns), blockers_text(wait, picture)});
  }
}

template <typename Visit>
void for_each(const Picture& picture, const Resource* only, Visit&& visit) {
  if (only != nullptr) return visit(*only);
  for (const Resource& resource : picture.resources) visit(resource);
}

std::string line(const char* head, const std::string& text) {
  return fmt::format("{:<14}{}\n", head, text);
}

std::string names_text(const std::vector<resmgr::Handle>& handles, const Picture& picture) {
  std::vector<std::string> names;
  for (const resmgr::Handle handle : handles) {
    if (const Resource* const resource = picture.find(handle)) names.emplace_back(resource->name());
  }
  return names.empty() ? "-" : joined(names, ", ");
}

std::string text_or_dash(const std::vector<std::string>& texts) {
  return texts.empty() ? "-" : joined(texts, ", ");
}

std::string describe(const Resource& resource, const Picture& picture) {
  const auto& entry = resource.entry;
  const auto& counted = resource.counters;
  std::string text;
  text += line("name", std::string(resource.name()));
  text += line("handle", hex(entry.handle.bits()));
  text += line("type, class", fmt::format("{}, {}", resmgr::to_string(entry.type),
                                          printable(resource.class_name)));
  text +=
      line("size", fmt::format("{} (alignment {})", size_text(entry.size_bytes), entry.alignment));
  text += line("state", std::string(resmgr::to_string(resource.state)));
  if (entry.drained) text += line("", "its driver is being drained: nobody acquires it");
  text += line("owner", owner_text(resource));
  text += line("priority", std::string(resmgr::to_string(entry.priority)));
  text += line("access", std::string(resmgr::to_string(entry.access_pattern)));
  text += line("flags", text_or_dash(flag_names(entry.flags)));
  if (entry.numa_node >= 0) text += line("NUMA node", std::to_string(entry.numa_node));
  text += line("registered", time_text(picture.age(entry.created_at)) + " ago");
  text += line("word", hex(resource.word));
  for (const auto& [key, value] : resource.pairs) {
    text += line("metadata", printable(key) + " = " + printable(value));
  }
  text += line("needs", names_text(resource.needs, picture));
  text += line("needed by", names_text(resource.needed_by, picture));
  for (const Share& share : resource.shares) {
    text += line(
        "shared with",
        fmt::format("{}: {}{}", printable(share.driver), text_or_dash(rights_names(share.rights)),
                    share.has_resources ? " (has resources of its own: a user)" : ""));
  }
  text +=
      line("acquired", fmt::format("{} times exclusively, {} shared",
                                   counted.exclusive_acquisitions, counted.shared_acquisitions));
  text += line("queued", fmt::format("{} times, at most for {}", counted.contended,
                                     time_text(counted.longest_wait_ns)));
  if (!resource.whole) text += line("", "its lists could not be read as a whole: see doctor");
  return text;
}

}  // namespace

std::string show_list(const Picture& picture, const Origin& origin, const Filter& filter,
                      bool json) {
  Json list = Json::array();
  Table table({"NAME", "TYPE", "CLASS", "SIZE", "STATE", "OWNER", "HOLDER", "WAITERS"});
  for (const Resource& resource : picture.resources) {
    if (!matches(resource, filter)) continue;
    if (json) {
      list.push_back(summary_of(resource));
      continue;
    }
    table.add({std::string(resource.name()), std::string(resmgr::to_string(resource.entry.type)),
               printable(resource.class_name), size_text(resource.entry.size_bytes),
               std::string(resmgr::to_string(resource.state)), owner_text(resource),
               holders_text(resource), std::to_string(resource.waits.size())});
  }
  if (json) return dump({{"domain", json_of(origin, picture)}, {"resources", std::move(list)}});
  return table.text();
}

std::string show_resource(const Resource& resource, const Picture& picture, bool json) {
  if (json) return dump({{"resource", json_of(resource, picture)}});
  std::string text = describe(resource, picture);
  Table holders = holders_table();
  add_holders(holders, resource);
  if (!holders.is_empty()) text += "\nholders\n" + holders.text();
  Table waiters = waiters_table();
  add_waiters(waiters, resource, picture);
  if (!waiters.is_empty()) text += "\nwaiters\n" + waiters.text();
  return text;
}

std::string show_holders(const Picture& picture, const Resource* only, bool json) {
  Json list = Json::array();
  Table table = holders_table();
  for_each(picture, only, [&](const Resource& resource) {
    if (!json) return add_holders(table, resource);
    for (const Hold& hold : resource.holds) {
      Json entry = {{"resource", std::string(resource.name())}};
      entry.update(json_of(hold));
      list.push_back(std::move(entry));
    }
  });
  return json ? dump({{"holders", std::move(list)}}) : table.text();
}

std::string show_waiters(const Picture& picture, const Resource* only, bool json) {
  Json list = Json::array();
  Table table = waiters_table();
  for_each(picture, only, [&](const Resource& resource) {
    if (!json) return add_waiters(table, resource, picture);
    for (const Wait& wait : resource.waits) {
      Json entry = {{"resource", std::string(resource.name())}};
      entry.update(json_of(wait, picture));
      list.push_back(std::move(entry));
    }
  });
  return json ? dump({{"waiters", std::move(list)}}) : table.text();
}

}  // namespace resmgrctl
