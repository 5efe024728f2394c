// SPDX-License-Identifier: Apache-2.0
//
// Emergencies in one process: who is asked to let go, and from whom it is taken if he does not.
#include <hal/resource_manager.hpp>
#include <hal/ring.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using namespace std::chrono_literals;
using test::code_of;

/// So long that a test that waits for it has failed.
constexpr std::chrono::nanoseconds kLong = 100s;

class EmergencyTest : public test::ManagerTest {
 protected:
  /// With an owner who says so of its hardware, and is counted.
  Handle add_quiet(std::string_view name, Result<void> answer = {}) {
    RegisterOptions options;
    options.hooks.on_quiesce = [this, answer](Handle) {
      ++quiesced_;
      if (on_quiesce_) on_quiesce_();
      return answer;
    };
    auto handle = manager_->register_resource(name, {}, std::move(options));
    EXPECT_TRUE(handle) << handle.error().message();
    return handle.value_or(Handle());
  }
  /// On a thread of its own.
  std::future<Result<ScopedResource>> wait_for(Handle handle, std::chrono::nanoseconds yield,
                                               std::chrono::nanoseconds timeout = kLong,
                                               HoldKind kind = HoldKind::Exclusive) {
    return std::async(std::launch::async, [=, this] {
      auto hold = manager_->acquire_scoped_resource(
          handle,
          {.mode = AcquisitionMode::Emergency, .kind = kind, .timeout = timeout, .yield = yield});
      // Its thread ends here, and holds nothing.
      if (hold) {
        inconsistent_ = hold->inconsistent();
        EXPECT_TRUE(hold->release());
      }
      return hold;
    });
  }

  std::atomic<int> quiesced_ = 0;
  std::atomic<bool> inconsistent_ = false;
  std::function<void()> on_quiesce_;
};

TEST_F(EmergencyTest, AHolderWhoIsAskedLetsGo) {
  const Handle handle = add_quiet("a");
  const DriverId driver = manager_->register_driver("holder").value();
  Context task = manager_->create_context(driver).value();
  auto hold = manager_->acquire_scoped_resource(
      handle, {.mode = AcquisitionMode::Blocking, .context = &task});
  ASSERT_TRUE(hold);
  std::vector<RevokeRequest> asked;
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest& request) {
    asked.push_back(request);
    EXPECT_TRUE(hold->release());
  }));
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(wait_for(handle, kLong).get());
  manager_->close();  // the callback has returned
  ASSERT_EQ(asked.size(), 1u) << "once";
  EXPECT_EQ(asked[0].holder.context, task.id());
  EXPECT_EQ(asked[0].holder.handle, handle);
  EXPECT_EQ(asked[0].holder.kind, HoldKind::Exclusive);
  EXPECT_STREQ(asked[0].holder.driver.data(), "holder");
  EXPECT_STREQ(asked[0].holder.resource.data(), "a");
  EXPECT_NE(asked[0].by.context, task.id());
  EXPECT_EQ(asked[0].by.kind, HoldKind::Exclusive);
  EXPECT_STREQ(asked[0].by.resource.data(), "a");
  EXPECT_GE(asked[0].until, before + kLong);
  EXPECT_EQ(quiesced_, 0) << "nobody was forced";
  EXPECT_FALSE(inconsistent_);
}

TEST_F(EmergencyTest, WhoDoesNotLetGoLosesItOnceItIsQuiet) {
  const Handle handle = add_quiet("a");
  std::atomic<int> asked = 0;
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest&) { ++asked; }));
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  on_quiesce_ = [&] {
    EXPECT_EQ(asked, 1) << "first";
    // Nobody gets it meanwhile.
    std::thread([&] {
      EXPECT_EQ(code_of(manager_->try_acquire(handle)), ErrorCode::Quarantined);
    }).join();
  };
  EXPECT_TRUE(wait_for(handle, 1ms).get());
  EXPECT_EQ(quiesced_, 1);
  EXPECT_TRUE(inconsistent_);
  EXPECT_EQ(code_of(hold->downgrade()), ErrorCode::Revoked);
  EXPECT_EQ(code_of(hold->consistent()), ErrorCode::Revoked);
  EXPECT_EQ(code_of(manager_->try_acquire(handle)), ErrorCode::Revoked) << "he has not let go";
  EXPECT_EQ(code_of(hold->release()), ErrorCode::Revoked);
  EXPECT_EQ(log_.count("leak"), 0u);
  auto again = manager_->try_acquire(handle);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->inconsistent());
  EXPECT_TRUE(again->consistent());
  EXPECT_TRUE(again->release());
}

TEST_F(EmergencyTest, AllReadersAreAskedAndLoseIt) {
  const Handle handle = add_quiet("a");
  std::array<Context, 3> tasks{manager_->create_context().value(),
                               manager_->create_context().value(),
                               manager_->create_context().value()};
  std::vector<ScopedResource> holds;
  std::mutex mutex;
  std::vector<std::uint32_t> asked;
  for (Context& task : tasks) {
    holds.push_back(
        manager_->acquire_scoped_resource(handle, {.kind = HoldKind::Shared, .context = &task})
            .value());
  }
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest& request) {
    const std::lock_guard lock(mutex);
    asked.push_back(request.holder.context);
    EXPECT_EQ(request.holder.kind, HoldKind::Shared);
  }));
  // One of them has a callback of his own.
  std::atomic<int> own = 0;
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest&) { ++own; }, &tasks[1]));
  EXPECT_TRUE(wait_for(handle, 1ms).get());
  EXPECT_EQ(quiesced_, 1) << "once for all";
  EXPECT_EQ(own, 1);
  std::ranges::sort(asked);
  EXPECT_EQ(asked, (std::vector{tasks[0].id(), tasks[2].id()}));
  for (ScopedResource& hold : holds) {
    EXPECT_EQ(code_of(hold.try_upgrade()), ErrorCode::Revoked);
    EXPECT_EQ(code_of(hold.release()), ErrorCode::Revoked);
  }
  EXPECT_TRUE(manager_->try_acquire(handle));
}

// Who can't be made quiet keeps it; the wait goes on.
TEST_F(EmergencyTest, WithoutTheOwnersHookNobodyIsForced) {
  const Handle handle = add("a");
  std::atomic<int> asked = 0;
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest&) { ++asked; }));
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  EXPECT_EQ(code_of(wait_for(handle, 1ms, 50ms).get()), ErrorCode::TimedOut);
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(hold->downgrade()) << "untouched";
  EXPECT_TRUE(hold->release());
}

TEST_F(EmergencyTest, IfTheOwnersHookFailsNobodyIsForced) {
  const Handle handle = add_quiet("a", resmgr::fail(ErrorCode::System));
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  auto waiting = wait_for(handle, 1ms);
  while (quiesced_ == 0) std::this_thread::yield();
  // The gate is open again: who comes later waits as ever.
  ErrorCode code = ErrorCode::Quarantined;
  while (code == ErrorCode::Quarantined) {
    std::thread([&] { code = code_of(manager_->try_acquire(handle)); }).join();
  }
  EXPECT_EQ(code, ErrorCode::WouldBlock);
  EXPECT_TRUE(hold->downgrade()) << "untouched";
  EXPECT_TRUE(hold->release());
  EXPECT_TRUE(waiting.get()) << "and the wait went on";
  EXPECT_EQ(quiesced_, 1);
  EXPECT_FALSE(inconsistent_);
}

TEST_F(EmergencyTest, AHookThatThrowsHasMadeNothingQuiet) {
  const Handle handle = add_quiet("a");
  on_quiesce_ = [] { throw std::runtime_error("not today"); };
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  ASSERT_TRUE(manager_->on_revoke([](const RevokeRequest&) -> void { throw 1; }));
  auto waiting = wait_for(handle, 1ms);
  while (quiesced_ == 0) std::this_thread::yield();
  EXPECT_TRUE(hold->release()) << "it is his";
  EXPECT_TRUE(waiting.get());
}

// Who lets go while it is made quiet is not fenced.
TEST_F(EmergencyTest, AHoldThatEndsInTimeEndsAsAnyOther) {
  const Handle handle = add_quiet("a");
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  on_quiesce_ = [&] { EXPECT_TRUE(hold->release()); };
  EXPECT_TRUE(wait_for(handle, 1ms).get());
  EXPECT_FALSE(inconsistent_);
}

// Who gives up meanwhile takes nothing from anybody.
TEST_F(EmergencyTest, AWaitThatEndedForcesNobody) {
  const Handle handle = add_quiet("a");
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  std::future<Result<ScopedResource>> waiting;
  std::promise<void> begun;
  on_quiesce_ = [&] {
    begun.get_future().wait();
    EXPECT_EQ(code_of(waiting.get()), ErrorCode::TimedOut);
  };
  waiting = wait_for(handle, 1ms, 50ms);
  begun.set_value();
  while (quiesced_ == 0) std::this_thread::yield();
  ErrorCode code = ErrorCode::Quarantined;
  while (code == ErrorCode::Quarantined) {
    std::thread([&] { code = code_of(manager_->try_acquire(handle)); }).join();
  }
  EXPECT_EQ(code, ErrorCode::WouldBlock);
  EXPECT_TRUE(hold->release()) << "untouched";
}

TEST_F(EmergencyTest, WhoIsNotInTheWayIsNotAsked) {
  const Handle handle = add_quiet("a");
  std::atomic<int> asked = 0;
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest&) { ++asked; }));
  // Nothing to wait for.
  EXPECT_TRUE(wait_for(handle, 1ms, kLong, HoldKind::Shared).get());
  auto hold = manager_->acquire_scoped_resource(
      handle, {.mode = AcquisitionMode::Blocking, .kind = HoldKind::Shared});
  ASSERT_TRUE(hold);
  EXPECT_TRUE(wait_for(handle, 1ms, kLong, HoldKind::Shared).get());
  // No emergency.
  std::thread([&] {
    EXPECT_EQ(code_of(manager_->acquire_scoped_resource(
                  handle, {.mode = AcquisitionMode::Timeout, .timeout = 1ms})),
              ErrorCode::TimedOut);
  }).join();
  EXPECT_TRUE(hold->release());
  manager_->close();
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(quiesced_, 0);
}

// Each wait asks, and each takes from the one before it.
TEST_F(EmergencyTest, OneEmergencyAfterTheOther) {
  const Handle handle = add_quiet("a");
  Context first = manager_->create_context().value();
  Context second = manager_->create_context().value();
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  const auto urgent = [&](Context& context) {
    return manager_->acquire_scoped_resource(
        handle,
        {.mode = AcquisitionMode::Emergency, .timeout = kLong, .yield = 1ms, .context = &context});
  };
  auto one = urgent(first);
  ASSERT_TRUE(one);
  auto two = urgent(second);
  ASSERT_TRUE(two);
  EXPECT_EQ(code_of(hold->release()), ErrorCode::Revoked);
  EXPECT_EQ(code_of(one->release()), ErrorCode::Revoked);
  EXPECT_TRUE(two->release());
  EXPECT_EQ(quiesced_, 2);
}

// By its name it is let go of as well; and the name of the resource is not that of an old hold.
TEST_F(EmergencyTest, WhatWasFencedIsReleasedByHandle) {
  const Handle handle = add_quiet("a");
  Context other = manager_->create_context().value();
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    auto hold = manager_->acquire_scoped_resource(
        handle, {.mode = AcquisitionMode::Blocking, .kind = kind});
    ASSERT_TRUE(hold);
    EXPECT_TRUE(wait_for(handle, 1ms).get());
    EXPECT_EQ(code_of(manager_->release_resource(handle, &other)), ErrorCode::NotPermitted);
    EXPECT_EQ(code_of(manager_->release_resource(handle)), ErrorCode::Revoked);
    EXPECT_EQ(code_of(manager_->release_resource(handle)), ErrorCode::NotPermitted);
    auto again = manager_->acquire_scoped_resource(
        handle, {.mode = AcquisitionMode::Blocking, .kind = kind});
    ASSERT_TRUE(again);
    EXPECT_EQ(code_of(hold->release()), ErrorCode::Revoked) << "the old ref";
    EXPECT_TRUE(manager_->release_resource(handle));
  }
}

TEST_F(EmergencyTest, ACallbackGoesWithItsContextOrIsTakenBack) {
  const Handle handle = add("a");
  std::atomic<int> asked = 0;
  const auto count = [&](const RevokeRequest&) { ++asked; };
  {
    Context task = manager_->create_context().value();
    ASSERT_TRUE(manager_->on_revoke(count, &task));
  }
  ASSERT_TRUE(manager_->on_revoke(count));
  ASSERT_TRUE(manager_->on_revoke({}));
  Context task = manager_->create_context().value();
  auto hold = manager_->acquire_scoped_resource(
      handle, {.mode = AcquisitionMode::Blocking, .context = &task});
  ASSERT_TRUE(hold);
  EXPECT_EQ(code_of(wait_for(handle, 1ms, 20ms).get()), ErrorCode::TimedOut);
  EXPECT_EQ(asked, 0);
  const auto elsewhere = ResourceManager::create().value();
  EXPECT_EQ(code_of(elsewhere->on_revoke(count, &task)), ErrorCode::InvalidArgument);
  elsewhere->close();
  EXPECT_EQ(code_of(elsewhere->on_revoke(count)), ErrorCode::Disconnected);
}

TEST_F(EmergencyTest, IsAskedOnHisRing) {
  const Handle handle = add_quiet("a");
  auto ring = Ring::create().value();
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  std::thread::id where;
  ASSERT_TRUE(ring->on_revoke(*manager_, [&](const RevokeRequest& request) {
    where = std::this_thread::get_id();
    EXPECT_EQ(request.holder.handle, handle);
    EXPECT_TRUE(hold->release());
  }));
  auto waiting = wait_for(handle, kLong);
  while (where == std::thread::id()) ASSERT_TRUE(ring->poll(1ms));
  EXPECT_EQ(where, std::this_thread::get_id());
  EXPECT_TRUE(waiting.get());
  EXPECT_EQ(quiesced_, 0);
}

// Its ring is gone; he is as one who has no callback.
TEST_F(EmergencyTest, ARingThatIsGoneIsNotAsked) {
  const Handle handle = add_quiet("a");
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  ASSERT_TRUE(Ring::create().value()->on_revoke(
      *manager_, [](const RevokeRequest&) { ADD_FAILURE() << "asked"; }));
  EXPECT_TRUE(wait_for(handle, 1ms).get());
  EXPECT_EQ(code_of(hold->release()), ErrorCode::Revoked);
}

// A task that waits in an emergency on a ring takes from others as well.
TEST_F(EmergencyTest, AWaitWithoutAThread) {
  const Handle handle = add_quiet("a");
  auto ring = Ring::create().value();
  Context task = manager_->create_context().value();
  auto hold = manager_->acquire_scoped_resource(handle);
  ASSERT_TRUE(hold);
  Result<ScopedResource> got = resmgr::fail(ErrorCode::Cancelled);
  ASSERT_TRUE(ring->acquire(
      *manager_, handle,
      {.mode = AcquisitionMode::Emergency, .timeout = kLong, .yield = 1ms, .context = &task},
      [&](Result<ScopedResource> outcome) { got = std::move(outcome); }));
  ASSERT_TRUE(ring->run());
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(code_of(hold->release()), ErrorCode::Revoked);
  EXPECT_TRUE(got->release());
}

// Closing the manager in the middle of it leaves nothing behind.
TEST_F(EmergencyTest, TheManagerClosesMeanwhile) {
  const Handle handle = add_quiet("a");
  Context task = manager_->create_context().value();
  auto hold = manager_->acquire_scoped_resource(
      handle, {.mode = AcquisitionMode::Blocking, .context = &task});
  ASSERT_TRUE(hold);
  std::promise<void> asked;
  ASSERT_TRUE(manager_->on_revoke([&](const RevokeRequest&) { asked.set_value(); }));
  auto waiting = wait_for(handle, kLong, 20ms);
  asked.get_future().wait();
  EXPECT_EQ(code_of(waiting.get()), ErrorCode::TimedOut);
  manager_->close();
  EXPECT_EQ(code_of(hold->release()), ErrorCode::Disconnected);
}

}  // namespace
}  // namespace hal
