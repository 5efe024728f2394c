// SPDX-License-Identifier: Apache-2.0
#include "tools/demo/options.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <hal/version.hpp>

#include "drivers/gpu/layout.hpp"
#include "tools/demo/status.hpp"

namespace demo {
namespace {

constexpr std::uint32_t kMaxRateHz = 100'000;
// With two, each side would wait for the frame that the other one leaves last.
constexpr std::uint32_t kMinPool = 3;

constexpr const char* kAbout =
    "Moves a file through the drivers: the timer paces, the DMA engine copies frame by frame into "
    "a\n"
    "small pool of GPU buffers, and a checker compares the CRC32C of each frame with the file's.\n"
    "Every timer, channel and buffer is acquired, shared and released through the resource "
    "manager.";

constexpr const char* kStatus =
    "An empty file has no frames, which is fine. The last frame may be a part of one.\n"
    "Acquire latencies are those of requests that were granted at once, two readings of the clock\n"
    "included; requests that had to wait are told apart. Quantiles are at most 1/32 too high.\n"
    "Status: 0 all is well; 1 a CRC is wrong, something leaked, a process ended badly, or a\n"
    "refusal did not come; 2 it could not run.";

constexpr std::array<std::pair<std::string_view, Role>, 4> kRoles{
    {{"coordinator", Role::Coordinator},
     {"timer driver", Role::Timer},
     {"DMA driver", Role::Dma},
     {"checker", Role::Checker}}};

}  // namespace

std::string_view role_name(Role role) noexcept {
  return std::ranges::find(kRoles, role, &std::pair<std::string_view, Role>::second)->first;
}

std::vector<std::string> words_for_role(const Options& options, const Place& place) {
  std::vector<std::string> words{"--role",    std::string(role_name(place.role)),
                                 "--socket",  place.socket,
                                 "--input",   options.input,
                                 "--width",   std::to_string(options.width),
                                 "--height",  std::to_string(options.height),
                                 "--pool",    std::to_string(options.pool),
                                 "--hiccups", std::to_string(options.hiccups_percent),
                                 "--seed",    std::to_string(options.seed)};
  if (options.corrupt_frame) {
    words.insert(words.end(), {"--corrupt-frame", std::to_string(*options.corrupt_frame)});
  }
  return words;
}

std::variant<Options, int> parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app(kAbout, "resmgr-demo");
  app.footer(kStatus);
  app.option_defaults()->take_last();
  const auto& version = hal::kVersion;
  app.set_version_flag("--version",
                       fmt::format("{}.{}.{}", version.major, version.minor, version.patch));

  app.add_option("--input", options.input, "the file to move (else: this program)")
      ->type_name("FILE");
  app.add_option("--frames", options.frames,
                 "how many; starts over where the file ends (else: the file once)")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--rate", options.rate_hz, "frames a second; 0: as fast as it goes")
      ->type_name("HZ")
      ->check(CLI::Range(0u, kMaxRateHz))
      ->capture_default_str();
  app.add_option("--width", options.width, "pixels of a line, four bytes each")
      ->type_name("PIXELS")
      ->check(CLI::Range(1u, drivers::gpu::kMaxSide))
      ->capture_default_str();
  app.add_option("--height", options.height, "lines of a frame")
      ->type_name("LINES")
      ->check(CLI::Range(1u, drivers::gpu::kMaxSide))
      ->capture_default_str();
  app.add_option("--pool", options.pool, "frame buffers")
      ->type_name("N")
      ->check(CLI::Range(kMinPool, kMaxPool))
      ->capture_default_str();
  app.add_option("--hiccups", options.hiccups_percent,
                 "at so many frames, by chance, the checker is 10 ms late")
      ->type_name("PERCENT")
      ->check(CLI::Range(0u, 100u))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of that chance")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--corrupt-frame", options.corrupt_frame,
                 "flips one byte of frame N (from 0) in the buffer to show that the check works")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--show-deadlock", options.show_deadlock,
               "provokes a deadlock and an inverted lock order: both are refused");
  app.add_flag("--json", options.json, "one JSON object on standard output, and nothing else");
  app.add_flag("--served", options.served,
               "each driver in a process of its own, around a resmgrd of their own; the DMA\n"
               "driver is killed half-way through, and restarted");
  app.add_option("--resmgrd", options.resmgrd, "the program that serves them")
      ->type_name("PROGRAM")
      ->capture_default_str();
  // For the processes that it starts.
  const std::map<std::string, Role> roles(kRoles.begin(), kRoles.end());
  app.add_option("--role", options.place.role)->transform(CLI::Transformer(roles))->group("");
  app.add_option("--socket", options.place.socket)->group("");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kSuccess : kCouldNotRun;
  }
  return options;
}

}  // namespace demo
