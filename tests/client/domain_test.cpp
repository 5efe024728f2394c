// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/domain.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace resmgr::client {
namespace {

class DomainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Domain::create({.name = "test", .capacities = {}, .log = {}});
    ASSERT_TRUE(made);
    domain_ = *made;
  }
  void TearDown() override {
    if (domain_) domain_->close();
  }
  std::shared_ptr<Domain> domain_;
};

TEST_F(DomainTest, WhatAlwaysMovesIsReadWhileNobodyChangesIt) {
  int reads = 0;
  bool changed = false;
  std::thread changer;
  const auto result = domain_->read_settled([&](const registry::RegistryView&) -> Result<int> {
    if (++reads == 1) return fail(ErrorCode::WouldBlock);
    // A change that begins now has to wait until this is over.
    changer = std::thread([&] {
      EXPECT_TRUE(domain_->authority().intern_driver("late"));
      changed = true;
    });
    return changed ? 0 : reads;
  });
  changer.join();
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, 2);
  EXPECT_TRUE(changed);
}

TEST_F(DomainTest, WhatIsReadAtOnceOrFailsIsReadOnce) {
  int reads = 0;
  const auto settled = domain_->read_settled([&](const auto&) -> Result<int> { return ++reads; });
  EXPECT_EQ(settled.value_or(0), 1);
  const auto failed = domain_->read_settled([&](const auto&) -> Result<int> {
    ++reads;
    return fail(ErrorCode::StaleHandle);
  });
  EXPECT_EQ(failed.error().code(), ErrorCode::StaleHandle);
  EXPECT_EQ(reads, 2);
}

}  // namespace
}  // namespace resmgr::client
