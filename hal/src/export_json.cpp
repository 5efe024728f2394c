// SPDX-License-Identifier: Apache-2.0
//
// A resource as one JSON object.
#include <utility>

#include <hal/resource_manager.hpp>

#include <nlohmann/json.hpp>

#include "resmgr/client/domain.hpp"

namespace hal {

namespace {

// Sixteen hexadecimal digits: JSON numbers lose what is beyond 53 bits.
std::string hex(std::uint64_t bits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = kDigits[bits >> (60 - 4 * i) & 0xf];
  return text;
}

}  // namespace

Result<std::string> ResourceManager::export_json(Handle handle) const {
  auto described = info(handle);
  if (!described) return std::unexpected(std::move(described.error()));
  auto counted = get_resource_stats(handle);
  if (!counted) return std::unexpected(std::move(counted.error()));

  const ResourceMetadata& metadata = described->metadata;
  nlohmann::json pairs = nlohmann::json::object();
  for (const auto& [key, value] : metadata.pairs) pairs[key] = value;
  nlohmann::json holders = nlohmann::json::array();
  for (const Participant& who : counted->holders) {
    holders.push_back({{"context", who.context},
                       {"pid", who.pid},
                       {"driver", who.driver.data()},
                       {"kind", who.kind == HoldKind::Shared ? "shared" : "exclusive"},
                       {"held_ns", who.held_ns}});
  }
  nlohmann::json needs = nlohmann::json::array();
  if (const auto order = teardown_order(handle)) {
    for (const Handle needed : *order) {
      if (needed == handle) continue;
      if (const auto entry = domain_->view().read(needed)) needs.push_back(entry->name_text());
    }
  }
  nlohmann::json to = {
      {"schema", 1},
      {"handle", hex(handle.bits())},
      {"name", described->name},
      {"type", to_string(metadata.type)},
      {"class", metadata.class_name},
      {"state", to_string(described->state)},
      {"owner", described->owner_name},
      {"size_bytes", metadata.size_bytes},
      {"alignment", metadata.alignment},
      {"access_pattern", to_string(metadata.access_pattern)},
      {"priority", to_string(metadata.priority)},
      {"flags", static_cast<std::uint32_t>(metadata.flags)},
      {"numa_node", metadata.numa_node},
      {"cookie", hex(described->cookie)},
      {"age_ns", described->age_ns},
      {"has_fd", described->has_fd},
      {"metadata", std::move(pairs)},
      {"needs", std::move(needs)},
      {"holders", std::move(holders)},
      {"statistics",
       {{"exclusive_acquisitions", counted->exclusive_acquisitions},
        {"shared_acquisitions", counted->shared_acquisitions},
        {"contended", counted->contended},
        {"longest_wait_ns", counted->longest_wait_ns},
        {"sampled_hold_ns", counted->sampled_hold_ns},
        {"waiting", counted->waiting}}}};
  // Names are ASCII by construction, values may be any bytes: what is not UTF-8 is replaced.
  return to.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hal
