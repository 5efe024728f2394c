// SPDX-License-Identifier: Apache-2.0
//
// Name patterns: the names of drivers and classes that a rule is about.
//
// What it is: a name, or the beginning of one with '*' behind it; '*' alone stands for all. What it
// is not: a glob of the shell; '*' is the last letter or none. Lifetime and thread-safety: pure
// functions.
//
//   if (is_pattern("dma-*") && pattern_matches("dma-*", driver)) ...
#pragma once

#include <string_view>

#include "resmgr/abi/names.hpp"

namespace resmgr::daemon {

[[nodiscard]] constexpr bool is_open_pattern(std::string_view pattern) noexcept {
  return pattern.ends_with('*');
}

/// What each matching name begins with, or is.
[[nodiscard]] constexpr std::string_view pattern_stem(std::string_view pattern) noexcept {
  return pattern.substr(0, pattern.size() - (is_open_pattern(pattern) ? 1 : 0));
}

/// Whether a valid name of a driver or class could match it.
[[nodiscard]] inline bool is_pattern(std::string_view text) noexcept {
  const std::string_view stem = pattern_stem(text);
  return is_valid_tag(stem) || (is_open_pattern(text) && stem.empty());
}

[[nodiscard]] constexpr bool pattern_matches(std::string_view pattern,
                                             std::string_view name) noexcept {
  const std::string_view stem = pattern_stem(pattern);
  return is_open_pattern(pattern) ? name.starts_with(stem) : name == stem;
}

/// Whether `wide` matches all that `narrow` does.
[[nodiscard]] constexpr bool pattern_covers(std::string_view wide,
                                            std::string_view narrow) noexcept {
  // An open one of which the other begins with; of a name, only the same name.
  return pattern_matches(wide, pattern_stem(narrow)) &&
         (is_open_pattern(wide) || !is_open_pattern(narrow));
}

/// Whether any name matches both.
[[nodiscard]] constexpr bool patterns_meet(std::string_view a, std::string_view b) noexcept {
  return pattern_matches(a, pattern_stem(b)) || pattern_matches(b, pattern_stem(a));
}

}  // namespace resmgr::daemon
