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
#include <string_view>
#include <variant>
#include <vector>

namespace demo {

inline constexpr std::uint32_t kMaxPool = 64;

/// What a process of a served demo does.
enum class Role { Coordinator, Timer, Dma, Checker };
/// For people, and for the command line.
[[nodiscard]] std::string_view role_name(Role role) noexcept;

/// Where another process of a served demo finds itself.
struct Place {
  Role role = Role::Coordinator;
  std::string socket = {};  ///< of resmgrd
};

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
  bool served = false;              ///< drivers in processes of their own
  std::string resmgrd = "resmgrd";  ///< the program; looked for in PATH
  Place place = {};
};

/// The options, or the status to end with: for --help and --version, which print to standard
/// output, and for words that make no sense, after a line to standard error.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

/// The command line of another process of the demo, without its program.
[[nodiscard]] std::vector<std::string> words_for_role(const Options& options, const Place& place);

}  // namespace demo
