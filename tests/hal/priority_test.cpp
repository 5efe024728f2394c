// SPDX-License-Identifier: Apache-2.0
//
// Requests that name no priority have that of the resource, however they are made.
#include <array>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace hal {
namespace {

using test::code_of;

class PriorityTest : public test::ManagerTest {
 protected:
  void await_waiters(Handle handle, std::uint32_t count) {
    while (manager_->get_resource_stats(handle)->waiting != count) std::this_thread::yield();
  }
  [[nodiscard]] Handle add_with(std::string_view name, ResourcePriority priority) {
    return add(name, {.priority = priority, .flags = ResourceFlags::Aggregate});
  }
  [[nodiscard]] static AcquireOptions blocking(ResourcePriority priority) {
    return {.mode = AcquisitionMode::Blocking, .has_priority = true, .priority = priority};
  }

  /// Whether what `acquire` gets it gets before a request of `rival` that came earlier.
  template <typename Acquire>
  [[nodiscard]] bool overtakes(Handle handle, ResourcePriority rival, Acquire acquire) {
    auto hold = manager_->try_acquire(handle);
    EXPECT_TRUE(hold);
    std::vector<int> order;  // guarded by the hold on the resource
    std::thread early([&] {
      const auto mine = manager_->acquire_scoped_resource(handle, blocking(rival));
      EXPECT_TRUE(mine);
      order.push_back(1);
    });
    await_waiters(handle, 1);
    std::thread late([&] {
      const auto mine = acquire();
      EXPECT_TRUE(mine);
      order.push_back(2);
    });
    await_waiters(handle, 2);
    EXPECT_TRUE(hold->release());
    early.join();
    late.join();
    return order == std::vector<int>{2, 1};
  }
};

TEST_F(PriorityTest, OfOneResource) {
  const Handle handle = add_with("a", ResourcePriority::Critical);
  const auto acquire = [&] {
    return manager_->acquire_scoped_resource(handle, AcquisitionMode::Blocking);
  };
  EXPECT_TRUE(overtakes(handle, ResourcePriority::High, acquire));
  EXPECT_FALSE(overtakes(handle, ResourcePriority::Critical, acquire));
}

TEST_F(PriorityTest, OfABundleIsEachMembersOwn) {
  const std::array<Handle, 2> both{add_with("a", ResourcePriority::Critical),
                                   add_with("b", ResourcePriority::Background)};
  const auto acquire = [&] {
    return manager_->acquire_all(both, {.mode = AcquisitionMode::Blocking});
  };
  EXPECT_TRUE(overtakes(both[0], ResourcePriority::High, acquire));
  EXPECT_FALSE(overtakes(both[1], ResourcePriority::Low, acquire));
}

TEST_F(PriorityTest, OfAnAggregate) {
  const Handle handle = add_with("a", ResourcePriority::Critical);
  EXPECT_TRUE(overtakes(handle, ResourcePriority::High, [&] {
    return manager_->acquire_aggregate(handle, {.mode = AcquisitionMode::Blocking});
  }));
}

// The priority that metadata name is for who registers it.
TEST_F(PriorityTest, OfATypedResource) {
  ASSERT_TRUE(manager_->acquire_resource<int>("t", {.priority = ResourcePriority::Critical}));
  EXPECT_TRUE(overtakes(manager_->find("t").value(), ResourcePriority::High,
                        [&] { return manager_->acquire_resource<int>("t"); }));
}

// Upgrades stand before all other requests; what their priority decides is who gives way where two
// wait for each other.
TEST_F(PriorityTest, OfAnUpgrade) {
  for (const ResourcePriority own : {ResourcePriority::Critical, ResourcePriority::Low}) {
    restart({});
    const Handle upgraded = add_with("upgraded", own);
    const Handle other = add_with("other", ResourcePriority::Normal);
    auto mine = manager_->try_acquire(other);
    auto shared = manager_->try_acquire_shared(upgraded);
    ASSERT_TRUE(mine && shared);
    std::thread peer([&] {
      const auto theirs = manager_->try_acquire_shared(upgraded);
      ASSERT_TRUE(theirs);
      const auto waited =
          manager_->acquire_scoped_resource(other, blocking(ResourcePriority::High));
      EXPECT_EQ(code_of(waited),
                own == ResourcePriority::Critical ? ErrorCode::Deadlock : ErrorCode{});
    });
    await_waiters(other, 1);
    const auto done = shared->upgrade({.mode = AcquisitionMode::Blocking});
    EXPECT_EQ(code_of(done), own == ResourcePriority::Critical ? ErrorCode{} : ErrorCode::Deadlock);
    (void)mine->release();
    peer.join();
  }
}

}  // namespace
}  // namespace hal
