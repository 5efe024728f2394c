// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/toml_document.hpp"

// All of it in this file: the shared library of the distribution throws.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// toml++ 3.3 takes for granted that a key begins with what may begin one, and then looks whether it
// does: "[!]" would be an abort, or in a release whatever the compiler makes of a promise broken.
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT_ASSUME(condition) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ranges>
#include <utility>

namespace resmgr::daemon {
namespace {

Place place_of(const toml::source_region& region) noexcept {
  return {region.begin.line, region.begin.column};
}

TomlTable copy_of(const toml::table& table);

TomlValue copy_of(const toml::node& node) {
  TomlValue copy{.place = place_of(node.source()), .content = {}};
  if (const auto* table = node.as_table()) copy.content = copy_of(*table);
  if (const auto* list = node.as_array()) {
    TomlList items;
    items.reserve(list->size());
    for (const toml::node& item : *list) items.push_back(copy_of(item));
    copy.content = std::move(items);
  }
  if (const auto* text = node.as_string()) copy.content = text->get();
  if (const auto* integer = node.as_integer()) copy.content = integer->get();
  if (const auto* number = node.as_floating_point()) copy.content = number->get();
  if (const auto* boolean = node.as_boolean()) copy.content = boolean->get();
  return copy;
}

TomlTable copy_of(const toml::table& table) {
  TomlTable copy;
  copy.reserve(table.size());
  for (const auto& [key, node] : table) {
    copy.push_back({std::string(key.str()), place_of(key.source()), copy_of(node)});
  }
  return copy;
}

constexpr bool is_ascii(char letter) noexcept { return static_cast<unsigned char>(letter) < 0x80; }

/// The text with letters beyond ASCII made what TOML refuses everywhere but in comments and in
/// 'literal' strings, where a backslash remains. The library (3.3) is lost when it meets some of
/// them outside of strings.
std::string in_ascii(std::string_view text) {
  std::string result(text);
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) result.replace(0, kByteOrderMark.size(), 3, ' ');
  for (auto at = result.begin(); at != result.end();) {
    at = std::find_if_not(at, result.end(), is_ascii);
    const auto end = std::find_if(at, result.end(), is_ascii);
    // No escape sequence is "\z". One byte alone is no UTF-8, and becomes a control character.
    std::fill(at, end, end - at == 1 ? '\x01' : 'z');
    if (end - at > 1) *at = '\\';
    at = end;
  }
  return result;
}

/// A text that statements are taken out of; what remains keeps its lines.
class Statements {
 public:
  explicit Statements(std::string_view text) : text_(in_ascii(text)) {
    starts_.push_back(0);
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '\n') starts_.push_back(i + 1);
    }
  }

  [[nodiscard]] std::string_view text() const noexcept { return text_; }

  /// A line (from 0) of the text that this one was made from.
  [[nodiscard]] std::string_view line_of(std::string_view original, std::size_t line) const {
    const std::string_view rest = original.substr(starts_[line]);
    return rest.substr(0, rest.find('\n'));
  }

  /// The line (from 0) of the statement that makes the text end to be TOML at line `noticed`: the
  /// line itself, or that of an earlier value that doesn't end.
  [[nodiscard]] std::size_t culprit(std::size_t noticed) const {
    std::vector<std::size_t> candidates;
    for (std::size_t line = 0; line < noticed; ++line) {
      if (begins(line) != Begin::Nothing) candidates.push_back(line);
    }
    candidates.push_back(noticed);
    // All before the culprit is TOML, and what is cut off within its value is not.
    const auto beyond = std::ranges::partition_point(candidates, [&](std::size_t line) {
      return toml::parse(std::string_view(text_).substr(0, starts_[line])).succeeded();
    });
    // The empty text before line 0 always is.
    return beyond == candidates.begin() ? 0 : *std::prev(beyond);
  }

  /// Takes out the statement that begins at a line; with a heading, all that stands under it.
  /// Returns false if nothing is there.
  bool erase(std::size_t line) {
    const Begin kind = begins(line);
    bool erased = false;
    do {
      const std::size_t end = line + 1 < starts_.size() ? starts_[line + 1] - 1 : text_.size();
      for (std::size_t i = starts_[line]; i < end; ++i) {
        erased = erased || text_[i] != ' ';
        text_[i] = ' ';
      }
      ++line;
    } while (line < starts_.size() && begins(line) != Begin::Heading &&
             (kind == Begin::Heading || begins(line) == Begin::Nothing));
    return erased;
  }

 private:
  enum class Begin { Nothing, Key, Heading };

  /// By its looks: '[x' and '[[x' are headings, a letter begins a key. Entries of an array that
  /// stand on lines of their own begin with quotes, digits or brackets.
  [[nodiscard]] Begin begins(std::size_t line) const {
    std::string_view rest = line_of(text_, line);
    const auto skip = [&rest](std::string_view letters) {
      const std::size_t count = std::min(rest.find_first_not_of(letters), rest.size());
      rest.remove_prefix(count);
      return count;
    };
    skip(" \t");
    const bool bracket = skip("[") > 0;
    skip(" \t");
    const bool letter = !rest.empty() && (rest[0] == '_' || (rest[0] >= 'a' && rest[0] <= 'z') ||
                                          (rest[0] >= 'A' && rest[0] <= 'Z'));
    if (!letter) return Begin::Nothing;
    return bracket ? Begin::Heading : Begin::Key;
  }

  std::string text_;
  std::vector<std::size_t> starts_;  ///< of the lines
};

}  // namespace

std::string_view TomlValue::kind() const noexcept {
  // In the order of `content`.
  constexpr std::array<std::string_view, 7> kKinds{"a date or time", "true or false", "an integer",
                                                   "a fraction",     "a string",      "an array",
                                                   "a table"};
  return kKinds[content.index()];
}

TomlTable parse_toml(std::string_view text, Mistakes& mistakes) {
  Statements statements(text);
  while (true) {
    const toml::parse_result result = toml::parse(statements.text());
    if (result) return copy_of(result.table());
    const Place noticed = place_of(result.error().source());
    std::string reason(result.error().description());
    if (noticed.line == 0) {
      mistakes.add(noticed, std::move(reason));
      return {};
    }
    const std::size_t culprit = statements.culprit(noticed.line - 1);
    Place place = noticed;
    if (culprit + 1 != noticed.line) {
      place = {.line = static_cast<std::uint32_t>(culprit + 1), .column = 1};
      reason.insert(0,
                    "what begins here has no end; in line " + std::to_string(noticed.line) + ": ");
    }
    if (!std::ranges::all_of(statements.line_of(text, noticed.line - 1), is_ascii)) {
      reason += "; letters beyond ASCII stand in comments, in strings write \\uXXXX";
    }
    mistakes.add(place, std::move(reason));
    if (mistakes.is_full() || !statements.erase(culprit)) return {};
  }
}

}  // namespace resmgr::daemon
