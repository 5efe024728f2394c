// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/descriptor_limit.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

namespace resmgr::daemon {
namespace {

rlimit limit_of_descriptors() {
  rlimit limit{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  return limit;
}

TEST(DescriptorLimit, IsRaisedAsFarAsIsAllowed) {
  const rlimit before = limit_of_descriptors();
  const rlimit low{.rlim_cur = before.rlim_max / 2, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_descriptor_limit().value(), before.rlim_max);
  EXPECT_EQ(limit_of_descriptors().rlim_cur, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(DescriptorLimit, IsComparedWithWhatClientsArePromised) {
  Config config;
  config.domain.capacities.clients = 10;
  config.limits.fds = 100;
  const std::uint64_t promised = promised_descriptors(config);
  EXPECT_GE(promised, 10u * 100);
  EXPECT_EQ(descriptor_warning(config, promised), "");
  const std::string warning = descriptor_warning(config, promised - 1);
  EXPECT_NE(warning.find(std::to_string(promised)), std::string::npos) << warning;
  EXPECT_NE(warning.find(std::to_string(promised - 1)), std::string::npos) << warning;
  config.limits.fds = 1'000'000;
  config.domain.capacities.clients = RM_MAX_CLIENTS;
  EXPECT_GT(promised_descriptors(config), std::uint64_t{1} << 31) << "no 32 bits";
}

}  // namespace
}  // namespace resmgr::daemon
