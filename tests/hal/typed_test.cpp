// SPDX-License-Identifier: Apache-2.0
//
// Objects in resources, and requests that are refused for what they ask.
#include <string>
#include <thread>
#include <vector>

#include "tests/hal/support.hpp"

namespace hal::test {
namespace {

using Typed = ManagerTest;
using Refused = ManagerTest;

// An object is there before its name: whoever opens it first finds it constructed, and nobody's
// work is overwritten.
TEST_F(Typed, AnObjectIsConstructedOnceAndBeforeAnybodyFindsIt) {
  struct Counter {
    int value = 100;
  };
  constexpr int kRounds = 300;
  constexpr int kThreads = 2;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "counter/" + std::to_string(round);
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        auto counter = manager_->acquire_resource<Counter>(name);
        ASSERT_TRUE(counter) << counter.error().message();
        ++(*counter)->value;
      });
    }
    threads.clear();
    EXPECT_EQ((*manager_->acquire_resource<Counter>(name))->value, 100 + kThreads);
  }
}

TEST_F(Typed, AWrongRequestLeavesNoResourceBehind) {
  const AcquireOptions wrong{.mode = static_cast<AcquisitionMode>(99)};
  EXPECT_EQ(code_of(manager_->acquire_resource<int>("new", {}, wrong)), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(manager_->find("new")), ErrorCode::NotFound);
}

TEST_F(Refused, WrongOptionsThoughNobodyIsInTheWay) {
  const Handle handle = add("free", {.flags = ResourceFlags::Shareable});
  // Once each, so that the short way is open to both kinds.
  ASSERT_TRUE(manager_->try_acquire(handle));
  ASSERT_TRUE(manager_->try_acquire_shared(handle));
  EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle, static_cast<AcquisitionMode>(99))),
            ErrorCode::InvalidArgument);
  const AcquireOptions wrong[] = {
      {.mode = static_cast<AcquisitionMode>(99)},
      {.kind = static_cast<HoldKind>(7)},
      {.has_priority = true, .priority = static_cast<ResourcePriority>(77)},
      {.kind = HoldKind::Shared,
       .has_priority = true,
       .priority = static_cast<ResourcePriority>(77)},
  };
  for (const AcquireOptions& options : wrong) {
    EXPECT_EQ(code_of(manager_->acquire_scoped_resource(handle, options)),
              ErrorCode::InvalidArgument);
  }
  EXPECT_TRUE(manager_->holds()->empty());
}

TEST_F(Refused, SharedHoldsForWhichThereIsNoRoom) {
  restart({.capacities = {.resources = 8, .shared_holds = 1}});
  const Handle a = add("a", {.flags = ResourceFlags::Shareable});
  const Handle b = add("b", {.flags = ResourceFlags::Shareable});
  const auto held = manager_->try_acquire_shared(a);
  ASSERT_TRUE(held);
  EXPECT_EQ(code_of(manager_->try_acquire_shared(b)), ErrorCode::CapacityExceeded);
}

}  // namespace
}  // namespace hal::test
