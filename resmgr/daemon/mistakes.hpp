// SPDX-License-Identifier: Apache-2.0
//
// Mistakes: what is wrong with a configuration file, each with its place and a reason to act on.
//
// What it is: a bounded list that reading goes on with, so that all that is wrong with a file is
// told in one go. What it is not: an Error; nothing has failed, the file is no good. Lifetime and
// thread-safety: plain values.
//
//   mistakes.add(key.place, "'" + name + "' is no key" + did_you_mean(name, known));
//   for (const Mistake& mistake : std::move(mistakes).in_order()) ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace resmgr::daemon {

/// In a text; both count from 1, columns in characters. 0: the text as a whole.
struct Place {
  std::uint32_t line = 0;
  std::uint32_t column = 0;

  friend auto operator<=>(const Place&, const Place&) noexcept = default;
};

struct Mistake {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::string reason;  ///< one line, without a line break
};

/// As people and editors know it: FILE:LINE:COLUMN: REASON.
[[nodiscard]] std::string located(const Mistake& mistake, std::string_view file);

class Mistakes {
 public:
  /// More than anybody mends before he tries again.
  static constexpr std::size_t kMost = 100;

  /// Control characters that `reason` quotes from the file become '?'. Beyond kMost, dropped.
  void add(Place place, std::string reason);
  [[nodiscard]] bool is_empty() const noexcept { return mistakes_.empty(); }
  [[nodiscard]] bool is_full() const noexcept { return mistakes_.size() >= kMost; }
  /// By place.
  [[nodiscard]] std::vector<Mistake> in_order() &&;

 private:
  std::vector<Mistake> mistakes_;
};

/// "; did you mean 'x'?" with that of `known` which is spelt nearly so; empty where none is.
[[nodiscard]] std::string did_you_mean(std::string_view text,
                                       std::span<const std::string_view> known);

}  // namespace resmgr::daemon
