// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/print_stats.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "resmgr/base/atomic.hpp"
#include "resmgr/client/observation.hpp"
#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/status.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

using resmgr::Bottleneck;
using resmgr::HealthReason;
using resmgr::HealthReport;
using resmgr::HealthStatus;
using resmgr::ResourceType;
using resmgr::TypeStatistics;
using resmgr::client::Observation;

Observation observe(const Look& look) {
  return {look.registry, look.locks.tables(), look.taken_at};
}

std::string driver_name(const Look& look, std::uint32_t driver) {
  if (driver == 0) return "all";
  const auto name = resmgr::registry::RegistryView(look.registry).drivers().name(driver);
  return name ? printable(name->data()) : fmt::format("number {}", driver);
}

std::uint32_t driver_end(const Look& look) {
  return std::min(resmgr::load(look.registry.tables().root->driver_count),
                  look.registry.header().drivers);
}

std::optional<std::uint32_t> driver_named(const Look& look, const std::string& name) {
  const resmgr::registry::RegistryView view(look.registry);
  for (std::uint32_t driver = 1; driver < driver_end(look); ++driver) {
    const auto tag = view.drivers().name(driver);
    if (tag && name == tag->data()) return driver;
  }
  return std::nullopt;
}

std::string percent_text(double share) { return fmt::format("{:.1f} %", share * 100); }

Json json_of(const TypeStatistics& told) {
  const auto& waits = told.waits;
  return {{"current", told.current},
          {"peak", told.peak},
          {"created", told.created},
          {"destroyed", told.destroyed},
          {"held", told.held},
          {"waiting", told.waiting},
          {"acquisitions", told.acquisitions},
          {"success_rate", told.success_rate()},
          {"contention", told.contention()},
          {"fragmentation", told.fragmentation()},
          {"average_age_ns", told.average_age_ns},
          {"average_hold_ns", told.average_hold_ns},
          {"size_bytes", told.size_bytes},
          {"page_bytes", told.page_bytes},
          {"waits",
           {{"granted", waits.granted},
            {"would_block", waits.would_block},
            {"timed_out", waits.timed_out},
            {"deadlocks", waits.deadlocks},
            {"preempted", waits.preempted},
            {"cancelled", waits.cancelled},
            {"gone", waits.gone},
            {"refused", waits.refused},
            {"granted_ns", waits.granted_ns},
            {"failed_ns", waits.failed_ns},
            {"average_ns", waits.average_ns()},
            {"p50_ns", waits.p50_ns},
            {"p90_ns", waits.p90_ns},
            {"p99_ns", waits.p99_ns},
            {"longest_ns", waits.longest_ns}}}};
}

std::string blame_text(const std::string& driver, std::uint32_t pid) {
  if (pid == 0) return "-";
  return fmt::format("{} (pid {})", driver.empty() ? "unnamed" : printable(driver), pid);
}

Json json_of(const Bottleneck& each) {
  Json json = {{"resource", each.name},
               {"handle", hex(each.handle.bits())},
               {"type", resmgr::to_string(each.type)},
               {"owner", each.owner},
               {"waited_ns", each.waited_ns},
               {"longest_ns", each.longest_ns},
               {"waits", each.waits},
               {"waiting", each.waiting}};
  json["blamed"] = each.blamed_pid == 0
                       ? Json()
                       : Json({{"driver", each.blamed_driver}, {"pid", each.blamed_pid}});
  json["holder"] = each.holder_pid == 0 ? Json()
                                        : Json({{"driver", each.holder_driver},
                                                {"pid", each.holder_pid},
                                                {"held_ns", each.held_ns}});
  return json;
}

Json json_of(const HealthReason& reason) {
  return {{"code", to_string(reason.code)},
          {"status", to_string(reason.status)},
          {"subject", reason.subject},
          {"text", reason.text}};
}

int status_of(HealthStatus status) {
  if (status == HealthStatus::Ok) return kDone;
  return status == HealthStatus::Degraded ? kFound : kCritical;
}

}  // namespace

Outcome<Shown> show_stats(const Look& look, const Options& options) {
  std::optional<std::uint32_t> only;
  if (options.filter.driver) {
    only = driver_named(look, *options.filter.driver);
    if (!only) return failed(*options.filter.driver, "no driver has that name in this domain");
  }
  const Observation observation = observe(look);
  const resmgr::registry::RegistryView view(look.registry);
  Json list = Json::array();
  Table table({"TYPE", "DRIVER", "NOW", "PEAK", "MADE", "ACQUIRED", "SUCCESS", "CONTENDED",
               "WAIT AVG", "P50", "P99", "LONGEST"});
  for (unsigned column = 0; column < resmgr::kResourceTypes; ++column) {
    const auto type = static_cast<ResourceType>(column);
    if (options.filter.type && resmgr::to_string(type) != *options.filter.type) continue;
    for (std::uint32_t driver = only.value_or(0); driver < (only ? *only + 1 : driver_end(look));
         ++driver) {
      if (view.tally(driver, type).created == 0) continue;
      const TypeStatistics told = observation.statistics(driver, type);
      if (options.json) {
        Json each = {{"type", resmgr::to_string(type)},
                     {"driver", driver == 0 ? Json() : Json(driver_name(look, driver))}};
        each.update(json_of(told));
        list.push_back(std::move(each));
        continue;
      }
      const auto& waits = told.waits;
      table.add({std::string(resmgr::to_string(type)), driver_name(look, driver),
                 std::to_string(told.current), std::to_string(told.peak),
                 std::to_string(told.created), std::to_string(told.acquisitions),
                 percent_text(told.success_rate()), percent_text(told.contention()),
                 time_text(waits.average_ns()), time_text(waits.p50_ns), time_text(waits.p99_ns),
                 time_text(waits.longest_ns)});
    }
  }
  if (options.json) return Shown{.text = dump({{"statistics", std::move(list)}})};
  return Shown{.text = table.text()};
}

Shown show_bottlenecks(const Look& look, const Options& options) {
  const auto worst = observe(look).bottlenecks(options.most);
  if (options.json) {
    Json list = Json::array();
    for (const Bottleneck& each : worst) list.push_back(json_of(each));
    return {.text = dump({{"bottlenecks", std::move(list)}})};
  }
  Table table({"RESOURCE", "WAITED", "LONGEST", "WAITS", "WAITING", "BLAMED", "HOLDER", "HELD"});
  for (const Bottleneck& each : worst) {
    table.add({printable(each.name), time_text(each.waited_ns), time_text(each.longest_ns),
               std::to_string(each.waits), std::to_string(each.waiting),
               blame_text(each.blamed_driver, each.blamed_pid),
               blame_text(each.holder_driver, each.holder_pid),
               each.holder_pid == 0 ? "-" : time_text(each.held_ns)});
  }
  return {.text = table.text()};
}

Shown show_health(const Look& look, const Options& options) {
  const HealthReport report = observe(look).health(
      {.long_wait_ns = std::uint64_t{options.long_wait_ms} * 1'000'000},
      {.authority = std::nullopt,
       .is_gone = [&](std::uint32_t client) { return look.process(client) == Process::Gone; }});
  const int status = status_of(report.status);
  if (options.json) {
    Json reasons = Json::array();
    for (const HealthReason& reason : report.reasons) reasons.push_back(json_of(reason));
    return {.text = dump({{"status", to_string(report.status)}, {"reasons", std::move(reasons)}}),
            .status = status};
  }
  std::string text;
  for (const HealthReason& reason : report.reasons) {
    text += fmt::format("{:<9} {}{}{} [{}]\n", to_string(reason.status), printable(reason.subject),
                        reason.subject.empty() ? "" : ": ", printable(reason.text),
                        to_string(reason.code));
  }
  return {.text = text + std::string(to_string(report.status)) + '\n', .status = status};
}

}  // namespace resmgrctl
