// SPDX-License-Identifier: Apache-2.0
//
// resmgrctl: the operator's view of a domain that resmgrd serves.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "tools/resmgrctl/budget.hpp"
#include "tools/resmgrctl/doctor.hpp"
#include "tools/resmgrctl/failure.hpp"
#include "tools/resmgrctl/graph.hpp"
#include "tools/resmgrctl/operate.hpp"
#include "tools/resmgrctl/options.hpp"
#include "tools/resmgrctl/picture.hpp"
#include "tools/resmgrctl/platform.hpp"
#include "tools/resmgrctl/policy.hpp"
#include "tools/resmgrctl/print.hpp"
#include "tools/resmgrctl/print_stats.hpp"
#include "tools/resmgrctl/source.hpp"
#include "tools/resmgrctl/status.hpp"

namespace resmgrctl {
namespace {

/// What a verb has to say, and the status to end with.
struct Answer {
  std::string text;
  int status = kDone;
};

std::chrono::milliseconds between(const Options& options) {
  return std::chrono::milliseconds(options.between_ms);
}

Outcome<Answer> doctor(Source& source, const Options& options) {
  const auto diagnosis = diagnose(source, between(options));
  if (!diagnosis) return std::unexpected(diagnosis.error());
  Answer answer{.text = show_diagnosis(*diagnosis, options.json)};
  if (!diagnosis->findings.empty()) {
    answer.status = kFound;
  } else if (!diagnosis->untold.empty()) {
    answer.status = kCantTell;
  }
  return answer;
}

Outcome<Answer> save(Source& source, const Options& options) {
  const auto first = source.look();
  if (!first) return std::unexpected(first.error());
  std::this_thread::sleep_for(between(options));
  const auto second = source.look();
  if (!second) return std::unexpected(second.error());
  const auto size = write_snapshot(options.file, *first, *second, source.origin());
  if (!size) return std::unexpected(size.error());
  return Answer{.text = show_saved(options.file, *size, options.json)};
}

Outcome<Answer> graph(const Picture& picture, const Options& options) {
  if (options.json || options.format == GraphFormat::JsonObject) {
    return Answer{.text = to_graph_json(picture)};
  }
  std::string dot = to_dot(picture);
  if (options.format == GraphFormat::DotText) return Answer{.text = std::move(dot)};
  auto svg = to_svg(dot);
  if (!svg) return std::unexpected(svg.error());
  return Answer{.text = std::move(*svg)};
}

Outcome<Answer> show(const Picture& picture, const Origin& origin, const Options& options) {
  const Resource* only = nullptr;
  if (options.resource) {
    const auto found = resource_named(*options.resource, picture);
    if (!found) return std::unexpected(found.error());
    only = *found;
  }
  switch (options.verb) {
    case Verb::List:
      return Answer{.text = show_list(picture, origin, options.filter, options.json)};
    case Verb::Show:
      return Answer{.text = show_resource(*only, picture, options.json)};
    case Verb::Holders:
      return Answer{.text = show_holders(picture, only, options.json)};
    case Verb::Waiters:
      return Answer{.text = show_waiters(picture, only, options.json)};
    case Verb::Graph:
      return graph(picture, options);
    default:
      return Answer{.text = show_status(picture, origin, options.json)};
  }
}

Outcome<Answer> observe(const Look& look, const Options& options) {
  auto shown = options.verb == Verb::Stats    ? show_stats(look, options)
               : options.verb == Verb::Health ? Outcome<Shown>(show_health(look, options))
                                              : Outcome<Shown>(show_bottlenecks(look, options));
  if (!shown) return std::unexpected(shown.error());
  return Answer{.text = std::move(shown->text), .status = shown->status};
}

Answer platform(const Options& options) {
  const auto found = resmgr::budget::detect_platform();
  const auto kind = options.profile.value_or(resmgr::budget::fitting_profile(found));
  const auto profile = resmgr::budget::make_profile(kind, found);
  return Answer{.text = show_platform(found, profile, options.json)};
}

Outcome<Answer> answer(const Options& options) {
  if (options.verb == Verb::PolicyCheck) {
    auto check = check_policy(options.file, options.json);
    if (!check) return std::unexpected(check.error());
    return Answer{.text = std::move(check->text), .status = check->is_good ? kDone : kFound};
  }
  if (options.verb == Verb::Platform) return platform(options);
  const auto source = open_source(options.where);
  if (!source) return std::unexpected(source.error());
  if (options.verb == Verb::Doctor) return doctor(**source, options);
  if (options.verb == Verb::Snapshot) return save(**source, options);
  if (is_operation(options.verb)) {
    auto done = operate(**source, options);
    if (!done) return std::unexpected(done.error());
    return Answer{.text = std::move(done->text), .status = done->is_whole ? kDone : kFound};
  }
  const auto look = (*source)->look();
  if (!look) return std::unexpected(look.error());
  if (options.verb == Verb::Budget) {
    auto text = show_budgets(*look, options);
    if (!text) return std::unexpected(text.error());
    return Answer{.text = std::move(*text)};
  }
  if (is_observation(options.verb)) return observe(*look, options);
  return show(Picture::of(*look), (*source)->origin(), options);
}

int run(int argc, const char* const* argv) {
  const auto parsed = parse_options(argc, argv);
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  const auto answered = answer(std::get<Options>(parsed));
  if (!answered) {
    fmt::print(stderr, "resmgrctl: {}\n", answered.error().text);
    return kCantTell;
  }
  fmt::print("{}", answered->text);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    fmt::print(stderr, "resmgrctl: standard output can't be written\n");
    return kCantTell;
  }
  return answered->status;
}

}  // namespace
}  // namespace resmgrctl

int main(int argc, char** argv) {
  try {
    return resmgrctl::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "resmgrctl: %s\n", error.what());
    return resmgrctl::kCantTell;
  }
}
