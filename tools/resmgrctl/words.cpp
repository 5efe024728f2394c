// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/words.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "resmgr/abi/layout.h"
#include "resmgr/base/budgets.hpp"
#include "resmgr/lock/engine.hpp"

namespace resmgrctl {

std::string time_text(std::uint64_t ns) {
  const auto time = static_cast<double>(ns);
  if (ns < 10'000) return fmt::format("{} ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.1f} us", time / 1e3);
  if (ns < 1'000'000'000) return fmt::format("{:.1f} ms", time / 1e6);
  if (ns < 120'000'000'000) return fmt::format("{:.1f} s", time / 1e9);
  return fmt::format("{:.0f} min", time / 60e9);
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; size >= 1024 && unit + 1 < kUnits.size(); ++unit) size /= 1024;
  return fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string amount_text(resmgr::ResourceType type, std::uint64_t amount) {
  if (amount == resmgr::kUnlimited) return "-";
  return type == resmgr::ResourceType::Memory ? size_text(amount) : fmt::format("{}", amount);
}

std::string hex(std::uint64_t bits) { return fmt::format("{:#018x}", bits); }

std::string printable(std::string_view text) {
  std::string shown(text);
  std::ranges::replace_if(shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

std::string_view mode_text(std::uint8_t mode) {
  switch (mode) {
    case RM_WAIT_EXCLUSIVE:
      return "exclusive";
    case RM_WAIT_SHARED:
      return "shared";
    case RM_WAIT_UPGRADE:
      return "upgrade";
    default:
      return "unknown";
  }
}

std::string_view kind_text(resmgr::HoldKind kind) {
  return kind == resmgr::HoldKind::Shared ? "shared" : "exclusive";
}

std::string_view process_text(Process process) {
  switch (process) {
    case Process::Alive:
      return "alive";
    case Process::Gone:
      return "gone";
    default:
      return "unknown";
  }
}

std::string priority_text(std::uint16_t priority) {
  const bool emergency = priority >= resmgr::lock::kEmergencyRank;
  const auto plain = static_cast<resmgr::ResourcePriority>(
      emergency ? priority - resmgr::lock::kEmergencyRank : priority);
  return (emergency ? "emergency " : "") + std::string(resmgr::to_string(plain));
}

std::vector<std::string> rights_names(resmgr::Rights rights) {
  using resmgr::Rights;
  constexpr std::array<std::pair<Rights, const char*>, 4> kNames{{{Rights::Acquire, "acquire"},
                                                                  {Rights::Read, "read"},
                                                                  {Rights::Write, "write"},
                                                                  {Rights::Share, "share"}}};
  std::vector<std::string> names;
  for (const auto& [right, name] : kNames) {
    if (has(rights, right)) names.emplace_back(name);
  }
  return names;
}

std::vector<std::string> flag_names(resmgr::ResourceFlags flags) {
  using resmgr::ResourceFlags;
  constexpr std::array<std::pair<ResourceFlags, const char*>, 8> kNames{
      {{ResourceFlags::Shareable, "shareable"},
       {ResourceFlags::ExclusiveOnly, "exclusive-only"},
       {ResourceFlags::Persistent, "persistent"},
       {ResourceFlags::Transient, "transient"},
       {ResourceFlags::Lazy, "lazy"},
       {ResourceFlags::Pinned, "pinned"},
       {ResourceFlags::Aggregate, "aggregate"},
       {ResourceFlags::Restricted, "restricted"}}};
  std::vector<std::string> names;
  for (const auto& [flag, name] : kNames) {
    if (has(flags, flag)) names.emplace_back(name);
  }
  return names;
}

std::string joined(const std::vector<std::string>& texts, std::string_view between) {
  return fmt::format("{}", fmt::join(texts, between));
}

std::string who_text(const Who& who) {
  const std::string driver = who.driver.empty() ? "no driver" : printable(who.driver);
  const char* const gone = who.process == Process::Gone ? ", gone" : "";
  return fmt::format("{} (pid {}{}, context {})", driver, who.pid, gone, who.context);
}

std::string Table::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace resmgrctl
