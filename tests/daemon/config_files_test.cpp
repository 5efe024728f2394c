// SPDX-License-Identifier: Apache-2.0
//
// The example and the manual page say what the table of keys says.
#include "tests/daemon/config_files.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/daemon/config.hpp"
#include "resmgr/daemon/config_keys.hpp"
#include "resmgr/daemon/config_reader.hpp"
#include "tests/daemon/fake_accounts.hpp"

namespace resmgr::daemon {
namespace {

using test::FakeAccounts;

std::string contents(const char* path) {
  auto text = load_text(path);
  EXPECT_TRUE(text) << path << ": " << text.error().message();
  return text.value_or(std::string());
}

/// The example, with what stands behind "#" of a default, and of a rule if so wished.
std::string example(bool defaults, bool rules) {
  const std::string text = contents(test::kExampleConfig);
  std::string result;
  for (const auto part : std::views::split(text, '\n')) {
    std::string_view line(part.begin(), part.end());
    const bool is_rule = line.starts_with("#: ");
    const bool is_default = line.starts_with("#") && line.size() > 1 && line[1] >= 'a';
    if (is_rule && rules) line.remove_prefix(3);
    if (is_default && defaults) line.remove_prefix(1);
    result += std::string(line) + "\n";
  }
  return result;
}

Config good(const std::string& text) {
  FakeAccounts accounts;
  const ConfigResult result = read_config(text, "", accounts);
  for (const Mistake& mistake : result.mistakes) {
    ADD_FAILURE() << "line " << mistake.line << ": " << mistake.reason;
  }
  return result.config;
}

/// Section and key, with its value as it is written, without quotes.
using Said = std::map<std::pair<std::string, std::string>, std::string>;

Said said_in(const std::string& text) {
  Said said;
  std::string section;
  for (const auto part : std::views::split(text, '\n')) {
    const std::string line(part.begin(), part.end());
    if (line.starts_with('[')) section = line.substr(line.find_last_of('[') + 1);
    section = section.substr(0, section.find(']'));
    const std::size_t equals = line.find(" = ");
    if (line.starts_with('#') || equals == std::string::npos) continue;
    std::string value = line.substr(equals + 3);
    if (value.starts_with('"')) value = value.substr(1, value.size() - 2);
    said[{section, line.substr(0, equals)}] = value;
  }
  return said;
}

/// What the manual page says of a key: the lines from its item to the next one.
std::string manual_of(std::string_view section, std::string_view key) {
  const std::string page = contents(test::kManualPage);
  std::string title(section);
  for (char& letter : title) letter = static_cast<char>(letter - 'a' + 'A');
  const std::size_t begin = page.find(".Sh " + title + "\n");
  if (begin == std::string::npos) return {};
  const std::string chapter = page.substr(begin, page.find("\n.Sh ", begin) - begin);
  const std::string item = "\n.It Cm " + std::string(key) + "\n";
  const std::size_t found = chapter.find(item);
  if (found == std::string::npos) return {};
  const std::string rest = chapter.substr(found + item.size() - 1);
  return rest.substr(0, std::min(rest.find("\n.It "), rest.find("\n.El")));
}

TEST(ExampleConfig, IsGoodAndChangesNothing) { EXPECT_EQ(good(example(false, false)), Config{}); }

TEST(ExampleConfig, QuotesTheDefaults) {
  const std::string text = example(true, false);
  EXPECT_EQ(good(text), Config{});
  // All that has one, but for keys whose default can't be written.
  const Said said = said_in(text);
  for (const SectionNames& section : config_sections()) {
    if (section.repeats) continue;
    for (const std::string_view key : section.keys) {
      if (section.name == "socket" && (key == "owner" || key == "group")) continue;
      if (section.name == "operators") continue;
      EXPECT_TRUE(said.contains({std::string(section.name), std::string(key)}))
          << section.name << "." << key;
    }
  }
}

TEST(ExampleConfig, HasEachKey) {
  const std::string text = example(true, true);
  const Config config = good(text);
  EXPECT_FALSE(config.attach.empty());
  EXPECT_FALSE(config.drivers.empty());
  EXPECT_FALSE(config.budgets.empty());
  const Said said = said_in(text);
  for (const SectionNames& section : config_sections()) {
    for (const std::string_view key : section.keys) {
      EXPECT_TRUE(said.contains({std::string(section.name), std::string(key)}))
          << section.name << "." << key;
    }
  }
}

TEST(ManualPage, HasEachKeyWithItsDefault) {
  const Said said = said_in(example(true, false));
  for (const SectionNames& section : config_sections()) {
    for (const std::string_view key : section.keys) {
      const std::string manual = manual_of(section.name, key);
      EXPECT_FALSE(manual.empty()) << section.name << "." << key;
      const auto value = said.find({std::string(section.name), std::string(key)});
      if (value == said.end()) continue;
      const std::size_t tells = manual.find("The default is");
      ASSERT_NE(tells, std::string::npos) << section.name << "." << key;
      const std::string expected = value->second.empty() ? "empty" : value->second;
      EXPECT_NE(manual.find(expected, tells), std::string::npos)
          << section.name << "." << key << " is " << expected;
    }
  }
}

/// "1 to 16", where the setting has such a range.
template <typename S>
std::string range_of(const setting::Any<S>& any) {
  if (const auto* count = std::get_if<setting::Count<S>>(&any)) {
    return std::to_string(count->least) + " to " + std::to_string(count->most);
  }
  if (const auto* capacity = std::get_if<setting::Capacity<S>>(&any)) {
    for (const CapacityRange& range : capacity_ranges(0)) {
      if (range.member != capacity->member) continue;
      return std::to_string(range.least) + " to " + std::to_string(range.most);
    }
  }
  if (const auto* duration = std::get_if<setting::Duration<S>>(&any)) {
    return duration_text(duration->least) + " to " + duration_text(duration->most);
  }
  return {};
}

/// Returns how many of the keys have a range.
template <typename S>
int expect_ranges(std::string_view section, std::span<const Key<S>> keys) {
  int ranges = 0;
  for (const Key<S>& key : keys) {
    const std::string range = range_of(key.setting);
    if (range.empty()) continue;
    ++ranges;
    EXPECT_NE(manual_of(section, key.name).find(range), std::string::npos)
        << section << "." << key.name << ": " << range;
  }
  return ranges;
}

TEST(ManualPage, HasTheRanges) {
  EXPECT_EQ(expect_ranges("domain", domain_keys()), 10);
  EXPECT_EQ(expect_ranges("limits", limits_keys()), 6);
  EXPECT_EQ(expect_ranges("grace", grace_keys()), 5);
  EXPECT_EQ(expect_ranges("driver", driver_keys()), 1);
  EXPECT_EQ(expect_ranges("log", log_keys()), 1);
}

TEST(ManualPage, HasNoOtherKeys) {
  const std::string page = contents(test::kManualPage);
  std::size_t items = 0;
  for (std::size_t at = page.find("\n.It Cm "); at != std::string::npos;
       at = page.find("\n.It Cm ", at + 1)) {
    ++items;
  }
  std::size_t keys = 0;
  for (const SectionNames& section : config_sections()) keys += section.keys.size();
  EXPECT_EQ(items, keys);
}

}  // namespace
}  // namespace resmgr::daemon
