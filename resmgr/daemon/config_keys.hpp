// SPDX-License-Identifier: Apache-2.0
//
// Keys: the table of all that a configuration file may say.
//
// What it is: for each section its keys, and for each key where its value goes, what it may be and
// what it is good for. Reading, the search for misspelt keys, and the test of the manual page and
// of the example all go by this one table. What it is not: relations between values; see
// config_checks.hpp. Lifetime and thread-safety: constants.
//
//   for (const Key<Limits>& key : limits_keys()) ...
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "resmgr/daemon/config.hpp"

namespace resmgr::daemon {

/// Where in a section's values a key's value goes.
template <typename Section, typename T>
using Field = T& (*)(Section&);

/// What a key's value may be.
namespace setting {

template <typename S>
struct Flag {
  Field<S, bool> field;
};
template <typename S>
struct Count {
  Field<S, std::uint32_t> field;
  std::uint32_t least;
  std::uint32_t most;
};
/// A capacity has its range from capacity_ranges().
template <typename S>
struct Capacity {
  std::uint32_t Capacities::* member;
  Field<S, Capacities> field;
};
/// An integer, or a text with a unit: "64KiB".
template <typename S>
struct Amount {
  Field<S, std::uint64_t> field;
  std::uint64_t least;
};
/// A text with a unit: "100ms".
template <typename S>
struct Duration {
  Field<S, std::chrono::nanoseconds> field;
  std::chrono::nanoseconds least;
  std::chrono::nanoseconds most;
};
/// A text; `complaint` says what is wrong with one, nothing if it is fine.
template <typename S>
struct Text {
  Field<S, std::string> field;
  std::string_view (*complaint)(std::string_view text);
};
/// Permissions of a file, as a text in octal.
template <typename S>
struct Mode {
  Field<S, std::uint32_t> field;
};
/// One of some words, by its place among them.
template <typename S>
struct Choice {
  void (*choose)(S&, std::size_t index);
  std::span<const std::string_view> words;
};
/// Several of some words; each is given once.
template <typename S>
struct Choices {
  void (*choose)(S&, std::size_t index);
  std::span<const std::string_view> words;
};
template <typename S>
struct Patterns {
  Field<S, std::vector<std::string>> field;
};
template <typename S>
struct User {
  Field<S, std::optional<uid_t>> field;
};
template <typename S>
struct Group {
  Field<S, std::optional<gid_t>> field;
};
template <typename S>
struct Users {
  Field<S, std::vector<uid_t>> field;
};
template <typename S>
struct Groups {
  Field<S, std::vector<gid_t>> field;
};

template <typename S>
using Any =
    std::variant<Flag<S>, Count<S>, Capacity<S>, Amount<S>, Duration<S>, Text<S>, Mode<S>,
                 Choice<S>, Choices<S>, Patterns<S>, User<S>, Group<S>, Users<S>, Groups<S>>;

}  // namespace setting

template <typename Section>
struct Key {
  std::string_view name;
  setting::Any<Section> setting;
  std::string_view help;  ///< what it is, in half a line
  bool required = false;
};

[[nodiscard]] std::span<const Key<DomainConfig>> domain_keys() noexcept;
[[nodiscard]] std::span<const Key<SocketConfig>> socket_keys() noexcept;
[[nodiscard]] std::span<const Key<Limits>> limits_keys() noexcept;
[[nodiscard]] std::span<const Key<Grace>> grace_keys() noexcept;
[[nodiscard]] std::span<const Key<Operators>> operators_keys() noexcept;
[[nodiscard]] std::span<const Key<AttachRule>> attach_keys() noexcept;
[[nodiscard]] std::span<const Key<DriverRule>> driver_keys() noexcept;
[[nodiscard]] std::span<const Key<BudgetRule>> budget_keys() noexcept;
[[nodiscard]] std::span<const Key<LogConfig>> log_keys() noexcept;

/// A section with the names of its keys.
struct SectionNames {
  std::string_view name;
  bool repeats;  ///< a rule: [[name]]
  std::vector<std::string_view> keys;
};
[[nodiscard]] const std::vector<SectionNames>& config_sections();

}  // namespace resmgr::daemon
