// SPDX-License-Identifier: Apache-2.0
//
// The command line of a benchmark program, and its two outputs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/bench/harness.hpp"

namespace bench {
namespace {

/// Rounds, and microseconds of a batch.
constexpr unsigned kMost = 1'000'000;

constexpr auto kRow = "{:<38} {:>9} {:>9}  {:<6} {:>7} {:>12}  {}\n";

std::string describe(std::span<const Benchmark> benchmarks) {
  std::string text = "Benchmarks:\n";
  for (const Benchmark& benchmark : benchmarks) {
    text += fmt::format("  {} [{}]\n", benchmark.name, benchmark.unit);
    text += fmt::format("      {}\n", benchmark.about);
    if (!benchmark.peer.empty()) text += fmt::format("      peer: {}\n", benchmark.peer);
    if (!benchmark.target.empty()) text += fmt::format("      target: {}\n", benchmark.target);
  }
  return text;
}

std::string shown(const std::optional<double>& number) {
  return number ? fmt::format("{:.4g}", *number) : "-";
}

void print(const Run& run) {
  for (const Figure& figure : run.figures()) {
    fmt::print(kRow, figure.name, shown(figure.value), shown(figure.peer_value), figure.unit,
               shown(figure.ratio), figure.spread, figure.target);
  }
  for (const std::string& note : run.notes()) fmt::print("    {}\n", note);
  std::fflush(stdout);
}

template <typename T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

nlohmann::ordered_json to_json(const Figure& figure) {
  return {{"name", figure.name},
          {"value", figure.value},
          {"unit", figure.unit},
          {"peer", or_null(figure.peer)},
          {"peer_value", or_null(figure.peer_value)},
          {"ratio", or_null(figure.ratio)}};
}

/// Runs one benchmark and adds its figures to `results`. Returns false if it failed.
bool run_one(const Benchmark& benchmark, const Sampling& sampling,
             nlohmann::ordered_json& results) {
  Run run(benchmark, sampling);
  try {
    benchmark.run(run);
  } catch (const Skip& reason) {
    fmt::print("{}: skipped: {}\n", benchmark.name, reason.what());
    return true;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: failed: {}\n", benchmark.name, error.what());
    return false;
  }
  print(run);
  for (const Figure& figure : run.figures()) results.push_back(to_json(figure));
  return true;
}

}  // namespace

int run_benchmarks(int argc, char** argv, const std::string& about,
                   std::span<const Benchmark> benchmarks) {
  Sampling sampling;
  std::string json;
  std::string filter;
  std::int64_t batch_us =
      std::chrono::duration_cast<std::chrono::microseconds>(sampling.batch).count();
  bool list = false;

  CLI::App app(about);
  app.footer(describe(benchmarks));
  app.add_option("--json", json, "write a list of {name, value, unit, peer, peer_value, ratio}");
  app.add_option("--filter", filter, "run those whose name has a match of this regular expression");
  app.add_option("--rounds", sampling.rounds, "pairs of batches, peer and ours, of each comparison")
      ->check(CLI::Range(1u, kMost))
      ->capture_default_str();
  app.add_option("--batch-us", batch_us, "length of a batch, in microseconds")
      ->check(CLI::Range(1u, kMost))
      ->capture_default_str();
  app.add_flag("--list", list, "say what there is, and measure nothing");
  CLI11_PARSE(app, argc, argv);
  if (list) {
    fmt::print("{}", describe(benchmarks));
    return 0;
  }
  sampling.batch = std::chrono::microseconds(batch_us);

  std::regex wanted;
  try {
    wanted = std::regex(filter);
  } catch (const std::regex_error& error) {
    fmt::print(stderr, "--filter: {}\n", error.what());
    return 2;
  }
  fmt::print(kRow, "name", "ours", "peer", "unit", "ratio", "quartiles", "target");
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  bool fine = true;
  for (const Benchmark& benchmark : benchmarks) {
    if (!std::regex_search(std::string(benchmark.name), wanted)) continue;
    fine = run_one(benchmark, sampling, results) && fine;
  }
  if (!json.empty()) {
    std::ofstream file(json);
    file << results.dump(2) << '\n';
    if (!file.flush()) {
      fmt::print(stderr, "{}: can't be written\n", json);
      return 1;
    }
  }
  return fine ? 0 : 1;
}

}  // namespace bench
