// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/word.hpp"

#include <gtest/gtest.h>

namespace resmgr::lock {
namespace {

constexpr std::uint32_t kAllFlags = 0xff;

TEST(StateWord, FieldsDoNotTouchEachOther) {
  const StateWord word = StateWord::free(0xabcdef).with_owner(0xfffe).with_latch(0x8001).with(
      RM_WORD_WAITERS | RM_WORD_GRANTING);
  EXPECT_EQ(word.generation(), 0xabcdefu);
  EXPECT_EQ(word.owner(), 0xfffe);
  EXPECT_EQ(word.latch(), 0x8001);
  EXPECT_TRUE(word.has(RM_WORD_WAITERS | RM_WORD_GRANTING));
  EXPECT_FALSE(word.has(RM_WORD_WAITERS | RM_WORD_SHARED));
  EXPECT_TRUE(word.has_any(RM_WORD_WAITERS | RM_WORD_SHARED));

  EXPECT_EQ(word.with_owner(0).with_latch(0).without(kAllFlags), StateWord::free(0xabcdef));
  EXPECT_EQ(word.with_owner(7).with_owner(0xfffe), word);
  EXPECT_EQ(word.with_latch(7).with_latch(0x8001), word);
  EXPECT_EQ(StateWord{}.with(kAllFlags).with_owner(0xffff).with_latch(0xffff).generation(), 0u);
}

TEST(StateWord, OwnerBitsOfAContextMakeTheWordOfAnOwner) {
  const std::uint64_t bits = std::uint64_t{0x1234} << RM_WORD_OWNER_SHIFT;
  EXPECT_EQ(StateWord{StateWord::free(9).bits | bits}, StateWord::free(9).with_owner(0x1234));
}

TEST(StateWord, AbsentHasNoTenant) {
  EXPECT_TRUE(StateWord::free(5).is_tenant(5));
  EXPECT_FALSE(StateWord::free(5).is_tenant(4));
  EXPECT_FALSE(StateWord::free(5).with(RM_WORD_ABSENT).is_tenant(5));
  EXPECT_TRUE(StateWord::free(5).with_owner(3).with(RM_WORD_WAITERS).is_tenant(5));
}

TEST(StateWord, WhatBarsNewcomers) {
  for (const std::uint32_t flag :
       {RM_WORD_WAITERS, RM_WORD_WORK, RM_WORD_GRANTING, RM_WORD_QUARANTINED, RM_WORD_ABSENT}) {
    EXPECT_TRUE(StateWord::free(1).with(flag).has_any(kBarring)) << flag;
  }
  for (const std::uint32_t flag : {RM_WORD_SHARED, RM_WORD_INCONSISTENT, RM_WORD_REVOKED}) {
    EXPECT_FALSE(StateWord::free(1).with(flag).has_any(kBarring)) << flag;
  }
}

TEST(NodeWord, StateAndSequence) {
  const NodeWord waiting{std::uint64_t{0x00abcdef12345678} << RM_NODE_SEQ_SHIFT | RM_NODE_WAITING};
  EXPECT_EQ(waiting.sequence(), 0xabcdef12345678u);
  EXPECT_TRUE(waiting.waiting());
  EXPECT_FALSE(waiting.asleep());

  const NodeWord asleep{waiting.bits | RM_NODE_ASLEEP};
  EXPECT_TRUE(asleep.waiting());
  EXPECT_TRUE(asleep.asleep());
  EXPECT_EQ(asleep.sequence(), waiting.sequence());

  const NodeWord granted = asleep.to(RM_NODE_GRANTED);
  EXPECT_EQ(granted.state(), unsigned{RM_NODE_GRANTED});
  EXPECT_EQ(granted.sequence(), waiting.sequence());
  EXPECT_FALSE(granted.asleep());
}

TEST(CellWord, FieldsAndUse) {
  const CellWord held = CellWord::make(0xfedcba, 0xfffe, 0x1234, RM_CELL_HELD);
  EXPECT_EQ(held.generation(), 0xfedcbau);
  EXPECT_EQ(held.context(), 0xfffe);
  EXPECT_EQ(held.parking(), 0x1234);
  EXPECT_EQ(held.state(), unsigned{RM_CELL_HELD});
  EXPECT_EQ(held.to(RM_CELL_OFFERED), CellWord::make(0xfedcba, 0xfffe, 0x1234, RM_CELL_OFFERED));
  EXPECT_TRUE(held.is_of(0xfedcba, 0xfffe));
  EXPECT_FALSE(held.is_of(0xfedcbb, 0xfffe));
  EXPECT_FALSE(held.is_of(0xfedcba, 0xfffd));
  EXPECT_TRUE(held.in_use());
  EXPECT_TRUE(CellWord::make(1, 2, 3, RM_CELL_OFFERED).in_use());
  EXPECT_FALSE(CellWord::make(1, 2, 3, RM_CELL_FREE).in_use());
}

}  // namespace
}  // namespace resmgr::lock
