// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/config_reader.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <expected>
#include <limits>
#include <optional>
#include <utility>

#include "resmgr/daemon/name_pattern.hpp"

namespace resmgr::daemon {
namespace {

/// What a value must be instead, as it goes behind "must be".
using Complaint = std::string;
template <typename T>
using Read = std::expected<T, Complaint>;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
// Of time in nanoseconds, of memory in bytes; the largest comes first.
constexpr std::array<Unit, 5> kTimeUnits{
    {{"min", 60'000'000'000}, {"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}, {"ns", 1}}};
constexpr std::array<Unit, 5> kMemoryUnits{{{"TiB", std::uint64_t{1} << 40},
                                            {"GiB", std::uint64_t{1} << 30},
                                            {"MiB", std::uint64_t{1} << 20},
                                            {"KiB", std::uint64_t{1} << 10},
                                            {"B", 1}}};
/// As far as TOML's integers go, so that an amount may be written either way.
constexpr std::uint64_t kMostUnits = std::numeric_limits<std::int64_t>::max();

/// "100ms" by its units. Nothing where the text is something else, or too much.
std::optional<std::uint64_t> with_unit(std::string_view text, std::span<const Unit> units) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  const auto unit = std::ranges::find(units, text, &Unit::name);
  if (unit == units.end() || number > kMostUnits / unit->factor) return std::nullopt;
  return number * unit->factor;
}

template <typename T>
const T* as(const TomlValue& value) noexcept {
  return std::get_if<T>(&value.content);
}

std::string range_text(std::string_view least, std::string_view most) {
  return std::string(least) + " to " + std::string(most);
}

Read<std::uint64_t> integer(const TomlValue& value, std::uint64_t least, std::uint64_t most) {
  const auto* number = as<std::int64_t>(value);
  if (number && std::cmp_greater_equal(*number, least) && std::cmp_less_equal(*number, most)) {
    return static_cast<std::uint64_t>(*number);
  }
  return std::unexpected("an integer, " + range_text(std::to_string(least), std::to_string(most)));
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

Read<std::size_t> word(const TomlValue& value, std::span<const std::string_view> words) {
  const auto* text = as<std::string>(value);
  const auto found = text ? std::ranges::find(words, lower(*text)) : words.end();
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  Complaint complaint = "one of ";
  for (const std::string_view known : words) {
    complaint += (known == words.front() ? "" : ", ") + quoted(known);
  }
  if (text) complaint += did_you_mean(lower(*text), words);
  return std::unexpected(std::move(complaint));
}

Read<std::string> pattern(const TomlValue& value) {
  const auto* text = as<std::string>(value);
  if (text && is_pattern(*text)) return *text;
  return std::unexpected(
      "1 to 31 letters of [A-Za-z0-9._/-], with '*' at the end for all that begin so");
}

/// A user or group; `kind` is the word for it.
Read<id_t> account(const TomlValue& value, const char* kind,
                   Result<id_t> (Accounts::*look_up)(const std::string&), Accounts& accounts) {
  if (const auto* name = as<std::string>(value)) {
    auto found = (accounts.*look_up)(*name);
    if (found) return *found;
    const std::string what = std::string("the name of a ") + kind;
    if (found.error() == ErrorCode::NotFound) {
      return std::unexpected(what + " that exists, or its number without quotes");
    }
    return std::unexpected(what + ", and looking it up failed: " + found.error().message());
  }
  // -1 stands for "no change" in chown(2) and its like.
  constexpr id_t kMost = std::numeric_limits<id_t>::max() - 1;
  if (auto number = integer(value, 0, kMost)) return static_cast<id_t>(*number);
  return std::unexpected(std::string("the name of a ") + kind + ", or its number");
}

std::string value_text(const TomlValue& value) {
  if (const auto* text = as<std::string>(value)) return quoted(*text);
  if (const auto* number = as<std::int64_t>(value)) return std::to_string(*number);
  return std::string(value.kind());
}

Complaint must_be(Complaint what) { return "must be " + std::move(what); }

/// Reads one key's value. Calls return false where they have reported something.
template <typename Section>
class KeyReader {
 public:
  KeyReader(std::string_view name, const TomlValue& value, Section& section, ReadContext& context)
      : name_(name), value_(value), section_(section), context_(context) {}

  bool operator()(const setting::Flag<Section>& flag) const {
    const auto* value = as<bool>(value_);
    return value ? put(flag.field, *value) : refuse(must_be("true or false"));
  }
  bool operator()(const setting::Count<Section>& count) const {
    return take(integer(value_, count.least, count.most), count.field);
  }
  bool operator()(const setting::Capacity<Section>& capacity) const {
    // The tighter bound of compact handles is checked when it is known whether there are any.
    const auto ranges = capacity_ranges(0);
    const auto range = std::ranges::find(ranges, capacity.member, &CapacityRange::member);
    const auto value = integer(value_, range->least, range->most);
    if (!value) return refuse(must_be(value.error()));
    capacity.field(section_).*capacity.member = static_cast<std::uint32_t>(*value);
    return true;
  }
  bool operator()(const setting::Amount<Section>& amount) const {
    const auto* text = as<std::string>(value_);
    if (!text) return take(integer(value_, amount.least, kMostUnits), amount.field);
    const auto bytes = with_unit(*text, kMemoryUnits);
    if (bytes && *bytes >= amount.least) return put(amount.field, *bytes);
    return refuse(must_be("at least " + std::to_string(amount.least) +
                          ": an integer, or a string with one of the units B, KiB, MiB, GiB, TiB"));
  }
  bool operator()(const setting::Duration<Section>& duration) const {
    const auto* text = as<std::string>(value_);
    const auto count = text ? with_unit(*text, kTimeUnits) : std::nullopt;
    if (count) {
      const std::chrono::nanoseconds value(static_cast<std::int64_t>(*count));
      if (value >= duration.least && value <= duration.most) return put(duration.field, value);
    }
    return refuse(must_be(range_text(duration_text(duration.least), duration_text(duration.most)) +
                          ", a string with one of the units ns, us, ms, s, min"));
  }
  bool operator()(const setting::Text<Section>& text) const {
    const auto* value = as<std::string>(value_);
    if (!value) return refuse(must_be("a string"));
    const std::string_view complaint = text.complaint(*value);
    return complaint.empty() ? put(text.field, *value) : refuse(std::string(complaint));
  }
  bool operator()(const setting::Mode<Section>& mode) const {
    constexpr std::uint32_t kOwner = 0600;
    constexpr std::uint32_t kMost = 0666;
    const auto* text = as<std::string>(value_);
    std::uint32_t bits = 0;
    if (text && (text->size() == 3 || text->size() == 4)) {
      const char* end = text->data() + text->size();
      const auto [stopped, error] = std::from_chars(text->data(), end, bits, 8);
      if (error == std::errc{} && stopped == end && (bits & kOwner) == kOwner &&
          (bits & ~kMost) == 0) {
        return put(mode.field, bits);
      }
    }
    return refuse(must_be("permissions from \"0600\" to \"0666\", a string"));
  }
  bool operator()(const setting::Choice<Section>& choice) const {
    const auto index = word(value_, choice.words);
    if (!index) return refuse(must_be(index.error()));
    choice.choose(section_, *index);
    return true;
  }
  bool operator()(const setting::Choices<Section>& choices) const {
    const auto chosen = list<std::size_t>(
        [&](const TomlValue& item) { return word(item, choices.words); }, "every type");
    for (const std::size_t index : chosen.value_or(std::vector<std::size_t>{})) {
      choices.choose(section_, index);
    }
    return chosen.has_value();
  }
  bool operator()(const setting::Patterns<Section>& patterns) const {
    return take(list<std::string>(pattern, "every class"), patterns.field);
  }
  bool operator()(const setting::User<Section>& user) const {
    return take(user_of(value_), user.field);
  }
  bool operator()(const setting::Group<Section>& group) const {
    return take(group_of(value_), group.field);
  }
  bool operator()(const setting::Users<Section>& users) const {
    return take(list<uid_t>([&](const TomlValue& item) { return user_of(item); }, "everybody"),
                users.field);
  }
  bool operator()(const setting::Groups<Section>& groups) const {
    return take(list<gid_t>([&](const TomlValue& item) { return group_of(item); }, "everybody"),
                groups.field);
  }

 private:
  Read<uid_t> user_of(const TomlValue& item) const {
    return account(item, "user", &Accounts::user, context_.accounts);
  }
  Read<gid_t> group_of(const TomlValue& item) const {
    return account(item, "group", &Accounts::group, context_.accounts);
  }

  bool refuse(const Complaint& complaint) const { return refuse(value_, complaint); }
  bool refuse(const TomlValue& what, const Complaint& complaint) const {
    context_.mistakes.add(what.place,
                          quoted(name_) + " " + complaint + "; this is " + value_text(what));
    return false;
  }
  template <typename T>
  bool put(Field<Section, T> field, const auto& value) const {
    field(section_) = static_cast<T>(value);
    return true;
  }
  template <typename T, typename V>
  bool take(const Read<V>& value, Field<Section, T> field) const {
    return value ? put(field, *value) : refuse(must_be(value.error()));
  }
  template <typename T>
  bool take(const std::optional<std::vector<T>>& value,
            Field<Section, std::vector<T>> field) const {
    return value && put(field, *value);
  }

  /// All items of an array; nothing where any of them has been reported. `meant_by_none` is what
  /// the key stands for where it is left out.
  template <typename T, typename ReadItem>
  std::optional<std::vector<T>> list(ReadItem read_item, std::string_view meant_by_none) const {
    const auto* items = as<TomlList>(value_);
    if (!items || items->empty()) {
      refuse("must be an array with something in it; leave it out for " +
             std::string(meant_by_none));
      return std::nullopt;
    }
    std::vector<T> values;
    bool good = true;
    for (const TomlValue& item : *items) {
      const auto value = read_item(item);
      if (!value) {
        good = refuse(item, "has an entry that " + must_be(value.error()));
      } else if (std::ranges::find(values, *value) != values.end()) {
        good = refuse(item, "names something twice");
      } else {
        values.push_back(*value);
      }
    }
    return good ? std::optional(std::move(values)) : std::nullopt;
  }

  std::string_view name_;
  const TomlValue& value_;
  Section& section_;
  ReadContext& context_;
};

}  // namespace

template <typename Section>
Given read_section(std::string_view title, Place heading, const TomlTable& table,
                   std::span<const Key<Section>> keys, Section& section, ReadContext& context) {
  Given given(heading);
  for (const TomlMember& member : table) {
    const auto key = std::ranges::find(keys, member.name, &Key<Section>::name);
    if (key == keys.end()) {
      std::vector<std::string_view> names;
      for (const Key<Section>& known : keys) names.push_back(known.name);
      std::string hint = did_you_mean(member.name, names);
      if (hint.empty()) hint = belongs_to(member.name);
      context.mistakes.add(member.place,
                           quoted(member.name) + " is no key of " + std::string(title) + hint);
      continue;
    }
    const KeyReader<Section> reader(key->name, member.value, section, context);
    if (std::visit(reader, key->setting)) given.add(member);
  }
  if (given.size() != table.size()) given.spoil();
  for (const Key<Section>& key : keys) {
    if (key.required && context.whole &&
        std::ranges::find(table, key.name, &TomlMember::name) == table.end()) {
      context.mistakes.add(heading, std::string(title) + " lacks " + quoted(key.name) + ": " +
                                        std::string(key.help));
      given.spoil();
    }
  }
  return given;
}

template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<DomainConfig>>, DomainConfig&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<SocketConfig>>, SocketConfig&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&, std::span<const Key<Limits>>,
                            Limits&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&, std::span<const Key<Grace>>,
                            Grace&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<Operators>>, Operators&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<AttachRule>>, AttachRule&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<DriverRule>>, DriverRule&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<BudgetRule>>, BudgetRule&, ReadContext&);
template Given read_section(std::string_view, Place, const TomlTable&,
                            std::span<const Key<LogConfig>>, LogConfig&, ReadContext&);

std::string belongs_to(std::string_view name) {
  for (const SectionNames& section : config_sections()) {
    if (std::ranges::find(section.keys, name) != section.keys.end()) {
      const std::string title = "[" + std::string(section.name) + "]";
      return "; it is one of " + (section.repeats ? "[" + title + "]" : title);
    }
  }
  return {};
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 64;
  if (text.size() <= kMost) return "'" + std::string(text) + "'";
  std::size_t end = kMost;
  // Not within a letter of UTF-8.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return "'" + std::string(text.substr(0, end)) + "...'";
}

std::string duration_text(std::chrono::nanoseconds duration) {
  const auto count = static_cast<std::uint64_t>(duration.count());
  if (count == 0) return "0s";
  const auto unit = std::ranges::find_if(
      kTimeUnits, [&](const Unit& candidate) { return count % candidate.factor == 0; });
  return std::to_string(count / unit->factor) + std::string(unit->name);
}

}  // namespace resmgr::daemon
