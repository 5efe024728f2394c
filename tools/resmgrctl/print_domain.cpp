// SPDX-License-Identifier: Apache-2.0
//
// The domain as a whole: status, doctor, snapshot.
#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "tools/resmgrctl/json.hpp"
#include "tools/resmgrctl/print.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

std::string use_text(Use use) { return fmt::format("{} of {}", use.used, use.capacity); }
Json json_of_use(Use use) { return {{"used", use.used}, {"capacity", use.capacity}}; }

std::string line(const char* head, const std::string& text) {
  return fmt::format("{:<18}{}\n", head, text);
}

std::string finding_text(const Finding& finding) {
  const std::string invariant =
      finding.invariant == 0 ? std::string("--") : fmt::format("I{}", finding.invariant);
  return fmt::format("{:<4}{} {} [{}]\n    next: {}\n", invariant, printable(finding.resource),
                     printable(finding.text), finding.check, finding.next_step);
}

}  // namespace

std::string show_status(const Picture& picture, const Origin& origin, bool json) {
  if (json) {
    return dump({{"domain", json_of(origin, picture)},
                 {"layout", fmt::format("{}.{}", picture.layout_major, picture.layout_minor)},
                 {"resources", json_of_use(picture.resource_use)},
                 {"contexts", json_of_use(picture.context_use)},
                 {"clients", json_of_use(picture.client_use)},
                 {"waits", json_of_use(picture.wait_use)},
                 {"shared_holds", json_of_use(picture.cell_use)},
                 {"holding", picture.holds},
                 {"waiting", picture.waits},
                 {"deadlocks", picture.deadlocks},
                 {"late_victims", picture.late_victims},
                 {"order_inversions", picture.order_inversions},
                 {"resident_bytes", picture.resident_bytes}});
  }
  std::string text;
  text += line("domain", fmt::format("{}, epoch {}, {} {}", hex(picture.domain_id), picture.epoch,
                                     origin.is_snapshot ? "saved in" : "at", origin.place));
  text +=
      line("daemon", origin.daemon_version.empty() ? "version not known"
                                                   : "resmgrd " + printable(origin.daemon_version));
  text += line("layout", fmt::format("{}.{}", picture.layout_major, picture.layout_minor));
  text += line("resources", use_text(picture.resource_use));
  text += line("clients",
               use_text(picture.client_use) + (origin.is_snapshot ? "" : " (this one counted)"));
  text += line("contexts", use_text(picture.context_use));
  text +=
      line("waits", fmt::format("{} kept; {} waiting", use_text(picture.wait_use), picture.waits));
  text += line("shared holds", use_text(picture.cell_use) + " kept");
  text += line("holds", fmt::format("{}", picture.holds));
  text += line("deadlocks",
               fmt::format("{} broken, {} late victims", picture.deadlocks, picture.late_victims));
  text += line("order inversions", fmt::format("{}", picture.order_inversions));
  text += line("resident", size_text(picture.resident_bytes));
  return text;
}

std::string show_diagnosis(const Diagnosis& diagnosis, bool json) {
  if (json) {
    Json findings = Json::array();
    for (const Finding& finding : diagnosis.findings) findings.push_back(json_of(finding));
    Json notes = Json::array();
    for (const Finding& note : diagnosis.notes) notes.push_back(json_of(note));
    return dump({{"healthy", diagnosis.findings.empty() && diagnosis.untold.empty()},
                 {"findings", std::move(findings)},
                 {"notes", std::move(notes)},
                 {"untold", diagnosis.untold},
                 {"resources", diagnosis.resources},
                 {"looks", diagnosis.looks}});
  }
  std::string text;
  for (const Finding& finding : diagnosis.findings) text += finding_text(finding);
  for (const Finding& note : diagnosis.notes) text += finding_text(note);
  for (const std::string& untold : diagnosis.untold) text += "can't tell " + untold + '\n';
  const std::string looked =
      fmt::format("{} resources, {} looks", diagnosis.resources, diagnosis.looks);
  if (!diagnosis.findings.empty()) {
    return text + fmt::format("{} findings ({})\n", diagnosis.findings.size(), looked);
  }
  return text + (diagnosis.untold.empty() ? "healthy" : "nothing found") + " (" + looked + ")\n";
}

std::string show_saved(const std::string& path, const SnapshotSize& size, bool json) {
  if (json) return dump({{"file", path}, {"bytes", size.bytes}, {"pages", size.pages}});
  return fmt::format("saved in {}: {}\n", path, size_text(size.bytes));
}

}  // namespace resmgrctl
