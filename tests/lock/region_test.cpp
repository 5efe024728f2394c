// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/region.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "resmgr/base/mapping.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

UniqueFd duplicate_of(const LockRegion& region) {
  return UniqueFd(::fcntl(region.fd(), F_DUPFD_CLOEXEC, 0));
}

TEST(LockRegion, HasTheTablesThatWereAskedFor) {
  const auto region = LockRegion::create(kSmall, {.domain_id = 7});
  ASSERT_TRUE(region);
  const LockTables& t = region->tables();
  EXPECT_EQ(t.slot_count, kSmall.slots);
  EXPECT_EQ(t.node_count, kSmall.nodes);
  EXPECT_EQ(t.cell_count, kSmall.cells);
  EXPECT_EQ(t.context_count, kSmall.contexts);
  EXPECT_EQ(t.client_count, kSmall.clients);
  EXPECT_EQ(region->header().domain_id, 7u);
}

TEST(LockRegion, RefusesImpossibleCapacities) {
  Capacities none = kSmall;
  none.nodes = 0;
  EXPECT_EQ(LockRegion::create(none, {}).error().code(), ErrorCode::InvalidArgument);
  Capacities many = kSmall;
  many.contexts = RM_MAX_CONTEXTS + 1;
  EXPECT_EQ(LockRegion::create(many, {}).error().code(), ErrorCode::InvalidArgument);
}

TEST(LockRegion, IsOneMemoryForAllWhoAttach) {
  const auto first = LockRegion::create(kSmall, {.domain_id = 7});
  ASSERT_TRUE(first);
  const auto second = LockRegion::attach(duplicate_of(*first));
  ASSERT_TRUE(second) << second.error().message();
  ASSERT_NE(first->tables().slots, second->tables().slots);
  store(first->tables().slots[3].word, 42);
  EXPECT_EQ(load(second->tables().slots[3].word), 42u);
  EXPECT_EQ(load(second->tables().region->trace_level), unsigned{RM_TRACE_CONTENDED});
}

TEST(LockRegion, RefusesADamagedHeader) {
  const auto region = LockRegion::create(kSmall, {.domain_id = 7});
  ASSERT_TRUE(region);
  rm_region_header& header = region->tables().region->header;
  const rm_region_header whole = header;
  for (std::size_t byte = 0; byte < sizeof header; ++byte) {
    reinterpret_cast<unsigned char*>(&header)[byte] ^= 0x40;
    EXPECT_FALSE(LockRegion::attach(duplicate_of(*region))) << "byte " << byte;
    header = whole;
  }
  EXPECT_TRUE(LockRegion::attach(duplicate_of(*region)));
}

TEST(LockRegion, IsAdoptedWhateverItsClientsMadeOfItsHeader) {
  const auto region = LockRegion::create(kSmall, {.domain_id = 7});
  ASSERT_TRUE(region);
  store(region->tables().slots[3].word, 42);
  rm_region_header registry = region->header();
  registry.epoch = 2;
  std::memset(&region->tables().region->header, 0xff, sizeof(rm_region_header));
  const auto adopted = LockRegion::adopt(duplicate_of(*region), registry);
  ASSERT_TRUE(adopted) << adopted.error().message();
  EXPECT_EQ(load(adopted->tables().slots[3].word), 42u);
  EXPECT_EQ(adopted->header().epoch, 2u);
  // Whoever attaches now finds a whole one.
  const auto attached = LockRegion::attach(duplicate_of(*region));
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(attached->header().domain_id, 7u);
  registry.slots *= 2;
  registry.index_entries *= 2;
  EXPECT_EQ(LockRegion::adopt(duplicate_of(*region), registry).error().code(),
            ErrorCode::InvalidArgument);
}

TEST(LockRegion, GoesOnWithItsCheckedCopyOfTheHeader) {
  auto region = LockRegion::create(kSmall, {.domain_id = 7});
  ASSERT_TRUE(region);
  std::memset(&region->tables().region->header, 0xff, sizeof(rm_region_header));
  EXPECT_EQ(region->tables().slot_count, kSmall.slots);
  EXPECT_EQ(region->header().nodes, kSmall.nodes);
}

TEST(LockRegion, PaysForWhatIsTouched) {
  const auto region = LockRegion::create(Capacities{}, {.domain_id = 7});
  ASSERT_TRUE(region);
  const std::uint64_t before = region->resident_bytes();
  EXPECT_LT(before, 64u << 10);
  store(region->tables().slots[1000].word, 1);
  EXPECT_GT(region->resident_bytes(), before);
}

TEST(LockTables, IndexesOutsideAreNobody) {
  const Domain domain;
  const LockTables& t = domain.tables();
  EXPECT_EQ(t.slot(kSmall.slots), nullptr);
  EXPECT_EQ(t.node(0), nullptr);
  EXPECT_EQ(t.node(kSmall.nodes + 1), nullptr);
  EXPECT_EQ(t.node(~0u), nullptr);
  EXPECT_EQ(t.cell(0), nullptr);
  EXPECT_EQ(t.cell(kSmall.cells + 1), nullptr);
  EXPECT_EQ(t.context(0), nullptr);
  EXPECT_EQ(t.context(kSmall.contexts + 1), nullptr);
  EXPECT_EQ(t.client(kSmall.clients), nullptr);
  EXPECT_EQ(t.link_of(t.node(7)), 7u);
  EXPECT_EQ(t.link_of(t.cell(9)), 9u);
  EXPECT_EQ(t.index_of(t.slot(11)), 11u);
  EXPECT_EQ(t.context(kSmall.contexts), t.contexts + (kSmall.contexts - 1));
}

}  // namespace
}  // namespace resmgr::lock::test
