// SPDX-License-Identifier: Apache-2.0
//
// A domain inside a real control group with little memory: it fits, its profile is the group's, and
// what the process uses up to the limit is pressure until it is given back.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <hal/resource_manager.hpp>

#include "tests/base/wait_until.hpp"
#include "tests/hal/child.hpp"
#include "tests/hal/control_group.hpp"

namespace hal {
namespace {

using resmgr::test::wait_until;
using test::kMiB;
using test::MemoryGroup;

/// Steps of the process inside; the one that failed is its exit status.
enum Step : int {
  Done,
  Enter,
  Static,
  NotWhole,
  Create,
  Profile,
  Register,
  Watch,
  Acquire,
  Fill,
  Empty,
};

int live_within(const MemoryGroup& group, std::uint64_t bytes) {
  if (!group.enter()) return Enter;
  {
    // Its tables are paid for from the start.
    const std::uint64_t before = group.used();
    const auto whole = ResourceManager::create({.name = "whole", .profile = DomainProfile::Static});
    if (!whole) return Static;
    if (group.used() < before + kMiB / 2) return NotWhole;
  }
  auto manager = ResourceManager::create({.name = "small", .profile = DomainProfile::Auto});
  if (!manager) return Create;
  const auto budget = (*manager)->budget(ResourceType::Memory);
  if (!budget || budget->budget.max != bytes / 100 * 60 + bytes % 100 * 60 / 100) return Profile;
  const auto handle = (*manager)->register_resource(
      "buffer", {.type = ResourceType::Memory, .size_bytes = 64 * 1024});
  if (!handle) return Register;
  std::atomic<ResourcePressure> level{ResourcePressure::Low};
  const auto watched = (*manager)->register_pressure_callback(
      [&](const PressureChange& change) { level.store(change.level); });
  if (!watched) return Watch;
  for (int i = 0; i < 1000; ++i) {
    if (!(*manager)->acquire_scoped_resource(*handle)) return Acquire;
  }
  // Near the limit, and not to where the kernel would end us.
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Fill;
  constexpr std::uint64_t kPiece = 64 * 1024;
  for (std::uint64_t at = 0; at < bytes && group.used() + 2 * kPiece < bytes / 100 * 92;
       at += kPiece) {
    std::memset(static_cast<char*>(memory) + at, 1, kPiece);
  }
  wait_until([&] { return level.load() >= ResourcePressure::Medium; });
  if (::munmap(memory, bytes) != 0) return Empty;
  wait_until([&] { return level.load() == ResourcePressure::Low; });
  return Done;
}

class MemoryCgroup : public ::testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(MiB, MemoryCgroup, ::testing::Values(16u, 64u, 256u),
                         ::testing::PrintToStringParamName());

TEST_P(MemoryCgroup, HoldsADomainAndItsLimitIsPressure) {
  const std::uint64_t bytes = GetParam() * kMiB;
  const auto group = MemoryGroup::make(bytes);
  if (!group) GTEST_SKIP() << "no control group for memory can be made here";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(live_within(*group, bytes));
  test::expect_done(child);
}

}  // namespace
}  // namespace hal
