// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/policy.hpp"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/daemon/name_pattern.hpp"
#include "tests/base/support.hpp"
#include "tests/daemon/fake_accounts.hpp"

namespace resmgr::daemon {
namespace {

using resmgr::test::code_of;

constexpr uid_t kDaemon = 200;
constexpr uid_t kAlice = 1000;
constexpr gid_t kVideo = 44;

Policy policy_of(std::string_view text) {
  test::FakeAccounts accounts;
  const ConfigResult result = read_config(text, "test.toml", accounts);
  for (const Mistake& mistake : result.mistakes) {
    ADD_FAILURE() << "line " << mistake.line << ": " << mistake.reason;
  }
  return Policy(result.config, kDaemon);
}

Identity user(uid_t uid) { return {.uid = uid, .gid = 1, .groups = {}}; }

/// The detail of a NotPermitted.
std::string refusal_of(const auto& result) {
  EXPECT_EQ(code_of(result), ErrorCode::NotPermitted);
  return result ? std::string() : std::string(result.error().detail());
}

TEST(Policy, LetsRootAndTheDaemonsUserAttachWithoutRules) {
  const Policy policy = policy_of("");
  EXPECT_TRUE(policy.may_attach(user(0)));
  EXPECT_TRUE(policy.may_attach(user(kDaemon)));
  EXPECT_EQ(refusal_of(policy.may_attach(user(kAlice))),
            "user 1000 is neither root nor the daemon's, and test.toml has no [[attach]]");
  // Group 0 is not root.
  EXPECT_FALSE(policy.may_attach({.uid = kAlice, .gid = 0}));
}

TEST(Policy, LetsTheFirstRuleDecideWhoAttaches) {
  const Policy policy = policy_of(
      "[[attach]]\nusers = [\"nobody\"]\nallow = false\n"
      "[[attach]]\ngroups = [\"video\"]\n"
      "[[attach]]\nusers = [\"alice\"]\n");
  EXPECT_TRUE(policy.may_attach(user(kAlice)));
  EXPECT_TRUE(policy.may_attach({.uid = 7, .gid = kVideo}));
  const std::array<gid_t, 2> groups{9, kVideo};
  EXPECT_TRUE(policy.may_attach({.uid = 7, .gid = 1, .groups = groups}));
  EXPECT_EQ(refusal_of(policy.may_attach({.uid = 65534, .gid = kVideo})),
            "user 65534 is refused by the rule in test.toml:1");
  const std::string nobodys = "no [[attach]] in test.toml is about user ";
  EXPECT_EQ(refusal_of(policy.may_attach(user(7))), nobodys + "7");
  EXPECT_EQ(refusal_of(policy.may_attach({.uid = 7, .gid = 1, .groups = {groups.data(), 1}})),
            nobodys + "7");
  // Where there are rules, they are all there is.
  EXPECT_EQ(refusal_of(policy.may_attach(user(0))), nobodys + "0");
  EXPECT_EQ(refusal_of(policy.may_attach(user(kDaemon))), nobodys + "200");
}

TEST(Policy, ExceptsSomeFromEverybody) {
  const Policy policy =
      policy_of("[[attach]]\nusers = [\"nobody\"]\nallow = false\n[[attach]]\nallow = true\n");
  EXPECT_TRUE(policy.may_attach(user(7)));
  EXPECT_FALSE(policy.may_attach(user(65534)));
}

TEST(Policy, LetsRootTheDaemonsUserAndWhomItNamesOperate) {
  const Policy silent = policy_of("[operators]\n");
  EXPECT_TRUE(silent.may_operate(user(0)));
  EXPECT_TRUE(silent.may_operate(user(kDaemon)));
  EXPECT_EQ(refusal_of(silent.may_operate(user(kAlice))),
            "user 1000 is neither root nor the daemon's, and no one whom [operators] in test.toml "
            "names");
  EXPECT_FALSE(silent.may_operate({.uid = kAlice, .gid = 0})) << "group 0 is not root";
  const Policy named = policy_of("[operators]\nusers = [\"alice\"]\ngroups = [\"video\"]\n");
  EXPECT_TRUE(named.may_operate(user(kAlice)));
  EXPECT_TRUE(named.may_operate({.uid = 7, .gid = kVideo}));
  EXPECT_FALSE(named.may_operate(user(7)));
}

TEST(Policy, AllowsAnyDriverAnythingWithoutRules) {
  const Policy policy = policy_of("");
  const auto driver = policy.driver("whatever", user(7));
  ASSERT_TRUE(driver);
  EXPECT_TRUE(driver->may_use_emergency());
  EXPECT_TRUE(driver->may_register(ResourceType::Custom, "", ResourcePriority::Critical, 100));
  EXPECT_TRUE(driver->may_register(ResourceType::Hardware, "any", ResourcePriority::Low, 0));
  // A value that is no type.
  EXPECT_FALSE(driver->may_register(static_cast<ResourceType>(6), "", ResourcePriority::Low, 0));
  EXPECT_FALSE(driver->may_register(static_cast<ResourceType>(255), "", ResourcePriority::Low, 0));
}

TEST(Policy, RefusesDriversThatNoRuleIsAbout) {
  const Policy policy = policy_of(
      "[[driver]]\nname = \"dma-edu\"\nusers = [\"alice\"]\nmax_resources = 1\n"
      "[[driver]]\nname = \"dma-*\"\ngroups = [\"video\"]\nmax_resources = 2\n"
      "[[driver]]\nname = \"gpu\"\n");
  const auto most = [&](std::string_view name, const Identity& who) -> std::uint32_t {
    const auto driver = policy.driver(name, who);
    if (!driver) return 0;
    std::uint32_t owned = 0;
    while (owned < 10 &&
           driver->may_register(ResourceType::Hardware, "c", ResourcePriority::Low, owned)) {
      ++owned;
    }
    return owned;
  };
  EXPECT_EQ(most("dma-edu", user(kAlice)), 1u);
  EXPECT_EQ(most("dma-edu", {.uid = 7, .gid = kVideo}), 2u);
  EXPECT_EQ(most("dma-edu", {.uid = kAlice, .gid = kVideo}), 1u);
  EXPECT_EQ(most("dma-", {.uid = 7, .gid = kVideo}), 2u);
  EXPECT_EQ(most("gpu", user(7)), 10u);
  EXPECT_EQ(refusal_of(policy.driver("dma-edu", user(7))),
            "the rule for driver 'dma-edu' in test.toml:1 is not about user 7");
  EXPECT_EQ(refusal_of(policy.driver("dma-other", user(0))),
            "the rule for driver 'dma-other' in test.toml:5 is not about user 0");
  EXPECT_EQ(refusal_of(policy.driver("gpu2", user(kAlice))),
            "no [[driver]] in test.toml is about driver 'gpu2'");
  EXPECT_EQ(refusal_of(policy.driver("dma", {.uid = 7, .gid = kVideo})),
            "no [[driver]] in test.toml is about driver 'dma'");
}

DriverPolicy driver_of(const std::string& rule) {
  return policy_of("[[driver]]\nname = \"*\"\n" + rule).driver("d", user(7)).value();
}

TEST(DriverPolicy, BoundsTypesAndPrioritiesAndNumbers) {
  const DriverPolicy driver =
      driver_of("types = [\"memory\", \"custom\"]\nmax_priority = \"normal\"\nmax_resources = 3\n");
  for (unsigned type = 0; type < kResourceTypes; ++type) {
    const auto value = static_cast<ResourceType>(type);
    const bool listed = value == ResourceType::Memory || value == ResourceType::Custom;
    const auto allowed = driver.may_register(value, "c", ResourcePriority::Normal, 2);
    EXPECT_EQ(allowed.has_value(), listed) << type;
    if (listed) continue;
    EXPECT_EQ(refusal_of(allowed), "by the rule in test.toml:1");
  }
  EXPECT_EQ(code_of(driver.may_register(ResourceType::Memory, "c", ResourcePriority::High, 2)),
            ErrorCode::NotPermitted);
  const auto full = driver.may_register(ResourceType::Memory, "c", ResourcePriority::Normal, 3);
  ASSERT_EQ(code_of(full), ErrorCode::CapacityExceeded);
  EXPECT_EQ(full.error().requested(), 4u);
  EXPECT_EQ(full.error().available(), 3u);
  EXPECT_EQ(full.error().detail(), "by the rule in test.toml:1");
}

TEST(DriverPolicy, MayBeOneThatRegistersNothing) {
  const DriverPolicy driver = driver_of("may_register = false\n");
  const auto refused = driver.may_register(ResourceType::Memory, "c", ResourcePriority::Low, 0);
  EXPECT_EQ(refusal_of(refused), "by the rule in test.toml:1");
  EXPECT_STREQ(refused.error().context(), "the driver may not register resources");
}

TEST(DriverPolicy, HasEmergencyOnlyWhereARuleSaysSo) {
  EXPECT_FALSE(driver_of("").may_use_emergency());
  EXPECT_TRUE(driver_of("emergency = true\n").may_use_emergency());
}

TEST(DriverPolicy, GoesOnWhenThePolicyIsReplaced) {
  std::optional<Policy> policy =
      policy_of("[[driver]]\nname = \"*\"\nclasses = [\"dma-channel-of-a-long-name\"]\n");
  const DriverPolicy driver = policy->driver("d", user(7)).value();
  policy.reset();
  const auto ask = [&](std::string_view name) {
    return driver.may_register(ResourceType::Memory, name, ResourcePriority::Low, 0);
  };
  EXPECT_TRUE(ask("dma-channel-of-a-long-name"));
  EXPECT_EQ(refusal_of(ask("other")), "by the rule in test.toml:1");
}

TEST(DriverPolicy, FindsClassesAmongPatterns) {
  const std::vector<std::string> patterns{"b",   "gpu-*", "gpu-frame-*", "gpu.x", "a*",
                                          "abc", "ab*",   "zz",          "g",     "z-*"};
  std::string list;
  for (const std::string& pattern : patterns) list += "\"" + pattern + "\",";
  const DriverPolicy driver = driver_of("classes = [" + list + "]\n");
  std::size_t allowed = 0;
  for (const std::string_view name :
       {"",    "a",    "ab",        "abc",         "abd",    "b",    "ba",    "g",      "gp",
        "gpu", "gpu-", "gpu-frame", "gpu-frame-1", "gpu-zz", "gpu.", "gpu.x", "gpu.xy", "gpuz",
        "z",   "z-",   "z-1",       "zz",          "zzz",    "Z",    "9"}) {
    bool expected = false;
    for (const std::string& pattern : patterns) {
      expected = expected || pattern_matches(pattern, name);
    }
    allowed += expected ? 1 : 0;
    EXPECT_EQ(driver.may_register(ResourceType::Memory, name, ResourcePriority::Low, 0).has_value(),
              expected)
        << name;
  }
  EXPECT_EQ(allowed, 14u);
  const DriverPolicy all = driver_of("classes = [\"*\"]\n");
  EXPECT_TRUE(all.may_register(ResourceType::Memory, "", ResourcePriority::Low, 0));
  EXPECT_TRUE(all.may_register(ResourceType::Memory, "x", ResourcePriority::Low, 0));
}

TEST(Policy, HasTheLimits) {
  const Policy policy = policy_of("[limits]\nfds = 9\n[grace]\nquiesce_attempts = 8\n");
  EXPECT_EQ(policy.limits(), (Limits{.fds = 9}));
  EXPECT_EQ(policy.grace(), (Grace{.quiesce_attempts = 8}));
}

/// All names of up to three letters that a pattern might meet.
std::vector<std::string> names(std::string_view letters) {
  std::vector<std::string> all{""};
  for (std::size_t i = 0; all[i].size() < 3; ++i) {
    for (const char letter : letters) all.push_back(all[i] + letter);
  }
  return all;
}

TEST(NamePattern, CoversAndMeetsAsItsNamesDo) {
  std::vector<std::string> patterns;
  const std::vector<std::string> all = names("ab");
  for (const std::string& stem : all) {
    if (stem.size() < 3) patterns.push_back(stem + "*");
    if (!stem.empty()) patterns.push_back(stem);
  }
  for (const std::string& a : patterns) {
    for (const std::string& b : patterns) {
      bool covers = true;
      bool meet = false;
      for (const std::string& name : all) {
        covers = covers && (pattern_matches(a, name) || !pattern_matches(b, name));
        meet = meet || (pattern_matches(a, name) && pattern_matches(b, name));
      }
      EXPECT_EQ(pattern_covers(a, b), covers) << a << " " << b;
      EXPECT_EQ(patterns_meet(a, b), meet) << a << " " << b;
    }
  }
}

TEST(NamePattern, IsANameOrItsBeginning) {
  const std::string longest(31, 'n');
  for (const std::string& good :
       {std::string("a"), std::string("*"), std::string("a-b/c.*"), longest, longest + "*"}) {
    EXPECT_TRUE(is_pattern(good)) << good;
  }
  for (const std::string& bad :
       {std::string(""), std::string("**"), std::string("*a"), std::string("a*b"),
        std::string("a b"), longest + "n", longest + "n*"}) {
    EXPECT_FALSE(is_pattern(bad)) << bad;
  }
}

}  // namespace
}  // namespace resmgr::daemon
