// SPDX-License-Identifier: Apache-2.0
//
// Shares as the public interface shows them: who uses what, and what that is obeyed in.
#include <hal/resource_manager.hpp>

#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <thread>
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

  /// What needs the buffer and this.
  [[nodiscard]] Handle frame_with(Handle channel) {
    const Handle frame = owned("frame", {});
    EXPECT_TRUE(manager_->add_dependency(frame, buffer));
    EXPECT_TRUE(manager_->add_dependency(frame, channel));
    return frame;
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
            "unregister: in use; used by dma: unshare it, or unregister theirs first; of two that "
            "use each other one has to unshare");
  EXPECT_EQ(manager_->info(buffer)->state, Lifecycle::Ready);
  EXPECT_TRUE(manager_->unregister_resource(channel));
  EXPECT_TRUE(manager_->unregister_resource(buffer));
}

TEST_F(SharingTest, WhoBecomesAUserWhileItWaitsIsObeyed) {
  share(buffer, gpu, dma);
  Context task = manager_->create_context().value();
  auto hold = manager_->acquire_scoped_resource(buffer, AcquireOptions{.context = &task});
  ASSERT_TRUE(hold);
  std::thread remover([&] {
    EXPECT_EQ(code_of(manager_->unregister_resource(buffer, std::chrono::hours(1))),
              ErrorCode::InUse);
  });
  while (manager_->get_resource_stats(buffer)->waiting == 0) std::this_thread::yield();
  const Handle channel = owned("channel", dma);
  EXPECT_TRUE(hold->release());
  remover.join();
  EXPECT_EQ(manager_->info(buffer)->state, Lifecycle::Ready);
  EXPECT_EQ(manager_->get_resource_stats(buffer)->exclusive_acquisitions, 1u);
  EXPECT_TRUE(manager_->try_acquire(buffer));
  EXPECT_TRUE(manager_->unregister_resource(channel));
  EXPECT_TRUE(manager_->unregister_resource(buffer));
}

TEST_F(SharingTest, UnsharingEndsTheUse) {
  share(buffer, gpu, dma);
  (void)owned("channel", dma);
  ASSERT_TRUE(manager_->unshare_resource(buffer, dma, dma));
  EXPECT_TRUE(manager_->unregister_resource(buffer));
}

TEST_F(SharingTest, OneOfTwoThatUseEachOtherHasToUnshare) {
  share(buffer, gpu, dma);
  const Handle channel = owned("channel", dma);
  share(channel, dma, gpu);
  EXPECT_EQ(code_of(manager_->unregister_resource(buffer)), ErrorCode::InUse);
  EXPECT_EQ(code_of(manager_->unregister_resource(channel)), ErrorCode::InUse);
  EXPECT_EQ(code_of(manager_->teardown(buffer)), ErrorCode::InUse);
  ASSERT_TRUE(manager_->unshare_resource(buffer, dma, dma));
  EXPECT_EQ(code_of(manager_->unregister_resource(channel)), ErrorCode::InUse);
  EXPECT_TRUE(manager_->unregister_resource(buffer));
  EXPECT_TRUE(manager_->unregister_resource(channel));
}

TEST_F(SharingTest, TeardownGoesFromUserToUsed) {
  const Handle channel = owned("channel", dma);
  const Handle frame = frame_with(channel);
  share(buffer, gpu, dma);
  EXPECT_EQ(manager_->teardown_order(frame).value(), (std::vector{frame, channel, buffer}));
  EXPECT_TRUE(manager_->teardown(frame));
  EXPECT_EQ(manager_->size(), 0u);
  manager_->close();
  EXPECT_EQ(gone, (std::vector<std::string>{"frame", "channel", "buffer"}));
}

TEST_F(SharingTest, ClosingGoesFromUserToUsed) {
  const Handle device = owned("device", {});
  const Handle channel = owned("channel", dma);
  const Handle apart = owned("apart", {});
  const Handle frame = owned("frame", {});
  ASSERT_TRUE(manager_->add_dependency(frame, channel));
  ASSERT_TRUE(manager_->add_dependency(buffer, device));
  ASSERT_TRUE(manager_->add_dependency(channel, device));
  share(buffer, gpu, dma);
  EXPECT_TRUE(manager_->is_valid(apart));
  manager_->close();
  const auto place = [&](std::string_view name) { return std::ranges::find(gone, name); };
  EXPECT_EQ(gone.size(), 5u);
  EXPECT_LT(place("frame"), place("channel"));
  EXPECT_LT(place("channel"), place("buffer"));
  EXPECT_LT(place("buffer"), place("device"));
}

TEST_F(SharingTest, ClosingACircleOfUseGoesBySlot) {
  const Handle channel = owned("channel", dma);
  (void)owned("apart", {});
  share(buffer, gpu, dma);
  share(channel, dma, gpu);
  manager_->close();
  EXPECT_EQ(gone, (std::vector<std::string>{"buffer", "channel", "apart"}));
}

TEST_F(SharingTest, TeardownOfACircleLeavesNothing) {
  const Handle channel = owned("channel", dma);
  const Handle frame = frame_with(channel);
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

class RestrictedTest : public SharingTest {
 protected:
  // Whether contexts of this driver may acquire `handle`, by each way there is; all must agree.
  [[nodiscard]] bool may_acquire(DriverId driver) {
    Context context = manager_->create_context(driver).value();
    std::vector<ErrorCode> answers;
    for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
      for (const AcquisitionMode mode : {AcquisitionMode::NonBlocking, AcquisitionMode::Blocking,
                                         AcquisitionMode::Timeout, AcquisitionMode::Emergency}) {
        AcquireOptions options{.mode = mode, .kind = kind, .context = &context};
        options.timeout = std::chrono::hours(1);
        answers.push_back(code_of(manager_->acquire_scoped_resource(handle, options)));
        answers.push_back(code_of(manager_->acquire_all(std::span(&handle, 1), options)));
      }
    }
    EXPECT_TRUE(manager_->set_thread_driver(driver));
    // So many that the fast path is taken: it needs the tick that starts with frequent holds.
    for (int round = 0; round < 20'000; ++round) {
      EXPECT_TRUE(manager_->try_acquire(buffer));
      answers.push_back(code_of(manager_->try_acquire(handle)));
      answers.push_back(code_of(manager_->try_acquire_shared(handle)));
    }
    answers.push_back(code_of(manager_->weak(handle).lock()));
    EXPECT_TRUE(std::ranges::all_of(answers, [&](ErrorCode code) { return code == answers[0]; }));
    EXPECT_TRUE(answers[0] == ErrorCode{} || answers[0] == ErrorCode::NotPermitted);
    return answers[0] == ErrorCode{};
  }

  Handle handle = {};
};

TEST_F(RestrictedTest, OnlyTheOwnerAndWhoHasTheRightAcquire) {
  handle = owned("ring", gpu, ResourceFlags::Shareable | ResourceFlags::Restricted);
  EXPECT_TRUE(may_acquire(gpu));
  EXPECT_FALSE(may_acquire(dma));
  EXPECT_FALSE(may_acquire({}));
  ASSERT_TRUE(manager_->share_resource(handle, gpu, dma, Rights::Read | Rights::Write));
  EXPECT_FALSE(may_acquire(dma)) << "to map is not to acquire";
  ASSERT_TRUE(manager_->share_resource(handle, gpu, dma, Rights::Acquire));
  EXPECT_TRUE(may_acquire(dma));
  ASSERT_TRUE(manager_->unshare_resource(handle, gpu, dma));
  EXPECT_FALSE(may_acquire(dma));
  EXPECT_FALSE(manager_->get_resource_stats(handle)->waiting);
}

TEST_F(RestrictedTest, OthersAreOpenToEverybody) {
  handle = buffer;
  EXPECT_TRUE(may_acquire(gpu));
  EXPECT_TRUE(may_acquire(dma));
  EXPECT_TRUE(may_acquire({}));
}

TEST_F(RestrictedTest, HoldsOutliveTheRightButDoNotGrow) {
  handle = owned("ring", gpu, ResourceFlags::Shareable | ResourceFlags::Restricted);
  share(handle, gpu, dma);
  ASSERT_TRUE(manager_->set_thread_driver(dma));
  auto hold = manager_->try_acquire_shared(handle);
  ASSERT_TRUE(hold);
  ASSERT_TRUE(manager_->unshare_resource(handle, gpu, dma));
  EXPECT_EQ(manager_->holds().value().size(), 1u);
  EXPECT_EQ(code_of(hold->try_upgrade()), ErrorCode::NotPermitted);
  EXPECT_EQ(code_of(hold->upgrade({.mode = AcquisitionMode::Blocking})), ErrorCode::NotPermitted);
  EXPECT_EQ(hold->kind(), HoldKind::Shared);
  EXPECT_TRUE(hold->release());
  EXPECT_EQ(code_of(manager_->try_acquire_shared(handle)), ErrorCode::NotPermitted);
}

TEST_F(RestrictedTest, AnybodyUnregistersIt) {
  handle = owned("ring", gpu, ResourceFlags::Restricted);
  ASSERT_TRUE(manager_->set_thread_driver(dma));
  EXPECT_TRUE(manager_->unregister_resource(handle));
}

TEST_F(RestrictedTest, ItNeedsAnOwner) {
  EXPECT_EQ(code_of(manager_->register_resource("ring", {.flags = ResourceFlags::Restricted})),
            ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace hal
