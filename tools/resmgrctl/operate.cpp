// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/operate.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "resmgr/abi/requests.hpp"
#include "tools/resmgrctl/ask.hpp"
#include "tools/resmgrctl/budget.hpp"
#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

using resmgr::Error;
using resmgr::ErrorCode;
using resmgr::Result;
using resmgr::Rights;

namespace wire = resmgr::wire;

constexpr const char* kWhatStays =
    "What is held stays held until it is released, and files that were handed out stay open: only "
    "the end of their process takes those back.";

/// What was wrong with a resource, as the answer says it, and for people.
struct Repaired {
  std::uint64_t bit;
  const char* name;
  const char* text;
};
constexpr std::array<Repaired, 6> kRepaired{{
    {RM_WIRE_REPAIRED_LATCH, "latch", "its latch was with somebody who would never give it up"},
    {RM_WIRE_REPAIRED_QUEUE, "queue", "its queue was not that of those who wait"},
    {RM_WIRE_REPAIRED_OFFER, "offer", "it was offered to somebody, and nobody completed that"},
    {RM_WIRE_REPAIRED_HOLD, "hold", "it was held by the dead, or by nobody"},
    {RM_WIRE_REPAIRED_WAIT, "wait", "it was waited for by the dead"},
    {RM_WIRE_REPAIRED_FLAGS, "flags", "its word contradicted its queue"},
}};

Outcome<std::string> share(Source& source, const Resource& resource, const Options& options) {
  const std::string name(resource.name());
  const auto rights = ask(source, wire::ShareRequest{.handle = resource.entry.handle,
                                                     .driver = options.driver,
                                                     .rights = options.rights,
                                                     .as_operator = true});
  if (!rights) return failed(advice(source, name, rights.error()));
  const auto names = rights_names(static_cast<Rights>(*rights));
  if (options.json) {
    return dump({{"resource", name}, {"driver", options.driver}, {"rights", names}});
  }
  return fmt::format("{} is shared with {}: {}\n", name, options.driver, joined(names, ", "));
}

Outcome<std::string> revoke(Source& source, const Resource& resource, const Options& options) {
  const std::string name(resource.name());
  const auto count = ask(source, wire::ShareRequest{.change = wire::ShareChange::Unshare,
                                                    .handle = resource.entry.handle,
                                                    .driver = options.driver,
                                                    .rights = Rights::All,
                                                    .as_operator = true});
  if (!count && count.error() == ErrorCode::NotFound) {
    return failed(name + " is not shared with '" + options.driver + "': 'resmgrctl show " + name +
                  "' lists with whom it is");
  }
  if (!count) return failed(advice(source, name, count.error()));
  std::vector<std::string> drivers;
  if (!options.all) drivers.push_back(options.driver);
  for (const Share& share : resource.shares) {
    if (options.all) drivers.push_back(share.driver);
  }
  if (options.json) {
    return dump(
        {{"resource", name}, {"revoked", *count}, {"drivers", drivers}, {"stays", kWhatStays}});
  }
  if (*count == 0) return name + " was shared with nobody\n";
  return fmt::format("{} is not shared with {} any more\n{}\n", name,
                     printable(joined(drivers, ", ")), kWhatStays);
}

Outcome<std::string> repair(Source& source, const Resource& resource, const Options& options) {
  const std::string name(resource.name());
  const auto found = ask(source, wire::RemedyRequest{wire::Remedy::Repair, resource.entry.handle});
  if (!found) return failed(advice(source, name, found.error()));
  Json list = Json::array();
  std::string text;
  for (const Repaired& repaired : kRepaired) {
    if ((*found & repaired.bit) == 0) continue;
    list.push_back(repaired.name);
    text += fmt::format("{}: {}: repaired\n", name, repaired.text);
  }
  if (options.json) return dump({{"resource", name}, {"repaired", std::move(list)}});
  return text.empty() ? name + " was sound: nothing was changed\n" : text;
}

Outcome<std::string> unpoison(Source& source, const Resource& resource, const Options& options) {
  const std::string name(resource.name());
  const auto done = ask(source, wire::RemedyRequest{wire::Remedy::Unpoison, resource.entry.handle});
  if (!done && done.error() == ErrorCode::InvalidArgument) {
    return failed(name + " needs it not (" + done.error().message() + "): 'resmgrctl show " + name +
                  "' says who has it, and whether it is drained");
  }
  if (!done) return failed(advice(source, name, done.error()));
  if (options.json) return dump({{"resource", name}, {"unpoisoned", true}});
  return name + " is not quarantined any more\n";
}

/// A hold of something that the driver owns.
struct Remaining {
  std::string resource;
  Hold hold;
};

Outcome<std::vector<Remaining>> holds_left(Source& source, const std::string& driver) {
  const auto look = source.look();
  if (!look) return std::unexpected(look.error());
  std::vector<Remaining> left;
  for (const Resource& resource : Picture::of(*look).resources) {
    if (resource.owner_driver != driver) continue;
    for (const Hold& hold : resource.holds) left.push_back({std::string(resource.name()), hold});
  }
  return left;
}

std::string drain_text(const Options& options, std::uint64_t resources,
                       const std::vector<Remaining>& left) {
  if (options.json) {
    Json holders = Json::array();
    for (const Remaining& each : left) {
      Json entry = {{"resource", each.resource}};
      entry.update(json_of(each.hold));
      holders.push_back(std::move(entry));
    }
    return dump({{"driver", options.driver},
                 {"resources", resources},
                 {"drained", left.empty()},
                 {"holders", std::move(holders)}});
  }
  const std::string text =
      fmt::format("{}: nobody acquires its resources ({}) any more\n", options.driver, resources);
  if (left.empty()) return text + "nobody holds any\n";
  Table table({"RESOURCE", "DRIVER", "PID", "KIND", "AGE"});
  for (const auto& [resource, hold] : left) {
    table.add({resource, hold.who.driver.empty() ? "-" : printable(hold.who.driver),
               std::to_string(hold.who.pid), std::string(kind_text(hold.kind)),
               time_text(hold.held_ns)});
  }
  return text + "held still; wait on by the same command, or end it by 'resmgrctl drain --cancel " +
         options.driver + "'\n" + table.text();
}

Outcome<Operation> drain(Source& source, const Options& options) {
  constexpr auto kPause = std::chrono::milliseconds(20);
  const auto step = options.cancel ? wire::DrainStep::Cancel : wire::DrainStep::Begin;
  const auto count = ask(source, wire::DrainRequest{step, options.driver});
  if (!count && count.error() == ErrorCode::NotFound) {
    return failed("no driver is named '" + options.driver +
                  "': 'resmgrctl list' shows the owners that there are");
  }
  if (!count) return failed(advice(source, options.driver, count.error()));
  if (options.cancel) {
    if (options.json) {
      return Operation{
          dump({{"driver", options.driver}, {"resources", *count}, {"drained", false}})};
    }
    return Operation{
        fmt::format("{}: its resources ({}) are acquired as before\n", options.driver, *count)};
  }
  const auto begun = std::chrono::steady_clock::now();
  for (;;) {
    const auto left = holds_left(source, options.driver);
    if (!left) return std::unexpected(left.error());
    const bool is_over = options.timeout_ms && std::chrono::steady_clock::now() - begun >=
                                                   std::chrono::milliseconds(*options.timeout_ms);
    if (left->empty() || is_over) {
      return Operation{.text = drain_text(options, *count, *left), .is_whole = left->empty()};
    }
    std::this_thread::sleep_for(kPause);
  }
}

Outcome<std::string> change(Source& source, const Resource& resource, const Options& options) {
  switch (options.verb) {
    case Verb::Share:
      return share(source, resource, options);
    case Verb::Revoke:
      return revoke(source, resource, options);
    case Verb::Unpoison:
      return unpoison(source, resource, options);
    default:
      return repair(source, resource, options);
  }
}

}  // namespace

std::string advice(const Source& source, const std::string& subject, const Error& error) {
  std::string said = subject + ": " + error.message();
  switch (error.code()) {
    case ErrorCode::NotPermitted:
      return said + ": ask as root, or have [operators] in its configuration name this user";
    case ErrorCode::StaleHandle:
      return said + ": it was unregistered meanwhile; 'resmgrctl list' shows what there is";
    case ErrorCode::NotShareable:
      return said + ": its owner has to register it with the flag Shareable";
    case ErrorCode::InvalidName:
      return said + ": a driver's name is 1 to 31 letters of [A-Za-z0-9._/-]";
    case ErrorCode::Disconnected:
      return said + ": see the log of the resmgrd at " + source.origin().place;
    case ErrorCode::Unsupported:
      return said + ": the resmgrd at " + source.origin().place +
             " is older: use its own resmgrctl";
    default:
      return said;
  }
}

Outcome<const Resource*> resource_named(const std::string& name, const Picture& picture) {
  const Resource* const resource = picture.find(name);
  if (resource) return resource;
  return failed("no resource is named '" + name + "': 'resmgrctl list' shows those that there are");
}

Outcome<Operation> operate(Source& source, const Options& options) {
  if (options.verb == Verb::Drain) return drain(source, options);
  if (options.verb == Verb::SetBudget) return set_budget(source, options);
  const auto look = source.look();
  if (!look) return std::unexpected(look.error());
  const Picture picture = Picture::of(*look);
  const auto resource = resource_named(*options.resource, picture);
  if (!resource) return std::unexpected(resource.error());
  auto text = change(source, **resource, options);
  if (!text) return std::unexpected(text.error());
  return Operation{.text = std::move(*text)};
}

}  // namespace resmgrctl
