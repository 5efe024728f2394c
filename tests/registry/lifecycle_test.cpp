// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <span>
#include <string>

#include "resmgr/registry/writer.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

TEST(Lifecycle, APreparedResourceIsReservedButNotThere) {
  World world;
  const PreparedSlot prepared = world.writer.prepare("r", {}).value();
  EXPECT_TRUE(failed_with(world.view.find("r"), ErrorCode::NotFound));
  EXPECT_TRUE(failed_with(world.view.read(prepared.handle()), ErrorCode::StaleHandle));
  EXPECT_FALSE(world.view.is_live(prepared.handle()));
  EXPECT_EQ(world.view.size(), 0u);
  EXPECT_EQ(describe(world.view), "");
  EXPECT_TRUE(failed_with(world.writer.prepare("r", {}), ErrorCode::AlreadyExists));

  EXPECT_EQ(world.writer.publish(prepared).value(), prepared.handle());
  EXPECT_EQ(world.view.find("r").value(), prepared.handle());
  EXPECT_EQ(world.view.size(), 1u);
  EXPECT_TRUE(failed_with(world.writer.publish(prepared), ErrorCode::StaleHandle));
  EXPECT_TRUE(failed_with(world.writer.abandon(prepared), ErrorCode::StaleHandle));
  EXPECT_TRUE(is_sound(world));
}

TEST(Lifecycle, AnAbandonedResourceLeavesNothing) {
  World world;
  const PairText pair{"k", "v"};
  const PreparedSlot prepared = world.writer.prepare("r", {.pairs = std::span(&pair, 1)}).value();
  ASSERT_TRUE(succeeded(world.writer.abandon(prepared)));
  EXPECT_TRUE(failed_with(world.writer.publish(prepared), ErrorCode::StaleHandle));
  EXPECT_TRUE(is_sound(world));
  EXPECT_TRUE(succeeded(world.try_add("r")));
}

TEST(Lifecycle, WhatLacksMemoryBeginsAllocated) {
  World world;
  const PreparedSlot prepared = world.writer.prepare("r", {}).value();
  EXPECT_TRUE(
      failed_with(world.writer.publish(prepared, Lifecycle::Orphaned), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(world.view.find("r"), ErrorCode::NotFound));
  const Handle handle = world.writer.publish(prepared, Lifecycle::Allocated).value();
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::Allocated);
  ASSERT_TRUE(succeeded(world.writer.set_lifecycle(handle, Lifecycle::Ready)));
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::Ready);
  EXPECT_TRUE(is_sound(world));
}

TEST(Lifecycle, AnOrphanIsAdoptedAndNothingElse) {
  World world;
  const Handle handle = world.add("r");
  EXPECT_TRUE(
      failed_with(world.writer.adopt(handle, 7, 8, Lifecycle::Ready), ErrorCode::InvalidArgument));
  ASSERT_TRUE(succeeded(world.writer.set_lifecycle(handle, Lifecycle::Orphaned)));
  EXPECT_TRUE(failed_with(world.writer.adopt(handle, 7, 8, Lifecycle::Quarantined),
                          ErrorCode::InvalidArgument));
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::Orphaned);
  ASSERT_TRUE(succeeded(world.writer.adopt(handle, 7, 8, Lifecycle::Ready)));
  const EntryCopy entry = world.view.read(handle).value();
  EXPECT_EQ(entry.state, Lifecycle::Ready);
  EXPECT_EQ(entry.owner_client, 7u);
  EXPECT_EQ(entry.cookie, 8u);
  EXPECT_TRUE(is_sound(world));
  EXPECT_TRUE(failed_with(world.writer.adopt(Handle(63, 1), 7, 8, Lifecycle::Ready),
                          ErrorCode::StaleHandle));
}

TEST(Lifecycle, OnlyStoredStatesCanBeSet) {
  World world;
  const Handle handle = world.add("r");
  for (const Lifecycle state :
       {Lifecycle::Allocated, Lifecycle::Orphaned, Lifecycle::Quarantined, Lifecycle::Ready}) {
    ASSERT_TRUE(succeeded(world.writer.set_lifecycle(handle, state)));
    EXPECT_EQ(world.view.read(handle).value().state, state);
    EXPECT_EQ(world.view.find("r").value(), handle) << "every stored state is found by name";
  }
  for (const Lifecycle state :
       {Lifecycle::Deallocated, Lifecycle::Active, Lifecycle::Locked, Lifecycle::PendingCleanup}) {
    EXPECT_TRUE(failed_with(world.writer.set_lifecycle(handle, state), ErrorCode::InvalidArgument));
  }
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::Ready);
}

TEST(Lifecycle, RemovalTakesTwoStepsAndCanBeGivenUp) {
  World world;
  const Handle handle = world.add("r");
  ASSERT_TRUE(succeeded(world.writer.set_lifecycle(handle, Lifecycle::Orphaned)));
  EXPECT_TRUE(failed_with(world.writer.finish_unregister(handle), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(world.writer.cancel_unregister(handle), ErrorCode::InvalidArgument));

  ASSERT_TRUE(succeeded(world.writer.begin_unregister(handle)));
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::PendingCleanup);
  EXPECT_EQ(world.view.find("r").value(), handle);
  EXPECT_TRUE(failed_with(world.try_add("r"), ErrorCode::AlreadyExists));
  EXPECT_TRUE(failed_with(world.writer.begin_unregister(handle), ErrorCode::InUse));
  EXPECT_TRUE(failed_with(world.writer.set_lifecycle(handle, Lifecycle::Ready), ErrorCode::InUse));

  ASSERT_TRUE(succeeded(world.writer.cancel_unregister(handle)));
  EXPECT_EQ(world.view.read(handle).value().state, Lifecycle::Orphaned) << "the state before";

  world.remove(handle);
  EXPECT_EQ(world.view.size(), 0u);
  EXPECT_TRUE(is_sound(world));
}

TEST(Lifecycle, WhatIsNeededStays) {
  World world;
  const Handle buffer = world.add("buffer");
  const Handle first = world.add("frame/1");
  const Handle second = world.add("frame/2");
  ASSERT_TRUE(succeeded(world.writer.dependencies().add(first, buffer)));
  ASSERT_TRUE(succeeded(world.writer.dependencies().add(second, buffer)));
  const auto refused = world.writer.begin_unregister(buffer);
  ASSERT_TRUE(failed_with(refused, ErrorCode::InUse));
  EXPECT_EQ(refused.error().detail(), "needed by frame/2 and 1 more");
  EXPECT_EQ(world.view.read(buffer).value().state, Lifecycle::Ready);

  world.remove(first);
  world.remove(second);
  world.remove(buffer);
  EXPECT_TRUE(is_sound(world));
}

TEST(Lifecycle, IterationSeesEachResourceOnceAndCanStop) {
  World world;
  for (int i = 0; i < 5; ++i) world.add("r/" + std::to_string(i));
  int seen = 0;
  world.view.for_each([&](const EntryCopy&) { return ++seen < 3; });
  EXPECT_EQ(seen, 3);
  seen = 0;
  world.view.for_each([&](const EntryCopy&) { return ++seen > 0; });
  EXPECT_EQ(seen, 5);
}

TEST(Lifecycle, AWriterNeedsAWritableRegion) {
  const World world;
  auto fd = UniqueFd(::dup(world.region.fd()));
  const auto reader = RegistryRegion::attach(std::move(fd), Mapping::Access::Read).value();
  EXPECT_TRUE(failed_with(RegistryWriter::open(reader), ErrorCode::InvalidArgument));
}

TEST(Lifecycle, AReaderInAnotherMappingSeesTheSame) {
  World world;
  const Handle handle = world.add("r", {.cookie = 7});
  auto fd = UniqueFd(::dup(world.region.fd()));
  const auto region = RegistryRegion::attach(std::move(fd), Mapping::Access::Read).value();
  const RegistryView view(region);
  EXPECT_EQ(view.find("r").value(), handle);
  EXPECT_EQ(view.read(handle).value().cookie, 7u);
  world.remove(handle);
  EXPECT_TRUE(failed_with(view.find("r"), ErrorCode::NotFound));
}

}  // namespace
}  // namespace resmgr::registry::test
