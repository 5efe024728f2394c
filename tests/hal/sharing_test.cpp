// SPDX-License-Identifier: Apache-2.0
//
// Shares as the public interface shows them: who uses what, and what that is obeyed in.
#include <hal/resource_manager.hpp>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;

class SharingTest : public test::ManagerTest {
 protected:
  void SetUp() override {
    ManagerTest::SetUp();
    gpu = manager_->register_driver("gpu").value();
    dma = manager_->register_driver("dma").value();
    buffer = owned("buffer", gpu);
  }
  void TearDown() override { manager_->close(); }  // the last hooks write to `gone`
  [[nodiscard]] Handle owned(const std::string& name, DriverId driver,
                             ResourceFlags flags = ResourceFlags::Shareable) {
    RegisterOptions options;
    options.driver = driver;
    options.hooks.on_cleanup = [this, name](Handle) { gone.push_back(name); };
    auto handle = manager_->register_resource(name, {.flags = flags}, std::move(options));
    EXPECT_TRUE(handle) << handle.error().message();
    return handle.value_or(Handle());
  }
  void share(Handle handle, DriverId owner, DriverId with) {
    ASSERT_TRUE(manager_->share_resource(handle, owner, with, Rights::Acquire | Rights::Read));
  }

  std::vector<std::string> gone;  // in this order; complete once the manager closed
  DriverId gpu;
  DriverId dma;
  Handle buffer;
};

TEST_F(SharingTest, WhatAUserWithResourcesUsesStays) {
  share(buffer, gpu, dma);
  const Handle channel = owned("channel", dma);
  const auto used = manager_->unregister_resource(buffer);
  ASSERT_EQ(code_of(used), ErrorCode::InUse);
  EXPECT_EQ(used.error().message(),
            "unregister: in use; used by dma: unshare it, or unregister theirs first");
  EXPECT_EQ(manager_->info(buffer)->state, Lifecycle::Ready);
  EXPECT_TRUE(manager_->unregister_resource(channel));
  EXPECT_TRUE(manager_->unregister_resource(buffer));
}

TEST_F(SharingTest, UnsharingEndsTheUse) {
  share(buffer, gpu, dma);
  (void)owned("channel", dma);
  ASSERT_TRUE(manager_->unshare_resource(buffer, dma, dma));
  EXPECT_TRUE(manager_->unregister_resource(buffer));
}

TEST_F(SharingTest, TeardownGoesFromUserToUsed) {
  const Handle frame = owned("frame", {});
  const Handle channel = owned("channel", dma);
  ASSERT_TRUE(manager_->add_dependency(frame, buffer));
  ASSERT_TRUE(manager_->add_dependency(frame, channel));
  share(buffer, gpu, dma);
  EXPECT_EQ(manager_->teardown_order(frame).value(), (std::vector{frame, channel, buffer}));
  EXPECT_TRUE(manager_->teardown(frame));
  EXPECT_EQ(manager_->size(), 0u);
  manager_->close();
  EXPECT_EQ(gone, (std::vector<std::string>{"frame", "channel", "buffer"}));
}

TEST_F(SharingTest, TeardownOfACircleLeavesNothing) {
  const Handle frame = owned("frame", {});
  const Handle channel = owned("channel", dma);
  ASSERT_TRUE(manager_->add_dependency(frame, buffer));
  ASSERT_TRUE(manager_->add_dependency(frame, channel));
  share(buffer, gpu, dma);
  share(channel, dma, gpu);
  EXPECT_TRUE(manager_->teardown(frame));
  EXPECT_EQ(manager_->size(), 0u);
}

TEST_F(SharingTest, TeardownLeavesWhatOthersUse) {
  const Handle frame = owned("frame", {});
  ASSERT_TRUE(manager_->add_dependency(frame, buffer));
  share(buffer, gpu, dma);
  const Handle channel = owned("channel", dma);
  EXPECT_TRUE(manager_->teardown(frame));
  EXPECT_TRUE(manager_->is_valid(buffer));
  EXPECT_EQ(code_of(manager_->teardown(buffer)), ErrorCode::InUse);
  EXPECT_TRUE(manager_->is_valid(channel));
}

}  // namespace
}  // namespace hal
