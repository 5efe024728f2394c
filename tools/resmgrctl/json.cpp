// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/json.hpp"

#include <utility>

#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

Json names_of(const std::vector<resmgr::Handle>& handles, const Picture& picture) {
  Json names = Json::array();
  for (const resmgr::Handle handle : handles) {
    if (const Resource* const resource = picture.find(handle)) {
      names.push_back(std::string(resource->name()));
    }
  }
  return names;
}

Json shares_of(const Resource& resource) {
  Json shares = Json::array();
  for (const Share& share : resource.shares) {
    shares.push_back({{"driver", share.driver},
                      {"rights", rights_names(share.rights)},
                      {"has_resources", share.has_resources}});
  }
  return shares;
}

Json statistics_of(const Resource& resource) {
  const auto& counted = resource.counters;
  return {{"exclusive_acquisitions", counted.exclusive_acquisitions},
          {"shared_acquisitions", counted.shared_acquisitions},
          {"contended", counted.contended},
          {"longest_wait_ns", counted.longest_wait_ns},
          {"sampled_hold_ns", counted.sampled_hold_ns},
          {"waiting", resource.waits.size()}};
}

}  // namespace

Json json_of(const Who& who) {
  return {{"context", who.context}, {"driver", who.driver}, {"pid", who.pid},
          {"tid", who.tid},         {"client", who.client}, {"process", process_text(who.process)}};
}

Json json_of(const Hold& hold) {
  Json json = json_of(hold.who);
  json["kind"] = kind_text(hold.kind);
  json["offered"] = hold.offered;
  json["held_ns"] = hold.held_ns;
  return json;
}

Json json_of(const Wait& wait, const Picture& picture) {
  Json json = json_of(wait.who);
  json["mode"] = mode_text(wait.mode);
  json["priority"] = priority_text(wait.priority);
  json["asked_priority"] = priority_text(wait.base_priority);
  json["emergency"] = wait.emergency;
  json["timed"] = wait.timed;
  json["waited_ns"] = wait.waited_ns;
  Json blockers = Json::array();
  for (const Wait::Blocker& blocker : wait.blockers) {
    Json entry = {{"context", blocker.context}, {"because", blocker.holds ? "holds" : "is before"}};
    if (const Who* const who = picture.who(blocker.context)) {
      entry["driver"] = who->driver;
      entry["pid"] = who->pid;
    }
    blockers.push_back(std::move(entry));
  }
  json["waits_for"] = std::move(blockers);
  json["waits_for_count"] = wait.blocker_count;
  return json;
}

Json json_of(const Finding& finding) {
  Json json = {{"check", finding.check}};
  json["invariant"] =
      finding.invariant == 0 ? Json() : Json("I" + std::to_string(finding.invariant));
  json["resource"] = finding.resource;
  json["text"] = finding.text;
  json["next_step"] = finding.next_step;
  return json;
}

Json json_of(const Origin& origin, const Picture& picture) {
  return {{"id", hex(picture.domain_id)},
          {"epoch", picture.epoch},
          {"from", origin.place},
          {"is_snapshot", origin.is_snapshot},
          {"taken_at", origin.taken_at_utc},
          {"daemon_version", origin.daemon_version}};
}

Json summary_of(const Resource& resource) {
  Json holders = Json::array();
  for (const Hold& hold : resource.holds) holders.push_back(json_of(hold));
  return {{"name", std::string(resource.name())},
          {"type", resmgr::to_string(resource.entry.type)},
          {"class", resource.class_name},
          {"size_bytes", resource.entry.size_bytes},
          {"state", resmgr::to_string(resource.state)},
          {"owner", resource.owner_driver},
          {"owner_pid", resource.owner_pid},
          {"holders", std::move(holders)},
          {"waiting", resource.waits.size()}};
}

Json json_of(const Resource& resource, const Picture& picture) {
  const auto& entry = resource.entry;
  Json json = summary_of(resource);
  json["handle"] = hex(entry.handle.bits());
  json["alignment"] = entry.alignment;
  json["access_pattern"] = resmgr::to_string(entry.access_pattern);
  json["priority"] = resmgr::to_string(entry.priority);
  json["flags"] = flag_names(entry.flags);
  json["numa_node"] = entry.numa_node;
  json["drained"] = entry.drained;
  json["cookie"] = hex(entry.cookie);
  json["age_ns"] = picture.age(entry.created_at);
  json["word"] = hex(resource.word);
  Json pairs = Json::object();
  for (const auto& [key, value] : resource.pairs) pairs[key] = value;
  json["metadata"] = std::move(pairs);
  json["needs"] = names_of(resource.needs, picture);
  json["needed_by"] = names_of(resource.needed_by, picture);
  json["shares"] = shares_of(resource);
  Json users = Json::array();
  for (const Share& share : resource.shares) {
    if (share.has_resources) users.push_back(share.driver);
  }
  json["users"] = std::move(users);
  Json waiters = Json::array();
  for (const Wait& wait : resource.waits) waiters.push_back(json_of(wait, picture));
  json["waiters"] = std::move(waiters);
  json["statistics"] = statistics_of(resource);
  json["whole"] = resource.whole;
  return json;
}

std::string dump(const Json& object) {
  Json whole = {{"schema", kJsonSchema}};
  whole.update(object);
  return whole.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace resmgrctl
