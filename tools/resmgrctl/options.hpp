// SPDX-License-Identifier: Apache-2.0
//
// Options: resmgrctl's command line.
//
// What it is: the verb and its words, checked as far as that needs no domain. What it is not:
// state. Lifetime and thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "resmgr/base/budgets.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/budget/profile.hpp"
#include "tools/resmgrctl/source.hpp"

namespace resmgrctl {

enum class Verb : std::uint8_t {
  Status,
  List,
  Show,
  Holders,
  Waiters,
  Graph,
  Doctor,
  Snapshot,
  PolicyCheck,
  Platform,
  Budget,
  Stats,
  Bottlenecks,
  Health,
  Share,
  Revoke,
  Repair,
  Unpoison,
  Drain,
  SetBudget,
};
/// Whether it changes something, for which the daemon is asked.
[[nodiscard]] constexpr bool is_operation(Verb verb) noexcept { return verb >= Verb::Share; }

/// Whether it tells of the domain as a whole; see print_stats.hpp.
[[nodiscard]] constexpr bool is_observation(Verb verb) noexcept {
  return verb >= Verb::Stats && verb <= Verb::Health;
}

/// Which resources `list` shows, and what `stats` tells of: those that are all of it.
struct Filter {
  std::optional<std::string> driver = {};  ///< of the owner
  std::optional<std::string> type = {};    ///< as to_string() names it
  std::optional<std::string> class_name = {};
  std::optional<std::string> state = {};  ///< likewise
  bool held = false;
  bool waiting = false;
};

enum class GraphFormat : std::uint8_t { DotText, SvgImage, JsonObject };

struct Options {
  Verb verb = Verb::Status;
  Where where = {};
  bool json = false;
  Filter filter = {};
  std::optional<std::string> resource = {};      ///< show, holders, waiters, operations
  std::string driver = {};                       ///< share, revoke, drain, budget; empty: every one
  resmgr::Rights rights = resmgr::Rights::None;  ///< share
  bool all = false;                              ///< revoke: every driver's
  bool cancel = false;                           ///< drain
  std::optional<std::uint32_t> timeout_ms = {};  ///< drain; none: as long as it takes
  resmgr::ResourceType budget_type = resmgr::ResourceType::Memory;  ///< budget set
  resmgr::ResourceBudget budget = {};                               ///< likewise
  GraphFormat format = GraphFormat::DotText;
  std::uint32_t most = 10;                                  ///< bottlenecks
  std::uint32_t long_wait_ms = 1000;                        ///< health
  std::uint32_t between_ms = 100;                           ///< doctor, snapshot
  std::string file = {};                                    ///< snapshot, policy check
  std::optional<resmgr::budget::ProfileKind> profile = {};  ///< platform; none: the fitting one
};

/// The options, or the status to end with: for --help and --version, which print to standard
/// output, and for words that make no sense, after a line to standard error.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace resmgrctl
