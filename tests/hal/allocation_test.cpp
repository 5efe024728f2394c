// SPDX-License-Identifier: Apache-2.0
#include <hal/resource_manager.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <thread>

#include <gtest/gtest.h>

#include "tests/hal/support.hpp"

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

// Every heap allocation of the process, libhal's included, for the symbols are resolved here first.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
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
  EXPECT_EQ(allocations, before + 1);
  delete number;
}

TEST_F(AllocationTest, NoneAfterInitialisation) {
  const Handle handle = add("a");
  const auto everything = [&](bool blocking) {
    for (const AcquisitionMode mode :
         {AcquisitionMode::NonBlocking, AcquisitionMode::Blocking, AcquisitionMode::Timeout,
          AcquisitionMode::Emergency}) {
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

}  // namespace
}  // namespace hal
