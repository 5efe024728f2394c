// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/config_keys.hpp"

#include <sys/un.h>

#include <array>
#include <climits>
#include <cstddef>

#include "resmgr/abi/layout.h"
#include "resmgr/abi/names.hpp"
#include "resmgr/abi/wire.h"
#include "resmgr/daemon/name_pattern.hpp"

namespace resmgr::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kMillion = 1'000'000;
constexpr std::uint32_t kPriorities = 5;

template <auto Member>
struct Of;
template <typename S, typename T, T S::* Member>
struct Of<Member> {
  static T& get(S& section) noexcept { return section.*Member; }
};
/// The Field of a direct member.
template <auto Member>
constexpr auto kField = &Of<Member>::get;

template <typename Rule>
std::vector<uid_t>& users_of(Rule& rule) noexcept {
  return rule.whom.users;
}
template <typename Rule>
std::vector<gid_t>& groups_of(Rule& rule) noexcept {
  return rule.whom.groups;
}

template <typename E, std::size_t N>
std::array<std::string_view, N> words_of() noexcept {
  std::array<std::string_view, N> words{};
  for (std::size_t i = 0; i < N; ++i) words[i] = to_string(static_cast<E>(i));
  return words;
}
std::span<const std::string_view> type_words() noexcept {
  static const auto words = words_of<ResourceType, kResourceTypes>();
  return words;
}
std::span<const std::string_view> priority_words() noexcept {
  static const auto words = words_of<ResourcePriority, kPriorities>();
  return words;
}
// In the order of OrderPolicy and of LogLevel.
constexpr std::array<std::string_view, 3> kPolicyWords{"off", "warn", "refuse"};
// In the order of ProfileChoice.
constexpr std::array<std::string_view, 7> kProfileWords{"none",   "auto",  "tiny",  "small",
                                                        "medium", "large", "static"};
constexpr std::array<std::string_view, 3> kLevelWords{"info", "warning", "error"};

std::string_view domain_name_complaint(std::string_view text) {
  if (is_valid_tag(text) && !text.contains('/') && !text.starts_with('.')) return {};
  return "must be 1 to 31 letters of [A-Za-z0-9._-], the first one no '.'";
}

std::string_view pattern_complaint(std::string_view text) {
  if (is_pattern(text)) return {};
  return "must be 1 to 31 letters of [A-Za-z0-9._/-], with '*' at the end for all that begin so";
}

/// No backslash: see parse_toml().
bool is_file_path(std::string_view text) noexcept {
  return text.starts_with('/') && !text.ends_with('/') &&
         text.find_first_of(std::string_view("\0\\", 2)) == std::string_view::npos;
}

std::string_view socket_path_complaint(std::string_view text) {
  // The terminating zero counts.
  if (text.size() >= sizeof(sockaddr_un::sun_path)) return "must not be longer than 107 bytes";
  if (text.empty() || is_file_path(text)) return {};
  return "must be the absolute path of a file, without a backslash, or empty";
}

std::string_view audit_path_complaint(std::string_view text) {
  if (text.size() >= PATH_MAX) return "must not be longer than 4095 bytes";
  if (text.empty() || is_file_path(text)) return {};
  return "must be the absolute path of a file, without a backslash, or empty";
}

}  // namespace

std::span<const Key<DomainConfig>> domain_keys() noexcept {
  using Capacity = setting::Capacity<DomainConfig>;
  constexpr auto kIn = kField<&DomainConfig::capacities>;
  static const auto keys = std::to_array<Key<DomainConfig>>({
      {"name", setting::Text<DomainConfig>{kField<&DomainConfig::name>, domain_name_complaint},
       "what clients know the domain by"},
      {"slots", Capacity{&Capacities::slots, kIn}, "resources at a time"},
      {"contexts", Capacity{&Capacities::contexts, kIn}, "contexts at a time"},
      {"clients", Capacity{&Capacities::clients, kIn}, "clients at a time"},
      {"nodes", Capacity{&Capacities::nodes, kIn}, "waits at a time"},
      {"cells", Capacity{&Capacities::cells, kIn}, "shared holds at a time"},
      {"classes", Capacity{&Capacities::classes, kIn}, "classes ever named, and one"},
      {"drivers", Capacity{&Capacities::drivers, kIn}, "drivers ever named, and one"},
      {"pairs", Capacity{&Capacities::pairs, kIn}, "pairs of metadata at a time"},
      {"dependencies", Capacity{&Capacities::dependencies, kIn}, "dependencies at a time"},
      {"shares", Capacity{&Capacities::shares, kIn}, "shares at a time"},
      {"compact_handles", setting::Flag<DomainConfig>{kField<&DomainConfig::compact_handles>},
       "whether handles fit into 32 bits"},
      {"order_policy",
       setting::Choice<DomainConfig>{[](DomainConfig& domain, std::size_t index) {
                                       domain.order_policy = static_cast<OrderPolicy>(index);
                                     },
                                     kPolicyWords},
       "what happens when classes are acquired against their known order"},
      {"profile",
       setting::Choice<DomainConfig>{[](DomainConfig& domain, std::size_t index) {
                                       domain.profile = static_cast<budget::ProfileChoice>(index);
                                     },
                                     kProfileWords},
       "what tables and budgets are like where nothing else is said"},
      {"observe_memory", setting::Flag<DomainConfig>{kField<&DomainConfig::observe_memory>},
       "whether scarce memory around the daemon is pressure"},
  });
  return keys;
}

std::span<const Key<SocketConfig>> socket_keys() noexcept {
  using S = SocketConfig;
  static const auto keys = std::to_array<Key<S>>({
      {"path", setting::Text<S>{kField<&S::path>, socket_path_complaint}, "where clients connect"},
      {"mode", setting::Mode<S>{kField<&S::mode>}, "permissions of the socket"},
      {"owner", setting::User<S>{kField<&S::owner>}, "the user that the socket belongs to"},
      {"group", setting::Group<S>{kField<&S::group>}, "the group that the socket belongs to"},
  });
  return keys;
}

std::span<const Key<Limits>> limits_keys() noexcept {
  using Count = setting::Count<Limits>;
  static const auto keys = std::to_array<Key<Limits>>({
      {"drivers", Count{kField<&Limits::drivers>, 1, RM_MAX_DRIVERS - 1},
       "drivers that a client may be"},
      {"resources", Count{kField<&Limits::resources>, 0, kMaxSlots},
       "resources that a client may own"},
      {"requests_in_flight", Count{kField<&Limits::requests_in_flight>, 1, kMillion},
       "requests of a client that are answered before others have their turn"},
      {"bytes_queued", setting::Amount<Limits>{kField<&Limits::bytes_queued>, RM_WIRE_MAX_FRAME},
       "bytes for a client that it has not taken yet"},
      {"fds", Count{kField<&Limits::fds>, 0, kMillion},
       "descriptors kept behind the resources of a client"},
      {"clients_per_uid", Count{kField<&Limits::clients_per_uid>, 1, RM_MAX_CLIENTS},
       "clients of one user"},
      {"hello_deadline", setting::Duration<Limits>{kField<&Limits::hello_deadline>, 10ms, 1h},
       "how long after it connected a client has to introduce itself"},
  });
  return keys;
}

std::span<const Key<Grace>> grace_keys() noexcept {
  using Duration = setting::Duration<Grace>;
  static const auto keys = std::to_array<Key<Grace>>({
      {"owner", Duration{kField<&Grace::owner>, 0ms, 24h},
       "how long resources outlive their owner, to be adopted"},
      {"quiesce", Duration{kField<&Grace::quiesce>, 1ms, 1h},
       "how long an owner has to stop its hardware"},
      {"quiesce_attempts", setting::Count<Grace>{kField<&Grace::quiesce_attempts>, 1, 1000},
       "how often it is asked before the resource counts as poisoned"},
      {"quiesce_backoff", Duration{kField<&Grace::quiesce_backoff>, 0ms, 1h},
       "pause before it is asked again, doubled each time"},
      {"client_restart", Duration{kField<&Grace::client_restart>, 10ms, 1h},
       "how long clients have to connect again after the daemon restarted"},
  });
  return keys;
}

std::span<const Key<Operators>> operators_keys() noexcept {
  using S = Operators;
  static const auto keys = std::to_array<Key<S>>({
      {"users", setting::Users<S>{users_of<S>}, "users that are operators"},
      {"groups", setting::Groups<S>{groups_of<S>}, "groups whose users are operators"},
  });
  return keys;
}

std::span<const Key<AttachRule>> attach_keys() noexcept {
  using S = AttachRule;
  static const auto keys = std::to_array<Key<S>>({
      {"users", setting::Users<S>{users_of<S>}, "users that the rule is about"},
      {"groups", setting::Groups<S>{groups_of<S>}, "groups that the rule is about"},
      {"allow", setting::Flag<S>{kField<&S::allow>}, "whether they may attach"},
  });
  return keys;
}

std::span<const Key<DriverRule>> driver_keys() noexcept {
  using S = DriverRule;
  static const auto keys = std::to_array<Key<S>>({
      {"name", setting::Text<S>{kField<&S::name>, pattern_complaint},
       "pattern of the drivers that the rule is about", true},
      {"users", setting::Users<S>{users_of<S>}, "users that may be such a driver"},
      {"groups", setting::Groups<S>{groups_of<S>}, "groups that may be such a driver"},
      {"types",
       setting::Choices<S>{[](S& rule, std::size_t index) {
                             rule.types.push_back(static_cast<ResourceType>(index));
                           },
                           type_words()},
       "types of the resources that it may register"},
      {"classes", setting::Patterns<S>{kField<&S::classes>},
       "patterns of the classes that it may register"},
      {"may_register", setting::Flag<S>{kField<&S::may_register>},
       "whether it may register resources"},
      {"max_resources", setting::Count<S>{kField<&S::max_resources>, 1, kMaxSlots},
       "resources that it may own"},
      {"max_priority",
       setting::Choice<S>{[](S& rule, std::size_t index) {
                            rule.max_priority = static_cast<ResourcePriority>(index);
                          },
                          priority_words()},
       "highest priority that it may give a resource"},
      {"emergency", setting::Flag<S>{kField<&S::emergency>},
       "whether it may acquire in emergency mode"},
  });
  return keys;
}

std::span<const Key<BudgetRule>> budget_keys() noexcept {
  using S = BudgetRule;
  static const auto keys = std::to_array<Key<S>>({
      {"driver", setting::Text<S>{kField<&S::driver>, pattern_complaint},
       "pattern of the drivers that have it; without it all have it together"},
      {"type",
       setting::Choice<S>{
           [](S& rule, std::size_t index) { rule.type = static_cast<ResourceType>(index); },
           type_words()},
       "type of the resources that count", true},
      {"max", setting::Amount<S>{kField<&S::max>, 1},
       "amount that is exceeded in emergencies alone", true},
      {"reserved", setting::Amount<S>{kField<&S::reserved>, 0},
       "part of it that is kept for emergencies"},
      {"warning", setting::Count<S>{kField<&S::warning>, 1, 100},
       "percent of it at which pressure begins"},
      {"critical", setting::Count<S>{kField<&S::critical>, 1, 100},
       "percent of it at which pressure is high"},
  });
  return keys;
}

std::span<const Key<LogConfig>> log_keys() noexcept {
  using S = LogConfig;
  static const auto keys = std::to_array<Key<S>>({
      {"level",
       setting::Choice<S>{
           [](S& log, std::size_t index) { log.level = static_cast<LogLevel>(index); },
           kLevelWords},
       "least severe messages that are logged"},
      {"audit", setting::Text<S>{kField<&S::audit>, audit_path_complaint},
       "file that refusals and changes of ownership are written to"},
      {"rate_limit", setting::Count<S>{kField<&S::rate_limit>, 1, kMillion},
       "lines that are logged a second"},
  });
  return keys;
}

const std::vector<SectionNames>& config_sections() {
  const auto names = [](std::string_view section, bool repeats, const auto& keys) {
    SectionNames result{section, repeats, {}};
    for (const auto& key : keys) result.keys.push_back(key.name);
    return result;
  };
  static const std::vector<SectionNames> sections{
      names("domain", false, domain_keys()),
      names("socket", false, socket_keys()),
      names("limits", false, limits_keys()),
      names("grace", false, grace_keys()),
      names("operators", false, operators_keys()),
      names("attach", true, attach_keys()),
      names("driver", true, driver_keys()),
      names("budget", true, budget_keys()),
      names("log", false, log_keys()),
  };
  return sections;
}

}  // namespace resmgr::daemon
