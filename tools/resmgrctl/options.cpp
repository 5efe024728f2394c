// SPDX-License-Identifier: Apache-2.0
#include "tools/resmgrctl/options.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "resmgr/base/types.hpp"
#include "tools/resmgrctl/status.hpp"
#include "tools/resmgrctl/words.hpp"

namespace resmgrctl {
namespace {

using resmgr::Lifecycle;
using resmgr::ResourceType;
using resmgr::Rights;

constexpr const char* kAbout =
    "Shows a domain of resources that resmgrd serves: who holds, who waits and for whom, and what "
    "is\nwrong. Operators change it, too.";

constexpr const char* kStatus =
    "Status: 0 done, and nothing is wrong; 1 doctor or policy check found something, drain has "
    "holders\nleft, or health is degraded; 2 it could not be done, or can't be told; 3 health is "
    "critical.";

// The names of an enumeration that is numbered from 0.
template <typename Enum>
std::vector<std::string> names_of(std::uint8_t count) {
  std::vector<std::string> names;
  names.reserve(count);
  for (std::uint8_t value = 0; value < count; ++value) {
    names.emplace_back(to_string(static_cast<Enum>(value)));
  }
  return names;
}

constexpr std::uint8_t kStates = static_cast<std::uint8_t>(Lifecycle::Quarantined) + 1;
constexpr std::uint32_t kMaxBetweenMs = 60'000;
constexpr std::string_view kUnlimitedText = "unlimited";

GraphFormat format_of(const std::string& name) {
  if (name == "svg") return GraphFormat::SvgImage;
  return name == "json" ? GraphFormat::JsonObject : GraphFormat::DotText;
}

/// As rights_names() names them, or all; None: that is no right.
Rights rights_of(const std::string& name) {
  if (name == "all") return Rights::All;
  for (const Rights right : {Rights::Acquire, Rights::Read, Rights::Write, Rights::Share}) {
    if (rights_names(right).front() == name) return right;
  }
  return Rights::None;
}

class Parser {
 public:
  explicit Parser(Options& options) : options_(options) {
    app_.footer(kStatus);
    app_.set_version_flag("--version", "resmgrctl " RESMGR_VERSION);
    app_.require_subcommand(1);
    app_.get_formatter()->column_width(32);
    add_status();
    add_list();
    add_show();
    add_people("holders", Verb::Holders, "who holds what: driver, process, context, age");
    add_people("waiters", Verb::Waiters, "who waits for what and since when, and for whom");
    add_graph();
    add_doctor();
    add_snapshot();
    add_policy();
    add_platform();
    add_budget();
    add_stats();
    add_bottlenecks();
    add_health();
    add_share();
    add_revoke();
    add_repair();
    add_unpoison();
    add_drain();
  }

  [[nodiscard]] std::optional<int> parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? kDone : kCantTell;
    }
    return std::nullopt;
  }

 private:
  CLI::App* add_verb(CLI::App& parent, const char* name, Verb verb, const char* about) {
    CLI::App* const app = parent.add_subcommand(name, about);
    app->option_defaults()->take_last();
    app->callback([this, verb] { options_.verb = verb; });
    return app;
  }
  void add_json(CLI::App& app) {
    app.add_flag("--json", options_.json, "one JSON object on standard output, and nothing else");
  }
  void add_live(CLI::App& app) {
    add_json(app);
    auto* const domain =
        app.add_option("--domain", options_.where.domain, "which one of this machine")
            ->type_name("NAME")
            ->capture_default_str();
    app.add_option("--socket", options_.where.socket, "where its resmgrd listens")
        ->type_name("PATH")
        ->excludes(domain);
  }
  void add_where(CLI::App& app) {
    add_live(app);
    app.add_option("--snapshot", options_.where.snapshot, "a file of 'snapshot', not a live domain")
        ->type_name("FILE")
        ->excludes(app.get_option("--domain"))
        ->excludes(app.get_option("--socket"));
  }
  void add_between(CLI::App& app) {
    app.add_option("--between", options_.between_ms, "time between its looks")
        ->type_name("MS")
        ->check(CLI::Range(1u, kMaxBetweenMs))
        ->capture_default_str();
  }

  void add_status() {
    add_where(*add_verb(app_, "status", Verb::Status, "the domain, and how much of it is used"));
  }
  void add_list() {
    CLI::App& list = *add_verb(app_, "list", Verb::List, "its resources");
    Filter& filter = options_.filter;
    list.add_option("--driver", filter.driver, "those that this driver owns")->type_name("D");
    list.add_option("--type", filter.type, "those of this type")
        ->type_name("T")
        ->check(CLI::IsMember(names_of<ResourceType>(resmgr::kResourceTypes)));
    list.add_option("--class", filter.class_name, "those of this class")->type_name("C");
    list.add_option("--state", filter.state, "those in this state")
        ->type_name("S")
        ->check(CLI::IsMember(names_of<Lifecycle>(kStates)));
    list.add_flag("--held", filter.held, "those that somebody holds");
    list.add_flag("--waiting", filter.waiting, "those that somebody waits for");
    add_where(list);
  }
  void add_show() {
    CLI::App& show = *add_verb(app_, "show", Verb::Show, "everything about one resource");
    show.add_option("NAME", options_.resource, "its name")->required();
    add_where(show);
  }
  void add_people(const char* name, Verb verb, const char* about) {
    CLI::App& people = *add_verb(app_, name, verb, about);
    people.add_option("NAME", options_.resource, "of this resource alone");
    add_where(people);
  }
  void add_graph() {
    CLI::App& graph =
        *add_verb(app_, "graph", Verb::Graph, "waits, holds, dependencies and uses as a graph");
    graph
        .add_option_function<std::string>(
            "--format", [this](const std::string& name) { options_.format = format_of(name); },
            "which language; svg needs Graphviz")
        ->type_name("FORMAT")
        ->check(CLI::IsMember(std::vector<std::string>{"dot", "svg", "json"}))
        ->default_str("dot");
    add_where(graph);
  }
  void add_doctor() {
    CLI::App& doctor = *add_verb(app_, "doctor", Verb::Doctor, "what is wrong with it");
    add_between(doctor);
    add_where(doctor);
  }
  void add_snapshot() {
    CLI::App& snapshot = *add_verb(app_, "snapshot", Verb::Snapshot, "saves it for later");
    snapshot.add_option("FILE", options_.file, "where to")->required();
    add_between(snapshot);
    add_live(snapshot);
  }
  void add_policy() {
    CLI::App& policy = *app_.add_subcommand("policy", "the configuration of resmgrd");
    policy.require_subcommand(1);
    CLI::App& check =
        *add_verb(policy, "check", Verb::PolicyCheck, "all mistakes of a configuration file");
    check.add_option("FILE", options_.file, "the file")->required();
    add_json(check);
  }

  void add_platform() {
    CLI::App& platform = *add_verb(app_, "platform", Verb::Platform,
                                   "what this machine has, and what fits a domain on it");
    platform
        .add_option_function<std::string>(
            "--profile",
            [this](const std::string& name) {
              options_.profile = resmgr::budget::profile_named(name);
            },
            "which one (default: what fits its memory)")
        ->type_name("NAME")
        ->check(
            CLI::IsMember(names_of<resmgr::budget::ProfileKind>(resmgr::budget::kProfileKinds)));
    add_json(platform);
  }

  void add_budget() {
    CLI::App& budget =
        *add_verb(app_, "budget", Verb::Budget, "what drivers may have, and what they have");
    budget.require_subcommand(0, 1);
    // After that of its own subcommand.
    budget.callback([this, &budget] {
      if (budget.get_subcommands().empty()) options_.verb = Verb::Budget;
    });
    budget.add_option("--driver", options_.driver, "of this driver alone")->type_name("D");
    add_where(budget);
    CLI::App& set = *add_verb(budget, "set", Verb::SetBudget, "limits what there may be of a type");
    set.add_option_function<std::string>(
           "TYPE",
           [this](const std::string& name) {
             for (unsigned i = 0; i < resmgr::kResourceTypes; ++i) {
               const auto type = static_cast<ResourceType>(i);
               if (to_string(type) == name) options_.budget_type = type;
             }
           },
           "of which type")
        ->required()
        ->check(CLI::IsMember(names_of<ResourceType>(resmgr::kResourceTypes)));
    set.add_option_function<std::string>(
           "MAX", [this](const std::string& text) { options_.budget.max = amount_of(text); },
           "how much, as 64KiB is; or unlimited")
        ->required()
        ->check(amount_complaint);
    set.add_option_function<std::string>(
           "--reserved",
           [this](const std::string& text) { options_.budget.reserved = amount_of(text); },
           "how much of it for emergencies alone")
        ->type_name("AMOUNT")
        ->check(amount_complaint);
    set.add_option("--warning", options_.budget.warning_percent, "percent where it is scarce")
        ->type_name("PERCENT")
        ->check(CLI::Range(1, 100));
    set.add_option("--critical", options_.budget.critical_percent, "percent where it is urgent")
        ->type_name("PERCENT")
        ->check(CLI::Range(1, 100));
    set.add_option("--driver", options_.driver, "of this driver; else of all together")
        ->type_name("D");
    add_live(set);
  }
  static std::string amount_complaint(const std::string& text) {
    if (text == kUnlimitedText) return {};
    std::string bytes = text;
    return CLI::AsSizeValue(false)(bytes);
  }
  // REQUIRES: amount_complaint() has none.
  static std::uint64_t amount_of(const std::string& text) {
    if (text == kUnlimitedText) return resmgr::kUnlimited;
    std::string bytes = text;
    (void)CLI::AsSizeValue(false)(bytes);
    return std::stoull(bytes);
  }
  void add_stats() {
    CLI::App& stats =
        *add_verb(app_, "stats", Verb::Stats, "counts and waiting times by type and driver");
    stats.add_option("--driver", options_.filter.driver, "of what this driver owns")
        ->type_name("D");
    stats.add_option("--type", options_.filter.type, "of this type")
        ->type_name("T")
        ->check(CLI::IsMember(names_of<ResourceType>(resmgr::kResourceTypes)));
    add_where(stats);
  }
  void add_bottlenecks() {
    CLI::App& bottlenecks =
        *add_verb(app_, "bottlenecks", Verb::Bottlenecks, "which resources cost the most waiting");
    bottlenecks.add_option("--most", options_.most, "how many of them")
        ->type_name("N")
        ->capture_default_str();
    add_where(bottlenecks);
  }
  void add_health() {
    CLI::App& health = *add_verb(app_, "health", Verb::Health, "what speaks against its health");
    health.add_option("--long-wait", options_.long_wait_ms, "from where on a wait is a long one")
        ->type_name("MS")
        ->capture_default_str();
    add_where(health);
  }

  CLI::App& add_operation(const char* name, Verb verb, const char* about) {
    CLI::App& operation = *add_verb(app_, name, verb, about);
    operation.add_option("NAME", options_.resource, "its name")->required();
    return operation;
  }
  void add_share() {
    CLI::App& share = add_operation("share", Verb::Share, "gives a driver rights on a resource");
    share.add_option("DRIVER", options_.driver, "who gets them")->required();
    share
        .add_option_function<std::vector<std::string>>(
            "RIGHTS",
            [this](const std::vector<std::string>& names) {
              for (const std::string& name : names) {
                options_.rights = options_.rights | rights_of(name);
              }
            },
            "acquire, read, write, share or all, with commas between them")
        ->required()
        ->delimiter(',')
        ->check([](const std::string& name) {
          return rights_of(name) == Rights::None ? "'" + name + "' is no right" : std::string();
        });
    add_live(share);
  }
  void add_revoke() {
    CLI::App& revoke = add_operation("revoke", Verb::Revoke, "takes rights on a resource back");
    auto* const driver = revoke.add_option("DRIVER", options_.driver, "who has them");
    revoke.add_flag("--all", options_.all, "those of every driver")->excludes(driver);
    revoke.callback([this] {
      options_.verb = Verb::Revoke;
      if (options_.driver.empty() != options_.all) {
        throw CLI::ValidationError("revoke", "names a DRIVER, or --all");
      }
    });
    add_live(revoke);
  }
  void add_repair() {
    add_live(add_operation("repair", Verb::Repair, "puts a damaged resource right"));
  }

  void add_unpoison() {
    add_live(add_operation("unpoison", Verb::Unpoison,
                           "says that the hardware behind a resource is quiet"));
  }
  void add_drain() {
    CLI::App& drain =
        *add_verb(app_, "drain", Verb::Drain, "lets nobody acquire any more what a driver owns");
    drain.add_option("DRIVER", options_.driver, "the owner")->required();
    auto* const cancel = drain.add_flag("--cancel", options_.cancel, "lets everybody again");
    drain
        .add_option("--timeout", options_.timeout_ms,
                    "how long to wait until nobody holds any (default: as long as it takes)")
        ->type_name("MS")
        ->excludes(cancel);
    add_live(drain);
  }

  Options& options_;
  CLI::App app_{kAbout, "resmgrctl"};
};

}  // namespace

std::variant<Options, int> parse_options(int argc, const char* const* argv) {
  Options options;
  Parser parser(options);
  if (const auto status = parser.parse(argc, argv)) return *status;
  return options;
}

}  // namespace resmgrctl
