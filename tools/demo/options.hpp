// SPDX-License-Identifier: Apache-2.0
//
// Options: the demo's command line.
//
// What it is: the values, checked against each other as far as that needs no file. What it is not:
// state. Lifetime and thread-safety: a plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace demo {

struct Options {
  std::string input = "/proc/self/exe";
  std::optional<std::uint64_t> frames = {};  ///< empty: the file once
  std::uint32_t rate_hz = 1000;              ///< 0: as fast as it goes
  std::uint32_t width = 128;                 ///< pixels of four bytes
  std::uint32_t height = 128;                ///< lines
  std::uint32_t pool = 4;                    ///< frame buffers
  std::uint32_t hiccups_percent = 2;         ///< of the frames
  std::uint64_t seed = 1;                    ///< of the hiccups
  std::optional<std::uint64_t> corrupt_frame = {};
  bool show_deadlock = false;
  bool json = false;
};

/// The options, or the status to end with: for --help and --version, which print to standard
/// output, and for words that make no sense, after a line to standard error.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace demo
