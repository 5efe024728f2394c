// SPDX-License-Identifier: Apache-2.0
//
// Config: what resmgrd's one configuration file says.
//
// What it is: plain values, each with its default; a file that says nothing yields Config{}. The
// keys, with their ranges, are listed in config_keys.cpp and explained in resmgrd.toml(5). What it
// is not: a judgement on anybody; see Policy. Lifetime and thread-safety: plain values.
//
//   auto text = load_text("/etc/resmgr/resmgrd.toml");
//   auto [config, mistakes] = read_config(*text, "resmgrd.toml");
//   for (const Mistake& mistake : mistakes) report(mistake.line, mistake.reason);
//   if (mistakes.empty()) run(config);
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/base/budgets.hpp"
#include "resmgr/base/error.hpp"
#include "resmgr/base/log.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/budget/platform.hpp"
#include "resmgr/budget/profile.hpp"
#include "resmgr/daemon/accounts.hpp"
#include "resmgr/daemon/mistakes.hpp"

namespace resmgr::daemon {

/// [domain]
struct DomainConfig {
  std::string name = "main";
  Capacities capacities = {};
  bool compact_handles = false;
  OrderPolicy order_policy = OrderPolicy::Warn;
  /// What tables and budgets are where the file says nothing else; nothing: as is here.
  budget::ProfileChoice profile = budget::ProfileChoice::None;
  bool observe_memory = true;  ///< of control groups and the machine: it is pressure as well

  friend bool operator==(const DomainConfig&, const DomainConfig&) = default;
};

/// [socket]
struct SocketConfig {
  std::string path = {};  ///< absolute; empty: from the name of the domain
  std::uint32_t mode = 0666;
  std::optional<uid_t> owner = {};  ///< none: the daemon's own
  std::optional<gid_t> group = {};  ///< likewise

  friend bool operator==(const SocketConfig&, const SocketConfig&) = default;
};

/// [limits], of each client
struct Limits {
  std::uint32_t drivers = 16;
  std::uint32_t resources = 1u << 20;
  std::uint32_t requests_in_flight = 16;  ///< answered in a row, before others are
  std::uint64_t bytes_queued = 1u << 20;  ///< sent to it and not yet taken
  std::uint32_t fds = 4096;               ///< kept behind its resources
  std::uint32_t clients_per_uid = 32;
  std::chrono::nanoseconds hello_deadline = std::chrono::seconds(5);  ///< from connect to Hello

  friend bool operator==(const Limits&, const Limits&) = default;
};

/// [grace]
struct Grace {
  std::chrono::nanoseconds owner = std::chrono::seconds(10);   ///< orphans wait to be adopted
  std::chrono::nanoseconds quiesce = std::chrono::seconds(2);  ///< an owner has to stop hardware
  std::uint32_t quiesce_attempts = 5;                          ///< then the resource is poisoned
  std::chrono::nanoseconds quiesce_backoff = std::chrono::milliseconds(100);
  /// After a restart of the worker, clients that it had have to connect again.
  std::chrono::nanoseconds client_restart = std::chrono::seconds(5);

  friend bool operator==(const Grace&, const Grace&) = default;
};

/// Whom a rule is about; one that names neither is about everybody.
struct Whom {
  std::vector<uid_t> users = {};
  std::vector<gid_t> groups = {};

  [[nodiscard]] bool is_everybody() const noexcept { return users.empty() && groups.empty(); }
  friend bool operator==(const Whom&, const Whom&) = default;
};

/// [[attach]]
struct AttachRule {
  std::uint32_t line = 0;  ///< of its heading, as of the other rules
  Whom whom = {};
  bool allow = true;

  friend bool operator==(const AttachRule&, const AttachRule&) = default;
};

/// [operators]: those besides root and the daemon's own user; none named: nobody.
struct Operators {
  Whom whom = {};

  friend bool operator==(const Operators&, const Operators&) = default;
};

/// [[driver]]
struct DriverRule {
  std::uint32_t line = 0;
  std::string name = {};  ///< a pattern, see name_pattern.hpp
  Whom whom = {};
  std::vector<ResourceType> types = {};   ///< none named: all
  std::vector<std::string> classes = {};  ///< patterns; none named: all
  bool may_register = true;
  std::uint32_t max_resources = kMaxSlots;
  ResourcePriority max_priority = ResourcePriority::Critical;
  bool emergency = false;

  friend bool operator==(const DriverRule&, const DriverRule&) = default;
};

/// [[budget]]: amounts are bytes of memory, tokens a second of performance, resources of the rest.
struct BudgetRule {
  std::uint32_t line = 0;
  std::string driver = {};  ///< a pattern; each driver that matches has a budget of its own; or
                            ///< empty: all drivers together
  ResourceType type = ResourceType::Hardware;
  std::uint64_t max = 0;
  std::uint64_t reserved = 0;  ///< of `max`, for emergencies
  std::uint32_t warning = 75;  ///< percent of `max`
  std::uint32_t critical = 90;

  [[nodiscard]] ResourceBudget budget() const noexcept {
    return {.max = max,
            .reserved = reserved,
            .warning_percent = static_cast<std::uint8_t>(warning),
            .critical_percent = static_cast<std::uint8_t>(critical)};
  }

  friend bool operator==(const BudgetRule&, const BudgetRule&) = default;
};

/// [log]
struct LogConfig {
  LogLevel level = LogLevel::Info;
  std::string audit = {};          ///< absolute path; empty: no audit file
  std::uint32_t rate_limit = 100;  ///< lines a second

  friend bool operator==(const LogConfig&, const LogConfig&) = default;
};

struct Config {
  std::string file_name = {};  ///< as rules are quoted: "resmgrd.toml:12"
  DomainConfig domain = {};
  SocketConfig socket = {};
  Limits limits = {};
  Grace grace = {};
  Operators operators = {};
  std::vector<AttachRule> attach = {};  ///< rules in the order of the file
  std::vector<DriverRule> drivers = {};
  std::vector<BudgetRule> budgets = {};
  LogConfig log = {};

  friend bool operator==(const Config&, const Config&) = default;
};

struct ConfigResult {
  Config config = {};                  ///< to be used only if there are no mistakes
  std::vector<Mistake> mistakes = {};  ///< all of the file, by line
};

/// Reads the whole file, whatever mistakes are in it; contradictions are looked for in what is TOML
/// from one end to the other. `file_name` is kept for messages. `platform`: what a profile is made
/// for; null: this machine, as it is now.
[[nodiscard]] ConfigResult read_config(std::string_view text, std::string_view file_name,
                                       Accounts& accounts = Accounts::of_system(),
                                       const budget::Platform* platform = nullptr);

/// Larger than any sensible configuration.
inline constexpr std::size_t kMaxConfigBytes = std::size_t{256} << 10;

/// The text of a regular file. Errors: InvalidArgument (it is of another kind, or longer than
/// kMaxConfigBytes), NotPermitted, System.
[[nodiscard]] Result<std::string> load_text(const std::string& path);

}  // namespace resmgr::daemon
