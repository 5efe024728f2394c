// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/context.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "resmgr/lock/context_table.hpp"
#include "tests/lock/fixture.hpp"

namespace resmgr::lock::test {
namespace {

const std::source_location kHere = std::source_location::current();

TEST(HoldList, FillsFreesAndOverflows) {
  Domain domain;
  HoldList holds(domain.open(0, this_thread()));
  EXPECT_TRUE(holds.empty());
  std::set<std::uint32_t> positions;
  for (std::uint32_t i = 0; i < RM_CONTEXT_HOLDS; ++i) {
    positions.insert(holds.add(Handle(i, i + 1), static_cast<std::uint16_t>(i + 2), false, kHere));
  }
  EXPECT_EQ(positions.size(), RM_CONTEXT_HOLDS);
  EXPECT_EQ(*positions.begin(), 1u);
  EXPECT_EQ(holds.bitmap(), ~std::uint64_t{0});
  EXPECT_EQ(holds.entry(9) >> RM_HOLD_SLOT_SHIFT, 9u);
  EXPECT_EQ(holds.entry(9), Handle(9, 10).bits());
  EXPECT_EQ(holds.class_id(9), 11);

  EXPECT_EQ(holds.add(Handle(100, 1), 1, false, kHere), 0u);
  EXPECT_EQ(holds.add(Handle(101, 1), 1, true, kHere), 0u);
  EXPECT_EQ(holds.overflow(), 2u);
  holds.remove(0);
  EXPECT_EQ(holds.overflow(), 1u);

  holds.remove(10);
  EXPECT_EQ(holds.add(Handle(200, 1), 1, true, kHere), 10u);
  EXPECT_NE(holds.entry(9) & RM_HOLD_SHARED, 0u);
  for (const std::uint32_t position : positions) holds.remove(position);
  EXPECT_FALSE(holds.empty()) << "one is beyond the list";
  holds.remove(0);
  EXPECT_TRUE(holds.empty());
}

TEST(HoldList, FirstAddIsAddToAnUnusedList) {
  Domain domain;
  HoldList holds(domain.open(0, this_thread()));
  ASSERT_TRUE(holds.unused());
  EXPECT_EQ(holds.add_first(Handle(5, 6), 1, false, kHere), 1u);
  EXPECT_FALSE(holds.unused());
  EXPECT_EQ(holds.add(Handle(7, 1), 1, false, kHere), 2u);
  EXPECT_EQ(holds.bitmap(), 3u);
}

TEST(HoldList, EntriesFreedElsewhereAreUsedAgainWhenTheListIsFull) {
  Domain domain;
  Context& context = domain.open(0, this_thread());
  HoldList holds(context);
  for (std::uint32_t i = 0; i < RM_CONTEXT_HOLDS; ++i)
    (void)holds.add(Handle(i, 1), 1, false, kHere);
  std::thread([&] { HoldList(context).remove(17); }).join();
  EXPECT_EQ(holds.bitmap(), ~(std::uint64_t{1} << 16));
  EXPECT_EQ(holds.add(Handle(99, 1), 1, false, kHere), 17u);
  EXPECT_EQ(holds.bitmap(), ~std::uint64_t{0});
  EXPECT_EQ(holds.overflow(), 0u);
}

// Everything added is freed, half of it from another thread: the list ends empty.
TEST(HoldList, TwoThreadsNeverLoseAnEntry) {
  Domain domain;
  constexpr int kRounds = 5'000;
  constexpr std::uint32_t kStop = ~std::uint32_t{0} - 1;
  constexpr std::uint32_t kNone = ~std::uint32_t{0};
  std::atomic<std::uint32_t> given = kNone;
  std::atomic<Context*> owner = nullptr;
  std::thread adder([&] {
    Context& context = domain.open(0, this_thread());
    owner = &context;
    HoldList holds(context);
    for (int i = 0; i < kRounds; ++i) {
      const std::uint32_t own = holds.add(Handle(1, 1), 1, false, kHere);
      const std::uint32_t other = holds.add(Handle(2, 1), 1, false, kHere);
      wait_until([&] { return given.load() == kNone; });
      given = other;
      holds.remove(own);
    }
    wait_until([&] { return given.load() == kNone; });
    given = kStop;
  });
  wait_until([&] { return owner.load() != nullptr; });
  for (std::uint32_t index = 0; index != kStop; index = given.load()) {
    if (index == 0 || index == kNone) continue;
    HoldList(*owner.load()).remove(index);
    given = kNone;
  }
  adder.join();
  EXPECT_TRUE(HoldList(*owner.load()).empty());
  EXPECT_EQ(HoldList(*owner.load()).overflow(), 0u);
}

TEST(ContextTable, GivesEachIdOnceAndTakesItBack) {
  Domain domain;
  std::vector<Context*> all;
  std::set<std::uint16_t> ids;
  for (std::uint32_t i = 0; i < kSmall.contexts; ++i) {
    Context& context = domain.open(3);
    EXPECT_EQ(context.owner_bits, std::uint64_t{context.id} << RM_WORD_OWNER_SHIFT);
    EXPECT_EQ(load(context.record->driver), 3u);
    ids.insert(context.id);
    all.push_back(&context);
  }
  EXPECT_EQ(ids.size(), kSmall.contexts);
  EXPECT_EQ(*ids.begin(), 1);
  EXPECT_EQ(domain.contexts.size(), kSmall.contexts);

  auto full = domain.contexts.open(0, 0, 0, nullptr);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error(), ErrorCode::CapacityExceeded);
  EXPECT_EQ(full.error().available(), kSmall.contexts);

  const std::uint16_t id = all[5]->id;
  const std::uint64_t before = load(all[5]->record->state);
  domain.contexts.close(*all[5], false);
  const Context& next = domain.open();
  EXPECT_EQ(next.id, id);
  EXPECT_GT(load(next.record->state) >> RM_CONTEXT_SEQ_SHIFT, before >> RM_CONTEXT_SEQ_SHIFT)
      << "the next tenant of an id is told apart";
}

TEST(ContextTable, KeepsTheObjectOfAContextThatHadHolds) {
  Domain domain;
  Context& with_holds = domain.open();
  domain.contexts.close(with_holds, true);
  EXPECT_EQ(with_holds.engine.load(), nullptr);
  Context& next = domain.open();
  EXPECT_NE(&next, &with_holds) << "a ref may still point at it";
  domain.contexts.close(next, false);
  EXPECT_EQ(&domain.open(), &next);
}

TEST(ContextTable, VisitsTheOpenOnes) {
  Domain domain;
  Context& a = domain.open();
  Context& b = domain.open();
  domain.contexts.close(a, false);
  std::vector<Context*> seen;
  domain.contexts.for_each([&](Context& context) { seen.push_back(&context); });
  EXPECT_EQ(seen, std::vector<Context*>{&b});
}

}  // namespace
}  // namespace resmgr::lock::test
