// SPDX-License-Identifier: Apache-2.0
//
// TomlTable: a TOML text as a tree that knows where each part of it stands.
//
// What it is: the whole of what this project uses of its TOML library, which takes long to compile
// and is therefore included by one file alone. Where the text is not TOML, the statement at fault
// is reported and left out, so that what is wrong with the rest is found in the same go. What it is
// not: a meaning; that is given by whoever reads the tree. Lifetime and thread-safety: plain
// values.
//
//   Mistakes mistakes;
//   for (const TomlMember& section : parse_toml(text, mistakes)) ...
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "resmgr/daemon/mistakes.hpp"

namespace resmgr::daemon {

struct TomlValue;
struct TomlMember;
using TomlList = std::vector<TomlValue>;
/// Each name once; in the order of names.
using TomlTable = std::vector<TomlMember>;

struct TomlValue {
  Place place;
  /// std::monostate stands for a date or a time.
  std::variant<std::monostate, bool, std::int64_t, double, std::string, TomlList, TomlTable>
      content;

  /// What it is, for people: "a string", "an array".
  [[nodiscard]] std::string_view kind() const noexcept;
};

struct TomlMember {
  std::string name;
  Place place;  ///< of the name; of a table that has a heading: of that
  TomlValue value;
};

/// The root of the tree, less what `mistakes` tells of. Letters beyond ASCII are refused but in
/// comments and as escape sequences; in a 'literal' string they become a backslash with others.
[[nodiscard]] TomlTable parse_toml(std::string_view text, Mistakes& mistakes);

}  // namespace resmgr::daemon
