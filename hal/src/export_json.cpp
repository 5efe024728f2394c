// SPDX-License-Identifier: Apache-2.0
//
// A resource as one JSON object.
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <hal/resource_manager.hpp>

#include <nlohmann/json.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"

namespace hal {

namespace {

// Sixteen hexadecimal digits: JSON numbers lose what is beyond 53 bits.
std::string hex(std::uint64_t bits) {
  std::array<char, 19> text{};
  std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(bits));
  return text.data();
}

// Names are ASCII by construction, values may be any bytes: what is not UTF-8 is replaced.
std::string in_quotes(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// An object or array in the making, from items that are JSON already. Not nlohmann's tree, which
/// allocates when it is destroyed: want of memory would end the process there.
class Items {
 public:
  [[nodiscard]] static Items object() { return Items('{', '}'); }
  [[nodiscard]] static Items array() { return Items('[', ']'); }

  Items& add(std::string_view item) {
    if (text_.size() > 1) text_ += ',';
    text_ += item;
    return *this;
  }
  Items& add(std::string_view key, std::string_view item) {
    return add(in_quotes(key).append(1, ':').append(item));
  }
  [[nodiscard]] std::string text() const { return text_ + close_; }

 private:
  Items(char open, char close) : text_(1, open), close_(close) {}

  std::string text_;
  char close_;
};

std::string text_of(const Participant& who) {
  return Items::object()
      .add("context", std::to_string(who.context))
      .add("pid", std::to_string(who.pid))
      .add("driver", in_quotes(who.driver.data()))
      .add("kind", in_quotes(who.kind == HoldKind::Shared ? "shared" : "exclusive"))
      .add("held_ns", std::to_string(who.held_ns))
      .text();
}

std::string text_of(const ResourceStats& counted) {
  return Items::object()
      .add("exclusive_acquisitions", std::to_string(counted.exclusive_acquisitions))
      .add("shared_acquisitions", std::to_string(counted.shared_acquisitions))
      .add("contended", std::to_string(counted.contended))
      .add("longest_wait_ns", std::to_string(counted.longest_wait_ns))
      .add("sampled_hold_ns", std::to_string(counted.sampled_hold_ns))
      .add("waiting", std::to_string(counted.waiting))
      .text();
}

std::string text_of(Rights rights) {
  constexpr std::array<std::pair<Rights, std::string_view>, 4> kNames{{
      {Rights::Acquire, "acquire"},
      {Rights::Read, "read"},
      {Rights::Write, "write"},
      {Rights::Share, "share"},
  }};
  Items names = Items::array();
  for (const auto& [right, name] : kNames) {
    if (has(rights, right)) names.add(in_quotes(name));
  }
  return names.text();
}

std::string edge(std::string_view kind, std::string_view from, std::string_view to) {
  return Items::object()
      .add("kind", in_quotes(kind))
      .add("from", in_quotes(from))
      .add("to", in_quotes(to))
      .text();
}

/// Whom a resource is shared with, and its part of the graph.
struct Relations {
  Items shares = Items::array();
  Items users = Items::array();  ///< those of them that have resources, and so keep this one
  Items edges = Items::array();
};

Result<Relations> relations_of(const resmgr::client::Domain& domain, Handle handle,
                               std::string_view name) {
  const auto& view = domain.view();
  auto needs = domain.read_settled([&](const auto& v) { return v.needs(handle); });
  if (!needs) return std::unexpected(std::move(needs.error()));
  auto shares = domain.read_settled([&](const auto& v) { return v.shares(handle); });
  if (!shares) return std::unexpected(std::move(shares.error()));
  Relations to;
  for (const Handle needed : *needs) {
    if (const auto entry = view.read(needed)) to.edges.add(edge("needs", name, entry->name_text()));
  }
  for (const resmgr::registry::ShareCopy& share : *shares) {
    const std::string driver = domain.driver_name(share.driver);
    to.edges.add(edge("uses", driver, name));
    to.shares.add(Items::object()
                      .add("driver", in_quotes(driver))
                      .add("rights", text_of(share.rights))
                      .text());
    if (view.drivers().resources(share.driver) != 0) to.users.add(in_quotes(driver));
  }
  return to;
}

}  // namespace

Result<std::string> ResourceManager::export_json(Handle handle) const {
  return guard("export_json", [&]() -> Result<std::string> {
    auto described = info(handle);
    if (!described) return std::unexpected(std::move(described.error()));
    auto counted = get_resource_stats(handle);
    if (!counted) return std::unexpected(std::move(counted.error()));
    auto order = teardown_order(handle);
    if (!order) return std::unexpected(std::move(order.error()));
    auto relations = relations_of(*domain_, handle, described->name);
    if (!relations) return std::unexpected(std::move(relations.error()));

    const ResourceMetadata& metadata = described->metadata;
    Items pairs = Items::object();
    for (const auto& [key, value] : metadata.pairs) pairs.add(key, in_quotes(value));
    Items holders = Items::array();
    for (const Participant& who : counted->holders) holders.add(text_of(who));
    Items needs = Items::array();
    for (const Handle needed : *order) {
      if (needed == handle) continue;
      if (const auto entry = domain_->view().read(needed)) needs.add(in_quotes(entry->name_text()));
    }
    return Items::object()
        .add("schema", std::to_string(1))
        .add("handle", in_quotes(hex(handle.bits())))
        .add("name", in_quotes(described->name))
        .add("type", in_quotes(to_string(metadata.type)))
        .add("class", in_quotes(metadata.class_name))
        .add("state", in_quotes(to_string(described->state)))
        .add("owner", in_quotes(described->owner_name))
        .add("size_bytes", std::to_string(metadata.size_bytes))
        .add("alignment", std::to_string(metadata.alignment))
        .add("access_pattern", in_quotes(to_string(metadata.access_pattern)))
        .add("priority", in_quotes(to_string(metadata.priority)))
        .add("flags", std::to_string(static_cast<std::uint32_t>(metadata.flags)))
        .add("numa_node", std::to_string(metadata.numa_node))
        .add("cookie", in_quotes(hex(described->cookie)))
        .add("age_ns", std::to_string(described->age_ns))
        .add("has_fd", described->has_fd ? "true" : "false")
        .add("metadata", pairs.text())
        .add("needs", needs.text())
        .add("edges", relations->edges.text())
        .add("shares", relations->shares.text())
        .add("users", relations->users.text())
        .add("holders", holders.text())
        .add("statistics", text_of(*counted))
        .text();
  });
}

}  // namespace hal
