// SPDX-License-Identifier: Apache-2.0
//
// Lazy resources: Allocated until somebody acquires or maps them.
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "resmgr/base/error.hpp"
#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;

/// Makes memory, or what a test wants instead.
class Scripted final : public Backing {
 public:
  Result<BackingMemory> make(const std::string& name, const ResourceMetadata& metadata) override {
    ++calls;
    if (meanwhile) meanwhile();
    if (broken) return resmgr::fail(ErrorCode::PoolExhausted, "an author's error");
    return Backing::memfd()->make(name, metadata);
  }

  std::atomic<int> calls = 0;
  std::atomic<bool> broken = false;
  std::function<void()> meanwhile;
};

class LazyTest : public test::ManagerTest {
 protected:
  Handle add_lazy(std::string_view name, ResourceFlags more = ResourceFlags::None) {
    RegisterOptions options;
    options.backing = backing_;
    auto handle = manager_->register_resource(
        name, {.size_bytes = 100, .flags = ResourceFlags::Lazy | more}, std::move(options));
    EXPECT_TRUE(handle) << handle.error().message();
    return handle.value_or(Handle());
  }
  [[nodiscard]] Lifecycle state(Handle handle) { return manager_->info(handle)->state; }

  std::shared_ptr<Scripted> backing_ = std::make_shared<Scripted>();
};

TEST_F(LazyTest, MemoryAppearsAtTheFirstAcquisition) {
  const auto acquire = [&](Handle handle, int way) -> bool {
    const std::array<Handle, 1> one{handle};
    const auto done = [](const auto& result) { return result.has_value(); };
    switch (way) {
      case 0:
        return done(manager_->try_acquire(handle));
      case 1:
        return done(manager_->try_acquire_shared(handle));
      case 2:
        return done(manager_->acquire_scoped_resource(handle));
      case 3:
        return done(manager_->acquire_all(one));
      case 4:
        return done(manager_->acquire_aggregate(handle));
      default:
        return done(manager_->weak(handle).lock());
    }
  };
  for (int way = 0; way < 6; ++way) {
    SCOPED_TRACE(way);
    const Handle handle = add_lazy("lazy/" + std::to_string(way), ResourceFlags::Aggregate);
    backing_->calls = 0;
    EXPECT_EQ(state(handle), Lifecycle::Allocated);
    ASSERT_TRUE(acquire(handle, way));
    EXPECT_EQ(backing_->calls, 1);
    EXPECT_EQ(state(handle), Lifecycle::Ready);
    ASSERT_TRUE(acquire(handle, way));
    ASSERT_TRUE(manager_->map(handle));
    EXPECT_EQ(backing_->calls, 1);
  }
}

TEST_F(LazyTest, MemoryAppearsForWhoMapsItOrAsksForItsFile) {
  const Handle mapped = add_lazy("mapped");
  ASSERT_TRUE(manager_->map(mapped));
  EXPECT_EQ(state(mapped), Lifecycle::Ready);
  const Handle copied = add_lazy("copied");
  ASSERT_TRUE(manager_->fd(copied));
  EXPECT_EQ(state(copied), Lifecycle::Ready);
  EXPECT_TRUE(manager_->try_acquire(copied));
  EXPECT_EQ(backing_->calls, 2);
}

TEST_F(LazyTest, ABackingThatFailsFailsTheAcquisition) {
  const Handle handle = add_lazy("lazy");
  backing_->broken = true;
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    for (const AcquisitionMode mode : {AcquisitionMode::NonBlocking, AcquisitionMode::Blocking}) {
      const auto refused =
          manager_->acquire_scoped_resource(handle, AcquireOptions{.mode = mode, .kind = kind});
      EXPECT_EQ(code_of(refused), ErrorCode::PoolExhausted);
    }
  }
  const Handle plain = add("plain");
  const std::array<Handle, 2> both{plain, handle};
  EXPECT_EQ(code_of(manager_->acquire_all(both)), ErrorCode::PoolExhausted);
  EXPECT_TRUE(manager_->holds()->empty());
  EXPECT_EQ(state(handle), Lifecycle::Allocated);
  backing_->broken = false;
  EXPECT_TRUE(manager_->try_acquire(handle));
  EXPECT_EQ(state(handle), Lifecycle::Ready);
}

// Nobody has used it, whoever tried.
TEST_F(LazyTest, WhatWasRefusedIsNoAcquisition) {
  std::atomic<int> told = 0;
  RegisterOptions options;
  options.backing = backing_;
  options.hooks.on_access = [&](Handle) { ++told; };
  const Handle handle =
      manager_
          ->register_resource("lazy", {.size_bytes = 100, .flags = ResourceFlags::Lazy},
                              std::move(options))
          .value();
  const auto acquire = [&](HoldKind kind, AcquisitionMode mode) {
    return manager_->acquire_scoped_resource(handle, AcquireOptions{.mode = mode, .kind = kind});
  };
  backing_->broken = true;
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    EXPECT_FALSE(acquire(kind, AcquisitionMode::NonBlocking));
    EXPECT_FALSE(acquire(kind, AcquisitionMode::Blocking));
  }
  EXPECT_FALSE(manager_->acquire_all(std::array{handle}));
  EXPECT_FALSE(manager_->weak(handle).lock());
  auto stats = manager_->get_resource_stats(handle).value();
  EXPECT_EQ(stats.exclusive_acquisitions, 0u);
  EXPECT_EQ(stats.shared_acquisitions, 0u);
  // Hooks are told in order: had it been told of these, it would be before another's.
  std::atomic<bool> marked = false;
  RegisterOptions marker;
  marker.hooks.on_access = [&](Handle) { marked = true; };
  ASSERT_TRUE(
      manager_->try_acquire(manager_->register_resource("m", {}, std::move(marker)).value()));
  while (!marked) std::this_thread::yield();
  EXPECT_EQ(told, 0);

  backing_->broken = false;
  EXPECT_TRUE(acquire(HoldKind::Shared, AcquisitionMode::NonBlocking));
  while (told == 0) std::this_thread::yield();
  EXPECT_TRUE(acquire(HoldKind::Exclusive, AcquisitionMode::Blocking));
  while (told == 1) std::this_thread::yield();
  stats = manager_->get_resource_stats(handle).value();
  EXPECT_EQ(stats.exclusive_acquisitions, 1u);
  EXPECT_EQ(stats.shared_acquisitions, 1u);
  manager_->close();
  EXPECT_EQ(told, 2);
}

TEST_F(LazyTest, ItsBackingRunsUnderTheHold) {
  const Handle handle = add_lazy("lazy");
  backing_->meanwhile = [&] {
    EXPECT_EQ(state(handle), Lifecycle::Locked);
    EXPECT_EQ(code_of(manager_->try_acquire(handle)), ErrorCode::Deadlock);
    EXPECT_EQ(code_of(manager_->map(handle)), ErrorCode::Deadlock);
    EXPECT_EQ(code_of(manager_->unregister_resource(handle)), ErrorCode::InUse);
  };
  EXPECT_TRUE(manager_->try_acquire(handle));
  EXPECT_EQ(state(handle), Lifecycle::Ready);
}

// The state can't be changed meanwhile; it must not stay Allocated for ever afterwards.
TEST_F(LazyTest, MadeWhileUnregistrationIsTried) {
  const Handle handle = add_lazy("lazy");
  std::thread remover;
  std::atomic<bool> given_up = false;
  backing_->meanwhile = [&] {
    remover = std::thread([&] {
      const auto refused = manager_->unregister_resource(handle, std::chrono::milliseconds(50));
      EXPECT_EQ(code_of(refused), ErrorCode::InUse);
      given_up = true;
    });
    while (state(handle) != Lifecycle::PendingCleanup && !given_up) std::this_thread::yield();
  };
  auto hold = manager_->try_acquire(handle);
  ASSERT_TRUE(hold);
  remover.join();
  EXPECT_TRUE(hold->release());
  EXPECT_TRUE(manager_->try_acquire(handle));
  EXPECT_EQ(state(handle), Lifecycle::Ready);
  EXPECT_EQ(backing_->calls, 1);
}

/// Whether this thread of the process sleeps.
bool sleeps(pid_t tid) {
  std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/stat");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && text.substr(name_end + 2, 1) == "S";
}

TEST_F(LazyTest, UnregisteredWhileItsMemoryIsMade) {
  const Handle handle = add_lazy("lazy");
  std::atomic<pid_t> waiting = 0;
  std::thread waiter;
  backing_->meanwhile = [&] {
    waiter = std::thread([&] {
      waiting = ::gettid();
      EXPECT_EQ(code_of(manager_->fd(handle)), ErrorCode::StaleHandle);
    });
    while (waiting == 0 || !sleeps(waiting)) std::this_thread::yield();
    EXPECT_TRUE(manager_->unregister_resource(handle));
  };
  EXPECT_EQ(code_of(manager_->map(handle)), ErrorCode::StaleHandle);
  waiter.join();
}

TEST_F(LazyTest, SharedHoldersWaitForWhatIsMadeOnce) {
  const Handle handle = add_lazy("lazy");
  backing_->meanwhile = [] { std::this_thread::yield(); };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        EXPECT_TRUE(manager_->acquire_scoped_resource(
            handle, AcquireOptions{.mode = AcquisitionMode::Blocking, .kind = HoldKind::Shared}));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(backing_->calls, 1);
  EXPECT_EQ(state(handle), Lifecycle::Ready);
}

}  // namespace
}  // namespace hal
