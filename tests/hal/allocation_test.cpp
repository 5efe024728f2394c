// SPDX-License-Identifier: Apache-2.0
#include <hal/queue.hpp>
#include <hal/resource_manager.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace {

std::atomic<std::uint64_t> allocations{0};
/// Which allocation of this thread from now on fails; 0: none.
thread_local std::uint64_t failing = 0;

}  // namespace

// Every heap allocation of the process, libhal's included, for the symbols are resolved here first.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (failing == 1) {
    failing = 0;
    throw std::bad_alloc();
  }
  if (failing != 0) --failing;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace hal {
namespace {

using namespace std::chrono_literals;
using AllocationTest = test::ManagerTest;

TEST_F(AllocationTest, HookCounts) {
  const std::uint64_t before = allocations;
  auto* number = new int(1);
  asm volatile("" ::"r"(number) : "memory");  // or nobody needs it
  EXPECT_EQ(allocations, before + 1);
  delete number;
}

TEST_F(AllocationTest, NoneAfterInitialisation) {
  const Handle handle = add("a");
  const auto everything = [&](bool blocking) {
    for (const AcquisitionMode mode : {AcquisitionMode::NonBlocking, AcquisitionMode::Blocking,
                                       AcquisitionMode::Timeout, AcquisitionMode::Emergency}) {
      if (mode == AcquisitionMode::Blocking && !blocking) continue;
      for (const HoldKind kind : {HoldKind::Exclusive, HoldKind::Shared}) {
        auto hold = manager_->acquire_scoped_resource(
            handle, AcquireOptions{.mode = mode, .kind = kind, .timeout = 1ms});
        if (hold && kind == HoldKind::Exclusive) {
          (void)hold->downgrade();
          (void)hold->try_upgrade();
        }
      }
    }
  };
  std::atomic<int> phase{0};
  std::uint64_t alone = 0;
  std::uint64_t refused = 0;
  everything(true);  // makes the thread's context and cell
  {
    const std::uint64_t before = allocations;
    everything(true);
    alone = allocations - before;
  }
  std::thread holder([&] {
    auto hold = manager_->try_acquire(handle);
    phase = 1;
    while (phase != 2) std::this_thread::yield();
  });
  while (phase != 1) std::this_thread::yield();
  {
    const std::uint64_t before = allocations;
    everything(false);  // WouldBlock, TimedOut
    refused = allocations - before;
    phase = 2;
  }
  holder.join();
  EXPECT_EQ(alone, 0u);
  EXPECT_EQ(refused, 0u);
}

/// Makes each allocation of a call fail, one after the other.
class WantOfMemoryTest : public test::ManagerTest {
 protected:
  void SetUp() override {
    ManagerTest::SetUp();
    ASSERT_TRUE(manager_->set_thread_driver({}));  // makes the thread's context
    owner_ = manager_->register_driver("owner").value();
    other_ = manager_->register_driver("other").value();
    a_ = manager_->register_resource("a/name/that/is/long/enough", long_, {.driver = owner_})
             .value();
    b_ = manager_->register_resource("b", long_, {.driver = owner_, .backing = Backing::memfd()})
             .value();
  }

  /// What the manager says of itself and of every resource.
  [[nodiscard]] std::string state() const {
    const auto stats = manager_->stats();
    std::string all = std::to_string(stats.contexts) + ' ' + std::to_string(stats.resources) + '\n';
    const auto holds = manager_->holds();
    for (const Participant& who : holds.value()) all += std::string(who.resource.data()) + ' ';
    const auto seen = manager_->for_each([&](const ResourceInfo& info) {
      all += info.name + ' ' + std::string(to_string(info.state)) + ' ' +
             std::to_string(manager_->teardown_order(info.handle)->size());
      for (const DriverId driver : {owner_, other_}) {
        all += ' ' + std::to_string(static_cast<int>(*manager_->rights(info.handle, driver)));
      }
      all += '\n';
      return true;
    });
    EXPECT_TRUE(seen);
    return all;
  }

  /// Lets the first, second, ... allocation of `call(prepare())` fail until it needs no more of
  /// them. When it is refused it must say ENOMEM, and nothing must have changed. Returns how many
  /// there were.
  template <typename Prepare, typename Call>
  std::uint64_t survives(Prepare prepare, Call call) {
    const std::string before = state();
    for (std::uint64_t nth = 1;; ++nth) {
      auto prepared = prepare();
      failing = nth;
      const auto result = call(std::move(prepared));
      const bool reached = failing == 0;
      failing = 0;
      if (!reached) return nth - 1;
      if (result) {
        ADD_FAILURE() << "allocation " << nth << " failed, and the call did not";
        return nth;
      }
      EXPECT_EQ(result.error().code(), ErrorCode::System) << nth;
      EXPECT_EQ(result.error().system_errno(), ENOMEM) << nth;
      EXPECT_EQ(state(), before) << nth;
    }
  }
  template <typename Call>
  std::uint64_t survives(Call call) {
    return survives([] { return 0; }, [&](int) { return call(); });
  }

  ResourceMetadata long_{.class_name = "a-class-too-long-for-inside",
                         .size_bytes = 64,
                         .flags = ResourceFlags::Shareable,
                         .pairs = {{"a-key-that-is-long", "a value that is longer than short"}}};
  DriverId owner_;
  DriverId other_;
  Handle a_;
  Handle b_;
};

TEST_F(WantOfMemoryTest, WhatDescribes) {
  auto hold = manager_->try_acquire(a_);
  ASSERT_TRUE(hold);
  EXPECT_GT(survives([&] { return manager_->info(a_); }), 0u);
  EXPECT_GT(survives([&] { return manager_->get_resource_stats(a_); }), 0u);
  EXPECT_GT(survives([&] { return manager_->export_json(a_); }), 0u);
  EXPECT_GT(survives([&] { return manager_->for_each([](const ResourceInfo&) { return true; }); }),
            0u);
  EXPECT_GT(survives([&] { return manager_->holds(); }), 0u);
  EXPECT_GT(survives([&] { return manager_->teardown_order(a_); }), 0u);
}

TEST_F(WantOfMemoryTest, SharesAndDependencies) {
  ASSERT_TRUE(manager_->share_resource(b_, owner_, other_, Rights::Read));
  survives([&] { return manager_->rights(b_, other_); });
  survives([&] { return manager_->share_resource(a_, owner_, other_, Rights::Read); });
  survives([&] { return manager_->unshare_resource(a_, owner_, other_); });
  EXPECT_GT(survives([&] { return manager_->add_dependency(a_, b_); }), 0u);
  const auto closes_a_cycle = [&]() -> Result<void> {
    auto closed = manager_->add_dependency(b_, a_);
    if (closed || closed.error() == ErrorCode::DependencyCycle) return {};
    return closed;
  };
  EXPECT_GT(survives(closes_a_cycle), 0u);
  const auto removes_what_is_needed = [&]() -> Result<void> {
    auto gone = manager_->unregister_resource(b_);
    if (gone || gone.error() == ErrorCode::InUse) return {};
    return gone;
  };
  EXPECT_GT(survives(removes_what_is_needed), 0u);
  survives([&] { return manager_->remove_dependency(a_, b_); });
}

TEST_F(WantOfMemoryTest, Registration) {
  const auto hook = [](Handle) {};
  const auto options = [&](ResourceMetadata metadata) {
    return std::pair(std::move(metadata),
                     RegisterOptions{.driver = owner_,
                                     .backing = Backing::memfd(),
                                     .hooks = {.on_create = hook, .on_cleanup = hook}});
  };
  const auto registers = [&](auto with) {
    return manager_->register_resource("registered", with.first, std::move(with.second));
  };
  EXPECT_GT(survives([&] { return options(long_); }, registers), 0u);
  const Handle first = manager_->find("registered").value();
  survives([&] { return manager_->unregister_resource(first); });
  ResourceMetadata lazy = long_;
  lazy.flags = ResourceFlags::Lazy;
  EXPECT_GT(survives([&] { return options(lazy); }, registers), 0u);
  const Handle second = manager_->find("registered").value();
  EXPECT_GT(survives([&] { return manager_->map(second); }), 0u);
  ASSERT_TRUE(manager_->add_dependency(a_, second));
  EXPECT_GT(survives([&] { return manager_->teardown(a_); }), 0u);
  EXPECT_EQ(test::code_of(manager_->find("registered")), ErrorCode::NotFound);
}

TEST_F(WantOfMemoryTest, ManagersDriversAndContexts) {
  EXPECT_GT(survives([] { return ResourceManager::create(); }), 0u);
  survives([&] { return manager_->register_driver("a-driver-with-a-long-name"); });
  // Contexts that were closed are used again, and cost nothing.
  std::vector<Context> tasks;
  std::uint64_t allocated = 0;
  for (int i = 0; i < 8; ++i) {
    tasks.reserve(tasks.size() + 1);
    allocated += survives([&]() -> Result<void> {
      auto task = manager_->create_context(owner_);
      if (!task) return std::unexpected(std::move(task.error()));
      tasks.push_back(std::move(*task));
      return {};
    });
  }
  EXPECT_GT(allocated, 0u);
  std::thread fresh([&] {
    const auto takes = [&] { return manager_->try_acquire(b_); };
    EXPECT_GT(survives(takes), 0u);
  });
  fresh.join();
}

TEST_F(WantOfMemoryTest, AcquiringSeveralAndTheirMemory) {
  const std::array<Handle, 2> both{a_, b_};
  EXPECT_GT(survives([&] { return manager_->acquire_all(both); }), 0u);
  const Handle frame = add("frame", {.flags = ResourceFlags::Aggregate});
  ASSERT_TRUE(manager_->add_dependency(frame, a_));
  EXPECT_GT(survives([&] { return manager_->acquire_aggregate(frame); }), 0u);
  survives([&] { return manager_->map(b_); });
  survives([&] { return manager_->fd(b_); });
  ASSERT_TRUE(manager_->acquire_resource<int>("number"));
  survives([&] { return manager_->acquire_resource<int>("number"); });
}

TEST_F(WantOfMemoryTest, Queues) {
  const QueueOptions options{.event_doorbell = true, .driver = owner_};
  EXPECT_GT(survives([&] { return Queue::create(*manager_, "a/queue/of/a/long/name", options); }),
            0u);
  EXPECT_GT(survives([&] { return Queue::open(*manager_, "a/queue/of/a/long/name", owner_); }), 0u);
}

}  // namespace
}  // namespace hal
