// SPDX-License-Identifier: Apache-2.0
//
// Any of several: what is selected, in which order it is tried, and acquire_any() on threads.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <future>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <hal/resource_manager.hpp>
#include <hal/selection.hpp>

#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using std::chrono::milliseconds;

constexpr AcquireOptions kBlocking{.mode = AcquisitionMode::Blocking};

class AcquireAnyTest : public ManagerTest {
 protected:
  void SetUp() override {
    ManagerTest::SetUp();
    for (int i = 0; i < 4; ++i) {
      channels_.push_back(add("dma0/channel/" + std::to_string(i), {.class_name = "channel"}));
    }
  }
  [[nodiscard]] Selection select(Selector selector) {
    return manager_->select(std::move(selector)).value();
  }
  [[nodiscard]] std::vector<Handle> selected(Selector selector) {
    return select(std::move(selector)).candidates().value();
  }
  [[nodiscard]] std::vector<Handle> some(std::initializer_list<int> which) const {
    std::vector<Handle> handles;
    for (const int i : which) handles.push_back(channels_.at(static_cast<std::size_t>(i)));
    return handles;
  }
  void await_waiters(Handle handle, std::uint32_t count) {
    while (manager_->get_resource_stats(handle)->waiting != count) std::this_thread::yield();
  }
  [[nodiscard]] bool is_free(Handle handle) { return manager_->try_acquire(handle).has_value(); }

  std::vector<Handle> channels_;
};

TEST_F(AcquireAnyTest, ASelectorLeavesOutWhatDoesNotFit) {
  const Handle big = add("gpu0/big", {.type = ResourceType::Memory,
                                      .class_name = "buffer",
                                      .size_bytes = 1 << 20,
                                      .pairs = {{"format", "XR24"}, {"tiled", "no"}}});
  const Handle small = add("gpu0/small", {.type = ResourceType::Memory,
                                          .class_name = "buffer",
                                          .size_bytes = 4096,
                                          .pairs = {{"format", "NV12"}}});
  const std::vector both{big, small};
  EXPECT_EQ(selected({.class_name = "channel"}), channels_);
  EXPECT_EQ(selected({.class_name = "buffer"}), both);
  EXPECT_EQ(selected({.type = ResourceType::Memory}), both);
  EXPECT_EQ(selected({.size_bytes = 4097}), std::vector{big});
  EXPECT_EQ(selected({.name_pattern = "*/channel/[13]"}), some({1, 3}));
  EXPECT_EQ(selected({.name_pattern = "gpu?/b*"}), std::vector{big});
  EXPECT_EQ(selected({.pairs = {{"format", "XR24"}}}), std::vector{big});
  EXPECT_TRUE(selected({.pairs = {{"format", "XR24"}, {"tiled", "yes"}}}).empty());
  EXPECT_TRUE(selected({.class_name = "channel", .type = ResourceType::Memory}).empty());
  EXPECT_TRUE(selected({.class_name = "nobody's"}).empty());
  EXPECT_EQ(selected({}).size(), 6u);
}

TEST_F(AcquireAnyTest, TheListFollowsTheRegistry) {
  Selection selection = select({.class_name = "late"});
  EXPECT_TRUE(selection.candidates()->empty());
  EXPECT_EQ(code_of(manager_->acquire_any(selection)), ErrorCode::NotFound);
  const Handle late = add("late", {.class_name = "late"});
  EXPECT_EQ(manager_->acquire_any(selection)->handle(), late);
  ASSERT_TRUE(manager_->unregister_resource(late));
  EXPECT_EQ(code_of(manager_->acquire_any(selection)), ErrorCode::NotFound);
}

TEST_F(AcquireAnyTest, TheNearestComesFirst) {
  const Handle here = add("n/7", {.class_name = "near", .numa_node = 7});
  const Handle there = add("n/3", {.class_name = "near", .numa_node = 3});
  const Handle anywhere = add("n/any", {.class_name = "near"});
  const auto order = [&](int node) { return selected({.class_name = "near", .numa_node = node}); };
  EXPECT_EQ(order(7), (std::vector{here, anywhere, there}));
  EXPECT_EQ(order(3), (std::vector{there, anywhere, here}));
}

TEST_F(AcquireAnyTest, OrTheLeastUsed) {
  Selection selection = select({.class_name = "channel", .order = SelectionOrder::LeastUsed});
  std::set<std::uint64_t> had;
  for (int i = 0; i < 8; ++i) had.insert(manager_->acquire_any(selection)->handle().slot());
  EXPECT_EQ(had.size(), 4u);
  for (const Handle handle : channels_) {
    EXPECT_EQ(manager_->get_resource_stats(handle)->exclusive_acquisitions, 2u);
  }
}

TEST_F(AcquireAnyTest, WhatIsFreeIsHadInTheirOrder) {
  for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
    Selection selection = select({.class_name = "channel"});
    std::vector<ScopedResource> holds;
    for (const Handle expected : channels_) {
      auto hold = manager_->acquire_any(selection, {.kind = kind});
      ASSERT_TRUE(hold) << hold.error().message();
      EXPECT_EQ(hold->handle(), expected);
      EXPECT_EQ(hold->kind(), kind);
      holds.push_back(std::move(*hold));
    }
    // A context has one hold of a resource.
    EXPECT_EQ(code_of(manager_->acquire_any(selection, {.kind = kind})), ErrorCode::Deadlock);
    std::thread([&] {
      const auto other = manager_->acquire_any(selection, {.kind = kind});
      EXPECT_EQ(code_of(other), kind == HoldKind::Shared ? ErrorCode{} : ErrorCode::WouldBlock);
    }).join();
  }
}

TEST_F(AcquireAnyTest, WhoWaitsHasOneAndTheOthersAreFree) {
  std::vector<ScopedResource> holds;
  for (const Handle handle : channels_) holds.push_back(manager_->try_acquire(handle).value());
  auto waiting = std::async(std::launch::async, [&] {
    Selection selection = select({.class_name = "channel"});
    return manager_->acquire_any(selection, kBlocking);
  });
  for (const Handle handle : channels_) await_waiters(handle, 1);
  holds.erase(holds.begin() + 2);
  auto had = waiting.get();
  ASSERT_TRUE(had) << had.error().message();
  EXPECT_EQ(had->handle(), channels_[2]);
  for (const Handle handle : channels_)
    EXPECT_EQ(manager_->get_resource_stats(handle)->waiting, 0u);
  holds.clear();
  for (const int i : {0, 1, 3}) EXPECT_TRUE(is_free(channels_.at(static_cast<std::size_t>(i))));
}

TEST_F(AcquireAnyTest, TimesOutWithNothing) {
  const auto hold = manager_->try_acquire(channels_[0]);
  const auto code = std::async(std::launch::async, [&] {
                      return code_of(manager_->acquire_any(
                          std::span(channels_).first(1),
                          {.mode = AcquisitionMode::Timeout, .timeout = milliseconds(1)}));
                    }).get();
  EXPECT_EQ(code, ErrorCode::TimedOut);
  EXPECT_EQ(manager_->get_resource_stats(channels_[0])->waiting, 0u);
}

TEST_F(AcquireAnyTest, ALazyOneHasItsMemory) {
  const auto lazy = manager_->register_resource(
      "lazy", {.size_bytes = 4096, .flags = ResourceFlags::Lazy}, {.backing = Backing::memfd()});
  ASSERT_TRUE(lazy) << lazy.error().message();
  const std::array any{*lazy};
  ASSERT_TRUE(manager_->acquire_any(any, kBlocking));
  EXPECT_TRUE(manager_->map(*lazy));
}

TEST_F(AcquireAnyTest, RefusesWhatCanNotBe) {
  EXPECT_EQ(code_of(manager_->acquire_any(std::span<const Handle>())), ErrorCode::InvalidArgument);
  const std::array stale{Handle(), Handle(99, 1)};
  EXPECT_EQ(code_of(manager_->acquire_any(stale)), ErrorCode::StaleHandle);
  EXPECT_EQ(code_of(manager_->select({.type = static_cast<ResourceType>(77)})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->select({.numa_node = -2})), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->select({.order = static_cast<SelectionOrder>(2)})),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->select({.name_pattern = std::string(2000, '*')})),
            ErrorCode::InvalidArgument);
  AcquireOptions wrong;
  wrong.mode = static_cast<AcquisitionMode>(9);
  EXPECT_EQ(code_of(manager_->acquire_any(channels_, wrong)), ErrorCode::InvalidArgument);
  Selection selection = select({});
  const auto other = ResourceManager::create().value();
  EXPECT_EQ(code_of(other->acquire_any(selection)), ErrorCode::InvalidArgument);
  manager_->close();
  EXPECT_EQ(code_of(manager_->acquire_any(selection)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->acquire_any(channels_)), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(manager_->select({})), ErrorCode::Disconnected);
  EXPECT_EQ(code_of(selection.candidates()), ErrorCode::Disconnected);
}

}  // namespace
}  // namespace hal::test
