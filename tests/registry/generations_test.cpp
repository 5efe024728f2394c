// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

Capacities one_slot() {
  Capacities capacities = small_capacities();
  capacities.slots = 1;
  return capacities;
}

TEST(Generations, AStaleHandleNeverActsOnTheNextTenant) {
  World world(one_slot());
  const Handle old = world.add("first");
  world.remove(old);
  const Handle fresh = world.add("second");
  ASSERT_EQ(fresh.slot(), old.slot());
  EXPECT_EQ(fresh.generation(), old.generation() + 1);

  EXPECT_FALSE(world.view.is_live(old));
  EXPECT_TRUE(failed_with(world.view.read(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.view.pairs(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.view.shares(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.view.rights(old, 0), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.view.needs(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.view.needed_by(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.view.teardown_order(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(
      failed_with(world.writer.set_lifecycle(old, Lifecycle::Ready), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.writer.begin_unregister(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.writer.cancel_unregister(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.writer.finish_unregister(old), ErrorCode::StaleHandle));
  EXPECT_TRUE(
      failed_with(world.writer.publish({.slot = old.slot(), .generation = old.generation()}),
                  ErrorCode::StaleHandle));
  EXPECT_EQ(world.view.read(fresh).value().name_text(), "second");
}

TEST(Generations, ForgedHandlesAreStale) {
  World world;
  const Handle handle = world.add("a");
  for (const Handle forged :
       {Handle(), Handle(handle.slot(), 0), Handle(handle.slot(), handle.generation() + 1),
        Handle(handle.slot() + 1, 1), Handle(12, 1), Handle(~0u, 1), Handle(~0u, ~0u),
        Handle::from_bits(~std::uint64_t{0})}) {
    EXPECT_FALSE(world.view.is_live(forged)) << forged.bits();
    EXPECT_TRUE(failed_with(world.view.read(forged), ErrorCode::StaleHandle)) << forged.bits();
    EXPECT_TRUE(failed_with(world.writer.begin_unregister(forged), ErrorCode::StaleHandle));
    EXPECT_TRUE(
        failed_with(world.writer.dependencies().add(handle, forged), ErrorCode::StaleHandle));
    EXPECT_TRUE(
        failed_with(world.writer.dependencies().add(forged, handle), ErrorCode::StaleHandle));
  }
  // The tenure of a hold is no part of a resource's identity.
  EXPECT_TRUE(world.view.is_live(handle.with_tenure(7)));
}

TEST(Generations, CompactDomainsRetireSlotsAfterTwelveBits) {
  World world(one_slot(), RM_DOMAIN_COMPACT_HANDLES);
  for (std::uint32_t i = 1; i <= Handle32::kMaxGeneration; ++i) {
    const Handle handle = world.add("r");
    ASSERT_EQ(handle.generation(), i);
    ASSERT_EQ(world.view.expand(world.view.compact(handle).value()).value(), handle);
    world.remove(handle);
  }
  EXPECT_EQ(world.view.retired_slots(), 1u);
  EXPECT_EQ(world.view.generation(0), Handle32::kMaxGeneration);
  EXPECT_TRUE(failed_with(world.try_add("r"), ErrorCode::CapacityExceeded));
  EXPECT_TRUE(is_sound(world));
}

// Past the highest one they go on from 1, until all have been.
TEST(Generations, ADomainMayBeginWithAnyOfThem) {
  for (const std::uint32_t first : {2u, 4000u, Handle32::kMaxGeneration}) {
    World world(RegistryRegion::create(one_slot(), {.domain_id = 0x5eed,
                                                    .flags = RM_DOMAIN_COMPACT_HANDLES,
                                                    .first_generation = first})
                    .value());
    std::set<std::uint32_t> had;
    for (std::uint32_t i = 0; i < Handle32::kMaxGeneration; ++i) {
      const Handle handle = world.add("r");
      ASSERT_EQ(handle.generation(), (first + i - 1) % Handle32::kMaxGeneration + 1);
      ASSERT_EQ(world.view.expand(world.view.compact(handle).value()).value(), handle);
      had.insert(handle.generation());
      world.remove(handle);
      // A new authority goes on as the old one would.
      if (i == 2000) {
        ASSERT_EQ(world.writer.recover().retired, 0u);
      }
    }
    EXPECT_EQ(had.size(), Handle32::kMaxGeneration);
    EXPECT_EQ(world.view.retired_slots(), 1u);
    EXPECT_TRUE(failed_with(world.try_add("r"), ErrorCode::CapacityExceeded));
    EXPECT_EQ(world.writer.recover().retired, 1u);
    EXPECT_TRUE(is_sound(world));
  }
}

TEST(Generations, TheWriterSaysWhichSlotsAreFresh) {
  World world(
      RegistryRegion::create(one_slot(), {.domain_id = 0x5eed, .first_generation = 77}).value());
  const auto prepared = world.writer.prepare("r", {});
  ASSERT_TRUE(succeeded(prepared));
  EXPECT_TRUE(prepared->fresh);
  EXPECT_EQ(prepared->generation, 77u);
  ASSERT_TRUE(succeeded(world.writer.abandon(*prepared)));
  EXPECT_FALSE(world.writer.prepare("r", {}).value().fresh);
}

TEST(Generations, WhatNoHandleHasIsRefused) {
  for (const std::uint32_t flags : {0u, RM_DOMAIN_COMPACT_HANDLES}) {
    for (const std::uint32_t first : {0u, highest_generation(flags) + 1}) {
      EXPECT_TRUE(failed_with(
          RegistryRegion::create(one_slot(), {.flags = flags, .first_generation = first}),
          ErrorCode::InvalidArgument));
    }
  }
}

// What a damaged region says of it is not believed.
TEST(Generations, DamageLeadsToNoneThatIsNot) {
  World world(one_slot(), RM_DOMAIN_COMPACT_HANDLES);
  for (const std::uint32_t first : {0u, Handle32::kMaxGeneration + 1, ~0u}) {
    store_release(world.region.tables().root->first_generation, first);
    EXPECT_EQ(Generations::of(world.region.tables()).first(), 1u);
  }
  store_field<std::uint32_t>(world.region.tables().entries.at(0), offsetof(rm_entry, generation),
                             Handle32::kMaxGeneration + 1);
  EXPECT_TRUE(failed_with(world.try_add("r"), ErrorCode::CapacityExceeded));
}

TEST(Generations, NewDomainsDiffer) {
  for (const std::uint32_t flags : {0u, RM_DOMAIN_COMPACT_HANDLES}) {
    std::set<std::uint32_t> firsts;
    for (int i = 0; i < 1000; ++i) {
      const RegionIdentity identity = new_identity(flags);
      EXPECT_EQ(identity.flags, flags);
      EXPECT_GE(identity.first_generation, 1u);
      EXPECT_LE(identity.first_generation, highest_generation(flags));
      firsts.insert(identity.first_generation);
    }
    EXPECT_GT(firsts.size(), 500u);
  }
}

TEST(Generations, OtherDomainsRetireSlotsAfterTwentyFourBits) {
  World world(one_slot());
  world.remove(world.add("r"));
  // As if the slot had been used nearly to its end.
  store_field<std::uint32_t>(world.region.tables().entries.at(0), offsetof(rm_entry, generation),
                             Handle::kGenerationMask - 1);
  const Handle last = world.add("r");
  EXPECT_EQ(last.generation(), Handle::kGenerationMask);
  world.remove(last);
  EXPECT_EQ(world.view.retired_slots(), 1u);
  EXPECT_TRUE(failed_with(world.try_add("r"), ErrorCode::CapacityExceeded));
  // A new authority doesn't bring it back either.
  EXPECT_EQ(world.writer.recover().retired, 1u);
  EXPECT_TRUE(failed_with(world.try_add("r"), ErrorCode::CapacityExceeded));
}

TEST(Generations, AnAbandonedSlotUsesItsGenerationUp) {
  World world(one_slot());
  const auto prepared = world.writer.prepare("r", {});
  ASSERT_TRUE(succeeded(prepared));
  ASSERT_TRUE(succeeded(world.writer.abandon(*prepared)));
  EXPECT_EQ(world.add("r").generation(), prepared->generation + 1);
}

TEST(Handle32, IsRefusedWhereItCouldBeAmbiguous) {
  World plain;
  const Handle handle = plain.add("a");
  EXPECT_TRUE(failed_with(plain.view.compact(handle), ErrorCode::Unsupported));
  EXPECT_TRUE(failed_with(plain.view.expand(Handle32::from_bits(1)), ErrorCode::Unsupported));

  World compact(small_capacities(), RM_DOMAIN_COMPACT_HANDLES);
  const Handle live = compact.add("a");
  const Handle32 small = compact.view.compact(live).value();
  EXPECT_EQ(small.slot(), live.slot());
  EXPECT_EQ(small.generation(), live.generation());
  compact.remove(live);
  EXPECT_TRUE(failed_with(compact.view.compact(live), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(compact.view.expand(small), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(compact.view.expand(Handle32()), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(compact.view.expand(Handle32::from_bits(~0u)), ErrorCode::StaleHandle));
}

TEST(Handle32, NeedsASmallDomain) {
  Capacities capacities = small_capacities();
  capacities.slots = Handle32::kMaxSlots + 1;
  EXPECT_TRUE(succeeded(RegistryRegion::create(capacities, {.domain_id = 1})));
  EXPECT_TRUE(failed_with(
      RegistryRegion::create(capacities, {.domain_id = 1, .flags = RM_DOMAIN_COMPACT_HANDLES}),
      ErrorCode::InvalidArgument));
}

}  // namespace
}  // namespace resmgr::registry::test
