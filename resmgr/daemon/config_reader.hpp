// SPDX-License-Identifier: Apache-2.0
//
// SectionReader: takes the values of one section out of a TOML tree, by the table of its keys.
//
// What it is: the check of each value by itself: its type, its range, the spelling of its key. A
// value that is no good leaves the default, and is reported. What it is not: relations between
// values; see config_checks.hpp. Lifetime: borrows the tree, of which Given keeps pointers.
// Thread-safety: one thread.
//
//   ReadContext context{.mistakes = mistakes, .accounts = accounts};
//   Given given = read_section("[limits]", heading, table, limits_keys(), config.limits, context);
//   if (const TomlMember* drivers = given.find("drivers")) ...
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/daemon/accounts.hpp"
#include "resmgr/daemon/config_keys.hpp"
#include "resmgr/daemon/mistakes.hpp"
#include "resmgr/daemon/toml_document.hpp"

namespace resmgr::daemon {

struct ReadContext {
  Mistakes& mistakes;
  Accounts& accounts;
  bool whole = true;  ///< nothing was left out of the tree: what it lacks, the file lacks
};

/// The keys of a section that have a good value in the file.
class Given {
 public:
  explicit Given(Place heading = {}) noexcept : heading_(heading) {}
  void add(const TomlMember& member) { members_.push_back(&member); }

  /// Null if the file doesn't say it.
  [[nodiscard]] const TomlMember* find(std::string_view name) const noexcept {
    for (const TomlMember* member : members_) {
      if (member->name == name) return member;
    }
    return nullptr;
  }
  [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }
  [[nodiscard]] Place heading() const noexcept { return heading_; }

  /// Something of the section has been reported: what it says as a whole is not known.
  void spoil() noexcept { whole_ = false; }
  [[nodiscard]] bool is_whole() const noexcept { return whole_; }

 private:
  Place heading_;
  bool whole_ = true;
  std::vector<const TomlMember*> members_;
};

/// Reads what `table`, under the heading `title` ("[limits]") at `heading`, says into `section`.
template <typename Section>
[[nodiscard]] Given read_section(std::string_view title, Place heading, const TomlTable& table,
                                 std::span<const Key<Section>> keys, Section& section,
                                 ReadContext& context);

/// "; it is one of [limits]" for the name of a key; empty for other texts.
[[nodiscard]] std::string belongs_to(std::string_view name);
/// Text for people: "'slots'", shortened if it is long.
[[nodiscard]] std::string quoted(std::string_view text);
/// In the largest unit that divides it: "100ms".
[[nodiscard]] std::string duration_text(std::chrono::nanoseconds duration);

}  // namespace resmgr::daemon
