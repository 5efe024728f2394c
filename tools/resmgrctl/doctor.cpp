// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/doctor.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <thread>
#include <utility>

#include "tools/resmgrctl/examination.hpp"

namespace resmgrctl {
namespace {

// A daemon that loses its processor between two steps is a matter of milliseconds.
constexpr int kLongerBetween = 4;

void tell_what_is_hidden(const Look& look, Diagnosis& diagnosis) {
  const auto& tables = look.locks.tables();
  std::size_t hidden = 0;
  for (std::uint32_t index = 0; index < tables.client_count; ++index) {
    const bool live =
        Examination::life_of(resmgr::load(tables.client(index)->state)) == Examination::Life::Live;
    if (live && look.process(index) == Process::Unknown) ++hidden;
  }
  if (hidden != 0) {
    diagnosis.untold.push_back("whether the processes of " + std::to_string(hidden) +
                               " clients are alive: run it in the PID namespace of resmgrd, as a "
                               "user who sees them");
  }
}

}  // namespace

std::string Examination::name(std::uint32_t slot) const {
  const auto entry = view_.read(resmgr::registry::live_handle(registry(), slot));
  return entry ? std::string(entry->name_text()) : "slot " + std::to_string(slot);
}

std::string Examination::who(std::uint32_t context) const {
  const std::string id = "context " + std::to_string(context);
  const rm_context* const record = t_.context(context);
  if (record == nullptr) return id + ", which can't be";
  const auto driver = view_.drivers().name(resmgr::load(record->driver));
  const rm_client* const client = t_.client(resmgr::lock::client_of(resmgr::load(record->state)));
  const std::string name = driver && driver->front() != '\0' ? driver->data() : "no driver";
  return name + " (pid " + std::to_string(client ? resmgr::load(client->pid) : 0) + ", " + id + ")";
}

std::vector<Finding> examine(const Look& look) {
  Examination examination(look);
  for (const Check check : kChecks) check(examination);
  return std::move(examination).take();
}

std::vector<Finding> confirmed(const std::vector<Finding>& first,
                               const std::vector<Finding>& second) {
  std::multimap<std::pair<std::string_view, std::uint64_t>, std::uint64_t> seen;
  for (const Finding& finding : first) {
    seen.emplace(std::pair(std::string_view(finding.check), finding.subject), finding.evidence);
  }
  std::vector<Finding> both;
  for (const Finding& finding : second) {
    const auto [begin, end] =
        seen.equal_range(std::pair(std::string_view(finding.check), finding.subject));
    if (std::any_of(begin, end, [&](const auto& it) { return it.second == finding.evidence; })) {
      both.push_back(finding);
    }
  }
  return both;
}

Outcome<Diagnosis> diagnose(Source& source, std::chrono::milliseconds between) {
  Diagnosis diagnosis;
  std::vector<Finding> found;
  const auto look_again = [&](Outcome<Look> look) -> Outcome<void> {
    if (!look) return std::unexpected(look.error());
    auto shown = examine(*look);
    found = diagnosis.looks == 0 ? std::move(shown) : confirmed(found, shown);
    ++diagnosis.looks;
    if (diagnosis.looks == 1) {
      tell_what_is_hidden(*look, diagnosis);
      diagnosis.resources = resmgr::registry::RegistryView(look->registry).size();
    }
    return {};
  };

  if (auto before = source.look_before()) {
    if (auto done = look_again(std::move(*before)); !done) return std::unexpected(done.error());
    if (auto done = look_again(source.look()); !done) return std::unexpected(done.error());
  } else {
    if (auto done = look_again(source.look()); !done) return std::unexpected(done.error());
    for (const int pause : {1, kLongerBetween}) {
      if (std::ranges::all_of(found, &Finding::note)) break;
      std::this_thread::sleep_for(between * pause);
      if (auto done = look_again(source.look()); !done) return std::unexpected(done.error());
    }
  }
  std::ranges::partition_copy(found, std::back_inserter(diagnosis.notes),
                              std::back_inserter(diagnosis.findings), &Finding::note);
  return diagnosis;
}

}  // namespace resmgrctl
