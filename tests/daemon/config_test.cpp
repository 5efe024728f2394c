// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/config.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/base/support.hpp"
#include "tests/daemon/fake_accounts.hpp"

namespace resmgr::daemon {
namespace {

using namespace std::chrono_literals;
using resmgr::test::code_of;
using test::FakeAccounts;

ConfigResult read(std::string_view text) {
  FakeAccounts accounts;
  return read_config(text, "test.toml", accounts);
}

std::string list_of(const std::vector<Mistake>& mistakes) {
  std::string list;
  for (const Mistake& mistake : mistakes) {
    list += std::to_string(mistake.line) + ":" + std::to_string(mistake.column) + ": " +
            mistake.reason + "\n";
  }
  return list;
}

Config good(std::string_view text) {
  const ConfigResult result = read(text);
  EXPECT_EQ(list_of(result.mistakes), "") << text;
  return result.config;
}

Config defaults() {
  Config config;
  config.file_name = "test.toml";
  return config;
}

TEST(ReadConfig, TakesNothingForTheDefaults) {
  EXPECT_EQ(good(""), defaults());
  EXPECT_EQ(good("[domain]\n[limits]\n[log]\n"), defaults());
  EXPECT_NE(good("[domain]\nname = \"other\"\n"), defaults());
}

budget::Platform machine_of(std::uint64_t bytes) {
  return {.physical_bytes = bytes, .available_bytes = bytes, .processors = 2};
}

Config read_for(const budget::Platform& platform, std::string_view text) {
  FakeAccounts accounts;
  ConfigResult result = read_config(text, "test.toml", accounts, &platform);
  EXPECT_EQ(list_of(result.mistakes), "") << text;
  return std::move(result.config);
}

TEST(ReadConfig, AProfileStandsWhereTheFileSaysNothing) {
  const budget::Platform small = machine_of(std::uint64_t{16} << 20);
  const auto tiny = *budget::make_profile(budget::ProfileChoice::Tiny, small);
  EXPECT_TRUE(read_for(small, "").budgets.empty());
  for (const auto* const text :
       {"[domain]\nprofile = \"auto\"\n", "[domain]\nprofile = \"tiny\"\n"}) {
    const Config config = read_for(small, text);
    EXPECT_EQ(config.domain.capacities, tiny.capacities);
    EXPECT_EQ(config.budgets.size(), 5u) << "each type but Performance";
  }
}

TEST(ReadConfig, WhatTheFileSaysStandsBeforeItsProfile) {
  const budget::Platform small = machine_of(std::uint64_t{16} << 20);
  const Config config = read_for(small,
                                 "[domain]\nslots = 4096\nprofile = \"tiny\"\n"
                                 "[[budget]]\ntype = \"Memory\"\nmax = \"1MiB\"\n");
  Capacities expected = budget::make_profile(budget::ProfileKind::Tiny, small).capacities;
  expected.slots = 4096;
  EXPECT_EQ(config.domain.capacities, expected);
  ASSERT_EQ(config.budgets.size(), 5u);
  EXPECT_EQ(config.budgets.front().max, std::uint64_t{1} << 20);
}

TEST(ReadConfig, TakesEachKindOfValue) {
  const Config config = good(
      "[domain]\nname = \"lab\"\nslots = 1024\nshares = 0\ncompact_handles = true\n"
      "order_policy = \"Refuse\"\n"
      "[socket]\npath = \"/run/x.sock\"\nmode = \"660\"\nowner = \"alice\"\ngroup = 7\n"
      "[limits]\nbytes_queued = \"64 KiB\"\nhello_deadline = \"1min\"\n"
      "[grace]\nowner = \"0s\"\nquiesce = \"1500ms\"\n"
      "[log]\nlevel = \"warning\"\naudit = \"/var/log/audit\"\n");
  EXPECT_EQ(config.domain.name, "lab");
  EXPECT_EQ(config.domain.capacities, (Capacities{.slots = 1024, .shares = 0}));
  EXPECT_TRUE(config.domain.compact_handles);
  EXPECT_EQ(config.domain.order_policy, OrderPolicy::Refuse);
  EXPECT_EQ(config.socket.path, "/run/x.sock");
  EXPECT_EQ(config.socket.mode, 0660u);
  EXPECT_EQ(config.socket.owner, 1000u);
  EXPECT_EQ(config.socket.group, 7u);
  EXPECT_EQ(config.limits.bytes_queued, 65536u);
  EXPECT_EQ(config.limits.hello_deadline, 60s);
  EXPECT_EQ(config.grace.owner, 0s);
  EXPECT_EQ(config.grace.quiesce, 1500ms);
  EXPECT_EQ(config.log.level, LogLevel::Warning);
  EXPECT_EQ(config.log.audit, "/var/log/audit");
}

TEST(ReadConfig, TakesLettersBeyondAsciiInCommentsAndEscaped) {
  const Config config =
      good("\xef\xbb\xbf# f\u00fcr alle\n[log] # \u20ac\naudit = \"/\\u00e9\" # \u00e9\n");
  EXPECT_EQ(config.log.audit, "/\u00e9");
}

TEST(ReadConfig, TakesRulesInTheirOrder) {
  const Config config = good(
      "[[attach]]\nusers = [\"alice\", 5]\ngroups = [\"video\"]\n"
      "[[attach]]\nallow = false\n"
      "[[driver]]\nname = \"dma-*\"\nusers = [\"root\"]\ntypes = [\"Hardware\", \"memory\"]\n"
      "classes = [\"dma-channel\", \"gpu-*\"]\nmax_resources = 9\nmax_priority = \"high\"\n"
      "emergency = true\n"
      "[[driver]]\nname = \"viewer\"\nmay_register = false\n"
      "[[budget]]\ndriver = \"dma-*\"\ntype = \"memory\"\nmax = \"1MiB\"\nreserved = 16\n"
      "[[budget]]\ntype = \"memory\"\nmax = 5\nwarning = 50\ncritical = 60\n");
  ASSERT_EQ(config.attach.size(), 2u);
  EXPECT_EQ(config.attach[0],
            (AttachRule{.line = 1, .whom = {.users = {1000, 5}, .groups = {44}}, .allow = true}));
  EXPECT_EQ(config.attach[1], (AttachRule{.line = 4, .allow = false}));
  ASSERT_EQ(config.drivers.size(), 2u);
  EXPECT_EQ(config.drivers[0], (DriverRule{.line = 6,
                                           .name = "dma-*",
                                           .whom = {.users = {0}},
                                           .types = {ResourceType::Hardware, ResourceType::Memory},
                                           .classes = {"dma-channel", "gpu-*"},
                                           .max_resources = 9,
                                           .max_priority = ResourcePriority::High,
                                           .emergency = true}));
  EXPECT_EQ(config.drivers[1], (DriverRule{.line = 14, .name = "viewer", .may_register = false}));
  ASSERT_EQ(config.budgets.size(), 2u);
  EXPECT_EQ(config.budgets[0], (BudgetRule{.line = 17,
                                           .driver = "dma-*",
                                           .type = ResourceType::Memory,
                                           .max = 1u << 20,
                                           .reserved = 16}));
  EXPECT_EQ(
      config.budgets[1],
      (BudgetRule{
          .line = 22, .type = ResourceType::Memory, .max = 5, .warning = 50, .critical = 60}));
}

/// A file with one mistake.
struct Wrong {
  const char* what;
  std::string text;
  std::uint32_t line;
  std::string reason;  ///< a part of it
};

// By its name: some of the texts are no UTF-8, which reports have to be.
void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.what; }

class Mistaken : public testing::TestWithParam<Wrong> {};

TEST_P(Mistaken, IsToldWithItsLine) {
  const auto& [what, text, line, reason] = GetParam();
  const std::vector<Mistake> mistakes = read(text).mistakes;
  ASSERT_EQ(mistakes.size(), 1u) << list_of(mistakes);
  EXPECT_EQ(mistakes[0].line, line) << list_of(mistakes);
  EXPECT_GE(mistakes[0].column, 1u);
  EXPECT_NE(mistakes[0].reason.find(reason), std::string::npos) << list_of(mistakes);
  EXPECT_EQ(mistakes[0].reason.find('\n'), std::string::npos);
}

std::string long_name(std::size_t letters) { return std::string(letters, 'n'); }

const std::vector<Wrong> kUnknown{
    {"Key", "[limits]\n\ndrvers = 1\n", 3,
     "'drvers' is no key of [limits]; did you mean 'drivers'?"},
    {"KeyOfAnother", "[limits]\nquiesce_attempts = 1\n", 2, "; it is one of [grace]"},
    {"KeyOfARule", "[log]\nmax_priority = \"low\"\n", 2, "; it is one of [[driver]]"},
    {"KeyLikeNone", "[limits]\nspeed = 1\n", 2, "'speed' is no key of [limits]"},
    {"KeyInARule", "[[driver]]\nname = \"a\"\nclass = [\"b\"]\n", 3,
     "'class' is no key of [[driver]]; did you mean 'classes'?"},
    {"Section", "[limts]\ndrivers = 1\n", 1, "'limts' is no section; did you mean 'limits'?"},
    {"KeyOfNoSection", "slots = 1\n", 1, "'slots' is no section; it is one of [domain]"},
    {"KeyWithControlLetters", "[log]\n\"a\\nb\\u007f\" = 1\n", 2, "'a?b?' is no key"},
    {"KeyTooLongToQuote", "[log]\n" + long_name(500) + " = 1\n", 2,
     "'" + long_name(64) + "...' is no key"},
    {"Word", "[domain]\norder_policy = \"refus\"\n", 2,
     "'order_policy' must be one of 'off', 'warn', 'refuse'; did you mean 'refuse'?; this is "
     "'refus'"},
    {"User", "[[attach]]\nusers = [\"alice\",\n  \"bob\"]\n", 3,
     "must be the name of a user that exists, or its number without quotes; this is 'bob'"},
    {"Group", "[socket]\ngroup = \"alice\"\n", 2,
     "'group' must be the name of a group that exists"},
    {"UserOfANumberInQuotes", "[socket]\nowner = \"1000\"\n", 2, "number without quotes"},
    {"UserThatCannotBeLookedUp", "[socket]\nowner = \"unreachable\"\n", 2,
     "looking it up failed: getpwnam_r"},
    {"Unit", "[grace]\nowner = \"10h\"\n", 2, "one of the units ns, us, ms, s, min; this is '10h'"},
};

const std::vector<Wrong> kOfAnotherType{
    {"TextForANumber", "[domain]\nslots = \"many\"\n", 2,
     "'slots' must be an integer, 1 to 16777216; this is 'many'"},
    {"FractionForANumber", "[limits]\ndrivers = 1.5\n", 2, "this is a fraction"},
    {"NumberForAFlag", "[domain]\ncompact_handles = 1\n", 2, "must be true or false; this is 1"},
    {"FlagForAText", "[domain]\nname = true\n", 2, "must be a string; this is true or false"},
    {"NumberForADuration", "[grace]\nowner = 10\n", 2, "a string with one of the units"},
    {"NumberForAMode", "[socket]\nmode = 0o666\n", 2, "permissions from \"0600\" to \"0666\""},
    {"TextForAList", "[[attach]]\nusers = \"alice\"\n", 2, "'users' must be an array"},
    {"ListInAList", "[[attach]]\nusers = [[\"alice\"]]\n", 2, "this is an array"},
    {"DateForAWord", "[log]\nlevel = 2026-01-01\n", 2, "this is a date or time"},
    {"TableForANumber", "[limits.drivers]\na = 1\n", 1, "this is a table"},
    {"NumberForASection", "limits = 1\n", 1,
     "must be one table, under [limits]; this is an integer"},
    {"RulesForASection", "[[limits]]\ndrivers = 1\n", 1, "must be one table, under [limits]"},
    {"SectionForRules", "\n[driver]\nname = \"a\"\n", 2,
     "'driver' must be tables, each under [[driver]]; this is a table"},
    {"NumberForARule", "attach = [1]\n", 1, "must be tables, each under [[attach]]"},
};

const std::vector<Wrong> kOutOfRange{
    {"Capacity", "[domain]\nname = \"a\"\nslots = 16777217\n", 3,
     "'slots' must be an integer, 1 to 16777216; this is 16777217"},
    {"CapacityOfNone", "[domain]\nclasses = 1\n", 2, "'classes' must be an integer, 2 to 1024"},
    {"CapacityBeyond32Bits", "[domain]\nshares = 4294967297\n", 2, "0 to 268435456"},
    {"Negative", "[limits]\nfds = -1\n", 2, "0 to 1000000; this is -1"},
    {"Count", "[limits]\ndrivers = 4096\n", 2, "1 to 4095"},
    {"Amount", "[limits]\nbytes_queued = \"63KiB\"\n", 2, "must be at least 65536"},
    {"AmountBeyond64Bits", "[limits]\nbytes_queued = \"18014398509481984KiB\"\n", 2,
     "must be at least 65536"},
    {"Duration", "[grace]\nquiesce = \"0s\"\n", 2, "'quiesce' must be 1ms to 60min"},
    {"DurationBeyond64Bits", "[grace]\nowner = \"99999999999999999999s\"\n", 2, "0s to 1440min"},
    {"NegativeDuration", "[grace]\nowner = \"-1s\"\n", 2, "0s to 1440min"},
    {"Mode", "[socket]\nmode = \"0777\"\n", 2, "permissions from"},
    {"ModeWithoutTheOwner", "[socket]\nmode = \"0066\"\n", 2, "permissions from"},
    {"ModeThatIsNoNumber", "[socket]\nmode = \"06x6\"\n", 2, "permissions from"},
    {"UserId", "[socket]\nowner = 4294967295\n", 2, "or its number"},
    {"RelativePath", "[log]\naudit = \"audit.log\"\n", 2, "must be the absolute path of a file"},
    {"PathOfAFolder", "[log]\naudit = \"/var/log/\"\n", 2, "must be the absolute path of a file"},
    {"PathWithAZero", "[socket]\npath = \"/run/\\u0000\"\n", 2, "the absolute path of a file"},
    {"LongSocketPath", "[socket]\npath = \"/" + long_name(107) + "\"\n", 2, "107 bytes"},
    {"LongAuditPath", "[log]\naudit = \"/" + long_name(4095) + "\"\n", 2, "4095 bytes"},
    {"DomainName", "[domain]\nname = \"a/b\"\n", 2, "'name' must be 1 to 31 letters"},
    {"DomainNameOfAHiddenFile", "[domain]\nname = \".a\"\n", 2, "the first one no '.'"},
    {"DriverPattern", "[[driver]]\nname = \"d*a\"\n", 2, "with '*' at the end"},
    {"DriverPatternTooLong", "[[driver]]\nname = \"" + long_name(32) + "\"\n", 2,
     "1 to 31 letters"},
    {"NoDriverPattern", "[[driver]]\nname = \"\"\n", 2, "1 to 31 letters"},
    {"ClassPattern", "[[driver]]\nname = \"a\"\nclasses = [\"x\", \"y?\"]\n", 3,
     "'classes' has an entry that must be 1 to 31 letters"},
    {"EmptyList", "[[attach]]\nusers = []\n", 2, "leave it out for everybody"},
    {"RequiredKey", "[log]\n[[budget]]\ndriver = \"a\"\ntype = \"memory\"\n", 2,
     "[[budget]] lacks 'max': amount that is exceeded in emergencies alone"},
};

const std::vector<Wrong> kTwice{
    {"Key", "[domain]\nslots = 1\nslots = 2\n", 3, "cannot redefine existing integer 'slots'"},
    {"Section", "[limits]\ndrivers = 1\n[limits]\nfds = 1\n", 3,
     "cannot redefine existing table 'limits'"},
    {"User", "[[attach]]\nusers = [\"root\", 0]\n", 2, "'users' names something twice; this is 0"},
    {"Type", "[[driver]]\nname = \"a\"\ntypes = [\"memory\", \"Memory\"]\n", 3, "twice"},
    {"Class", "[[driver]]\nname = \"a\"\nclasses = [\"x\", \"y\", \"x\"]\n", 3, "twice"},
    {"Budget",
     "[[budget]]\ndriver = \"a*\"\ntype = \"memory\"\nmax = 1\n"
     "[[budget]]\ndriver = \"ab\"\ntype = \"memory\"\nmax = 2\n",
     5, "this [[budget]] is never come to: the one in line 1 takes all of it"},
    {"DriverRule",
     "[[driver]]\nname = \"*\"\nusers = [\"root\"]\n[[driver]]\nname = \"a\"\nusers = [0]\n", 4,
     "this [[driver]] is never come to: the one in line 1 takes all of it"},
    {"AttachRule", "[[attach]]\n[[attach]]\nusers = [\"root\"]\nallow = false\n", 2,
     "this [[attach]] is never come to: the one in line 1"},
};

const std::vector<Wrong> kContradicting{
    {"CompactSlots", "[domain]\nslots = 1048577\ncompact_handles = true\n", 2,
     "'slots' is 1048577, but at most 1048576 make sense: more have no compact handle"},
    {"LimitOfDrivers", "[domain]\ndrivers = 8\n[limits]\ndrivers = 8\n", 4, "at most 7 make sense"},
    {"LimitOfResources", "[limits]\nresources = 11\n[domain]\nslots = 10\n", 2,
     "at most 10 make sense: the domain has no room for more ('slots' of [domain])"},
    {"LimitOfClients", "[limits]\nclients_per_uid = 65\n", 2, "at most 64 make sense"},
    {"Backoff", "[grace]\nquiesce_attempts = 1\nquiesce_backoff = \"1s\"\n", 3,
     "'quiesce_backoff' has no effect: 'quiesce_attempts' is 1"},
    {"NobodyAllowed", "[[attach]]\nusers = [5]\nallow = false\n[[attach]]\nallow = false\n", 1,
     "nobody may attach"},
    {"TypesOfNoRegistration",
     "[[driver]]\nname = \"a\"\nmay_register = false\ntypes = [\"memory\"]\n", 4,
     "'types' has no effect: 'may_register' is false"},
    {"ResourcesOfADriver", "[domain]\nslots = 5\n[[driver]]\nname = \"a\"\nmax_resources = 6\n", 5,
     "'max_resources' is 6, but at most 5 make sense"},
    {"WarningAndCritical", "[[budget]]\ntype = \"custom\"\nmax = 5\nwarning = 80\ncritical = 70\n",
     4, "'warning' is 80, but at most 70 make sense: 'critical' is no more"},
    {"CriticalAlone", "[[budget]]\ntype = \"custom\"\nmax = 5\ncritical = 70\n", 4,
     "'critical' is 70, but 'warning' is 75 where nothing else is said"},
    {"BudgetOfAllTwice",
     "[[budget]]\ntype = \"custom\"\nmax = 5\n[[budget]]\ntype = \"custom\"\nmax = 6\n", 4,
     "this [[budget]] is never come to: the one in line 1 takes all of it"},
    {"ReservedAndMax", "[[budget]]\ndriver = \"a\"\ntype = \"custom\"\nmax = 5\nreserved = 6\n", 5,
     "'reserved' is 6, but at most 5 make sense: 'max' is no more"},
    {"BytesOfHardware", "[[budget]]\ndriver = \"a\"\ntype = \"hardware\"\nmax = \"1KiB\"\n", 4,
     "'max' must be an integer: only memory is counted in bytes"},
    {"BudgetOfNoDriver",
     "[[driver]]\nname = \"a*\"\n[[budget]]\ndriver = \"b*\"\ntype = \"memory\"\nmax = 1\n", 4,
     "'driver' has no effect: no [[driver]] allows such a driver"},
    {"AuditIntoTheSocket", "[socket]\npath = \"/a\"\n[log]\naudit = \"/a\"\n", 4,
     "'audit' has no effect: 'path' of [socket] is the same file"},
};

const std::vector<Wrong> kNoToml{
    {"NoEqualsSign", "[domain]\nslots 1\n", 2, "expected '='"},
    {"NoValue", "[domain]\nslots =\nname = \"a\"\n", 2, "expected value"},
    {"NoQuotes", "[domain]\nname = main\nslots = 1\n", 2, "could not determine value type"},
    {"NoEndOfText", "[domain]\nname = \"main\nslots = 1\n", 2, "parsing string"},
    {"NoEndOfAHeading", "[domain\nslots = 1\nspeed = 1\n[limits]\n", 1, "expected ']'"},
    {"NoKeyInAHeading", "[domain]\nslots = 1\n[!]\n", 3, "expected bare key starting character"},
    {"NoEndOfAList", "[[attach]]\nusers = [\"root\",\nallow = true\n[log]\n", 2,
     "what begins here has no end; in line 3:"},
    {"NoEndOfALongText", "[domain]\nname = \"\"\"main\n[limits]\n\nfds = 1\n", 2,
     "what begins here has no end; in line 5:"},
    {"NoEndOfTheLastList", "[[attach]]\n\nusers = [\"root\",\n \"alice\"\n", 3, "has no end"},
    {"LeadingZero", "[domain]\nslots = 01\n", 2, "leading zeroes"},
    {"NoUtf8", "[domain]\nname = \"\xff\"\n", 2, "letters beyond ASCII stand in comments"},
    {"NoUtf8InAComment", "[domain]\n# \xff\n", 2, "letters beyond ASCII stand in comments"},
    {"LettersInAString", "[log]\naudit = \"/\u00e9\"\n", 2, "in strings write \\uXXXX"},
    {"LettersInAKey", "[log]\nl\u00e9vel = 1\n", 2, "in strings write \\uXXXX"},
    {"LettersBehindABackslash", "[log]\naudit = \"/\\\u00e9\"\n", 2, "without a backslash"},
    {"LettersInALiteralString", "[log]\naudit = '/\u00e9'\n", 2, "without a backslash"},
    // What version 3.3 of the library is lost at.
    {"LettersBehindAJoinedLine", "[log]\naudit = \"\"\"\\\n\u00a7\"\"\"\n", 2,
     "letters beyond ASCII"},
    {"LinesOfOneStatement", "[[attach]]\nusers == [\n  \"root\",\n  \"alice\",\n]\nallow = true\n",
     2, "could not determine value type"},
    // What was left out is not said to be missing, and neither is it taken for something else.
    {"NameOfARule", "[[driver]]\nname = dma\n[[driver]]\nname = \"a\"\n", 2, "value type"},
    {"UsersOfARule", "[[attach]]\nusers = [root]\n[[attach]]\nallow = false\n", 2, "value type"},
};

std::string name_of(const testing::TestParamInfo<Wrong>& wrong) { return wrong.param.what; }

INSTANTIATE_TEST_SUITE_P(Unknown, Mistaken, testing::ValuesIn(kUnknown), name_of);
INSTANTIATE_TEST_SUITE_P(OfAnotherType, Mistaken, testing::ValuesIn(kOfAnotherType), name_of);
INSTANTIATE_TEST_SUITE_P(OutOfRange, Mistaken, testing::ValuesIn(kOutOfRange), name_of);
INSTANTIATE_TEST_SUITE_P(Twice, Mistaken, testing::ValuesIn(kTwice), name_of);
INSTANTIATE_TEST_SUITE_P(Contradicting, Mistaken, testing::ValuesIn(kContradicting), name_of);
INSTANTIATE_TEST_SUITE_P(NoToml, Mistaken, testing::ValuesIn(kNoToml), name_of);

std::vector<std::uint32_t> lines_of(const std::vector<Mistake>& mistakes) {
  std::vector<std::uint32_t> lines;
  for (const Mistake& mistake : mistakes) lines.push_back(mistake.line);
  return lines;
}

TEST(ReadConfig, TellsAllMistakesInTheirOrder) {
  const ConfigResult result = read(
      "[limits]\ndrvers = 1\nfds = -1\nresources = 11\n"
      "[[attach]]\nusers = [\"bob\", \"root\", \"carol\"]\n"
      "[domain]\nslots = 10\nname = 7\n"
      "[foo]\n");
  EXPECT_EQ(lines_of(result.mistakes), (std::vector<std::uint32_t>{2, 3, 4, 6, 6, 9, 10}))
      << list_of(result.mistakes);
  // What is fine is read nevertheless.
  EXPECT_EQ(result.config.domain.capacities.slots, 10u);
}

TEST(ReadConfig, GoesOnBehindWhatIsNotToml) {
  const ConfigResult result = read(
      "[limits]\ndrivers = = 1\nfds = -1\nfds = 3\n"
      "[domain\nslots = 0\n"
      "[grace]\nowner 1\nquiesce 2\n"
      "[[attach]]\nusers = [\"bob\",\nallow = true\n"
      "[log]\nlevel = loud\nrate_limit = 0\n");
  EXPECT_EQ(lines_of(result.mistakes), (std::vector<std::uint32_t>{2, 3, 4, 5, 8, 9, 11, 14, 15}))
      << list_of(result.mistakes);
}

TEST(ReadConfig, DrawsNoConclusionsFromWhatIsWrong) {
  // The first rule is not about everybody, though nothing of it can be used.
  const ConfigResult result =
      read("[[attach]]\nusers = [\"bob\"]\n[[attach]]\nallow = false\nuser = 1\n");
  EXPECT_EQ(lines_of(result.mistakes), (std::vector<std::uint32_t>{2, 5}))
      << list_of(result.mistakes);
}

TEST(ReadConfig, TellsABoundedNumberOfMistakes) {
  std::string text;
  for (int line = 0; line < 1000; ++line) text += "key" + std::to_string(line) + " = 1\n";
  EXPECT_EQ(read(text).mistakes.size(), Mistakes::kMost);
  text.clear();
  for (int line = 0; line < 1000; ++line) text += "key\n";
  EXPECT_EQ(read(text).mistakes.size(), Mistakes::kMost);
}

TEST(ReadConfig, IsNotTakenInByDepth) {
  const std::string deep = "a = " + std::string(100'000, '[');
  EXPECT_EQ(lines_of(read(deep).mistakes), std::vector<std::uint32_t>{1});
}

TEST(LoadText, ReadsRegularFilesOfBoundedSize) {
  const resmgr::test::TemporaryFolder folder;
  const std::string path = folder.path() / "resmgrd.toml";
  EXPECT_EQ(load_text(path).error().system_errno(), ENOENT);
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  write("[log]\n");
  EXPECT_EQ(load_text(path), "[log]\n");
  write(std::string(kMaxConfigBytes, '#'));
  EXPECT_EQ(load_text(path).value().size(), kMaxConfigBytes);
  write(std::string(kMaxConfigBytes + 1, '#'));
  const auto too_long = load_text(path);
  ASSERT_EQ(code_of(too_long), ErrorCode::InvalidArgument);
  EXPECT_EQ(too_long.error().requested(), kMaxConfigBytes + 1);
  EXPECT_EQ(too_long.error().available(), kMaxConfigBytes);
  EXPECT_EQ(code_of(load_text(folder.path())), ErrorCode::InvalidArgument);
  // Opening a pipe would wait for who writes to it.
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(code_of(load_text(path)), ErrorCode::InvalidArgument);
}

TEST(SystemAccounts, AreThoseOfTheMachine) {
  Accounts& accounts = Accounts::of_system();
  EXPECT_EQ(accounts.user("root"), 0u);
  EXPECT_EQ(accounts.group("root"), 0u);
  for (const std::string& name :
       {std::string(), std::string("no such account"), std::string("root\0", 5)}) {
    EXPECT_EQ(code_of(accounts.user(name)), ErrorCode::NotFound) << name;
    EXPECT_EQ(code_of(accounts.group(name)), ErrorCode::NotFound) << name;
  }
}

}  // namespace
}  // namespace resmgr::daemon
