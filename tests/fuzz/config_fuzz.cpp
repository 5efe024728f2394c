// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: texts that came as a configuration. Either they have mistakes, each with its place
// and its reason on one line, or a domain and a policy can be made of them.
// tests/fuzz/config_seed.toml says everything once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "resmgr/abi/layout.h"
#include "resmgr/daemon/config.hpp"
#include "resmgr/daemon/policy.hpp"
#include "tests/daemon/fake_accounts.hpp"

namespace resmgr::daemon {
namespace {

void expect_tellable(const std::vector<Mistake>& mistakes, std::string_view text) {
  const auto lines = std::ranges::count(text, '\n') + 1;
  EXPECT_LE(mistakes.size(), Mistakes::kMost);
  std::uint32_t last = 0;
  for (const Mistake& mistake : mistakes) {
    EXPECT_GE(mistake.line, std::max(last, 1u));
    EXPECT_LE(mistake.line, lines);
    EXPECT_FALSE(mistake.reason.empty());
    EXPECT_TRUE(std::ranges::none_of(
        mistake.reason, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }));
    last = mistake.line;
  }
}

void expect_usable(const Config& config) {
  EXPECT_TRUE(check_capacities(config.domain.capacities,
                               config.domain.compact_handles ? RM_DOMAIN_COMPACT_HANDLES : 0));
  const Policy policy(config, 1);
  const Identity who{.uid = 1000, .gid = 44};
  (void)policy.may_attach(who);
  for (const DriverRule& rule : config.drivers) {
    // A name that this rule or an earlier one is about, if only the users are.
    const auto driver = policy.driver(rule.name.substr(0, rule.name.find('*')), who);
    if (!driver) continue;
    (void)driver->may_register(ResourceType::Memory, "gpu-buffer", ResourcePriority::Normal, 0);
  }
}

void try_text(std::string_view text) {
  test::FakeAccounts accounts;
  const ConfigResult result = read_config(text, "fuzz.toml", accounts);
  expect_tellable(result.mistakes, text);
  if (result.mistakes.empty()) expect_usable(result.config);
}

}  // namespace
}  // namespace resmgr::daemon

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // A failed expectation ends the program, as any other finding does.
  GTEST_FLAG_SET(throw_on_failure, true);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  resmgr::daemon::try_text({reinterpret_cast<const char*>(data), size});
  return 0;
}
