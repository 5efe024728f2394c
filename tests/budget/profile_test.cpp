// SPDX-License-Identifier: Apache-2.0
#include "resmgr/budget/profile.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

#include "resmgr/lock/region.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::budget {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;

constexpr std::initializer_list<ProfileKind> kAll = {ProfileKind::Tiny, ProfileKind::Small,
                                                     ProfileKind::Medium, ProfileKind::Large,
                                                     ProfileKind::Static};
constexpr std::initializer_list<std::uint64_t> kMemories = {
    0, 1, 4096, 16 * kMiB, 64 * kMiB, 256 * kMiB, kGiB, 8 * kGiB, 64 * kGiB, 4096 * kGiB};

Platform with_memory(std::uint64_t bytes) { return {.physical_bytes = bytes, .processors = 4}; }

TEST(Profile, FitsTheMemory) {
  const auto fitting = [](std::uint64_t bytes) { return fitting_profile(with_memory(bytes)); };
  EXPECT_EQ(fitting(0), ProfileKind::Tiny);
  EXPECT_EQ(fitting(16 * kMiB), ProfileKind::Tiny);
  EXPECT_EQ(fitting(256 * kMiB), ProfileKind::Small);
  EXPECT_EQ(fitting(8 * kGiB), ProfileKind::Medium);
  EXPECT_EQ(fitting(64 * kGiB), ProfileKind::Large);
  Platform in_group = with_memory(64 * kGiB);
  in_group.cgroup_bytes = 64 * kMiB;
  EXPECT_EQ(fitting_profile(in_group), ProfileKind::Tiny);
}

TEST(Profile, HasNames) {
  for (const ProfileKind kind : kAll) EXPECT_EQ(profile_named(to_string(kind)), kind);
  EXPECT_EQ(to_string(ProfileKind::Static), "static");
  EXPECT_FALSE(profile_named("huge"));
  EXPECT_EQ(to_string(static_cast<ProfileKind>(kProfileKinds)), "unknown");
}

TEST(Profile, BudgetsAreSharesOfWhatThereIs) {
  const Profile profile = make_profile(ProfileKind::Medium, with_memory(10 * kGiB));
  EXPECT_EQ(profile.budget(ResourceType::Memory), (ResourceBudget{6 * kGiB, kGiB}));
  const std::uint64_t slots = profile.capacities.slots;
  EXPECT_EQ(profile.budget(ResourceType::Hardware), (ResourceBudget{slots / 5, slots / 20}));
  EXPECT_EQ(profile.budget(ResourceType::Performance), ResourceBudget{});
}

// What holds for every profile on every machine.
TEST(Profile, IsAlwaysSound) {
  for (const ProfileKind kind : kAll) {
    for (const std::uint64_t memory : kMemories) {
      const Profile profile = make_profile(kind, with_memory(memory));
      EXPECT_EQ(profile.kind, kind);
      EXPECT_TRUE(check_capacities(profile.capacities, 0)) << to_string(kind);
      EXPECT_TRUE(check_capacities(profile.capacities, RM_DOMAIN_COMPACT_HANDLES));
      for (const ResourceBudget& budget : profile.budgets) EXPECT_LE(budget.reserved, budget.max);
      if (memory != 0) {
        EXPECT_LE(profile.budget(ResourceType::Memory).max, memory);
      }
      EXPECT_GT(profile.pool.block_bytes, 0u);
      EXPECT_GT(profile.pool.first_blocks, 0u);
      EXPECT_GE(profile.pool.most_blocks, profile.pool.first_blocks);
    }
  }
}

TEST(Profile, LargerOnesHaveNoSmallerTable) {
  const Platform platform = with_memory(64 * kGiB);
  for (const CapacityRange& range : capacity_ranges(0)) {
    std::uint32_t last = 0;
    for (unsigned kind = 0; kind <= static_cast<unsigned>(ProfileKind::Large); ++kind) {
      const auto capacities = make_profile(static_cast<ProfileKind>(kind), platform).capacities;
      EXPECT_GE(capacities.*range.member, last) << range.complaint;
      last = capacities.*range.member;
    }
  }
}

TEST(Profile, StaticPaysForAllAtStart) {
  for (const std::uint64_t memory : kMemories) {
    const Profile profile = make_profile(ProfileKind::Static, with_memory(memory));
    EXPECT_TRUE(profile.allocates_at_start);
    EXPECT_EQ(profile.pool.first_blocks, profile.pool.most_blocks);
    if (memory >= 64 * kMiB) {
      EXPECT_LE(table_bytes(profile.capacities), memory / 20);
    }
  }
  EXPECT_FALSE(make_profile(ProfileKind::Large, with_memory(64 * kGiB)).allocates_at_start);
  EXPECT_EQ(make_profile(ProfileKind::Static, with_memory(4096 * kGiB)).capacities,
            make_profile(ProfileKind::Large, with_memory(4096 * kGiB)).capacities);
}

TEST(Profile, PoolsGoWithTheMachine) {
  Platform platform = with_memory(64 * kGiB);
  EXPECT_FALSE(make_profile(ProfileKind::Large, platform).pool.huge_pages);
  EXPECT_FALSE(make_profile(ProfileKind::Large, platform).pool.by_node);
  platform.huge_pages = {{.page_bytes = 2 * kMiB, .pages = 8, .free_pages = 0}};
  EXPECT_FALSE(make_profile(ProfileKind::Large, platform).pool.huge_pages) << "none is left";
  platform.huge_pages[0].free_pages = 1;
  EXPECT_TRUE(make_profile(ProfileKind::Large, platform).pool.huge_pages);
  EXPECT_FALSE(make_profile(ProfileKind::Tiny, platform).pool.huge_pages);
  platform.huge_pages.clear();
  platform.transparent = TransparentHugePages::Never;
  EXPECT_FALSE(make_profile(ProfileKind::Large, platform).pool.huge_pages);
  platform.transparent = TransparentHugePages::Advised;
  EXPECT_TRUE(make_profile(ProfileKind::Large, platform).pool.huge_pages);
  platform.nodes = {{0, kGiB, kGiB}, {1, kGiB, kGiB}};
  EXPECT_TRUE(make_profile(ProfileKind::Large, platform).pool.by_node);
}

// What a table costs is told by who lays it out; that it is reckoned here too is for static domains
// alone. Regions are whole pages, and tables begin at lines.
TEST(Profile, TablesCostWhatTheRegionsSay) {
  for (const ProfileKind kind : kAll) {
    const Capacities capacities = make_profile(kind, with_memory(8 * kGiB)).capacities;
    const auto locks = lock::LockRegion::create(capacities, {});
    const auto registry = registry::RegistryRegion::create(capacities, {});
    ASSERT_TRUE(locks);
    ASSERT_TRUE(registry);
    const std::uint64_t both = locks->header().region_bytes + registry->header().region_bytes;
    EXPECT_LE(table_bytes(capacities), both) << to_string(kind);
    EXPECT_GE(table_bytes(capacities) + 128 * 1024, both) << to_string(kind);
  }
}

TEST(Profile, AnEmptyTinyDomainIsTiny) {
  const Capacities capacities = make_profile(ProfileKind::Tiny, with_memory(16 * kMiB)).capacities;
  EXPECT_LE(table_bytes(capacities), 2 * kMiB);
}

}  // namespace
}  // namespace resmgr::budget
