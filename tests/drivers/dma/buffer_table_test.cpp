// SPDX-License-Identifier: Apache-2.0
#include "drivers/dma/buffer_table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>

namespace drivers::dma {
namespace {

std::array<std::byte, 64> memory{};

TEST(BufferTableTest, FindsWhatIsAttached) {
  BufferTable table(2);
  const BufferId first = table.attach({memory, Access::ReadWrite, 3}).value();
  const BufferId second = table.attach({std::span(memory).first(8), Access::Read}).value();
  ASSERT_NE(table.find(first), nullptr);
  EXPECT_EQ(table.find(first)->memory.data(), memory.data());
  EXPECT_EQ(table.find(first)->memory.size(), memory.size());
  EXPECT_EQ(table.find(first)->access, Access::ReadWrite);
  EXPECT_EQ(table.find(first)->node, 3);
  ASSERT_NE(table.find(second), nullptr);
  EXPECT_EQ(table.find(second)->memory.size(), 8u);
  EXPECT_EQ(table.find(second)->access, Access::Read);
}

TEST(BufferTableTest, RefusesMemoryThatIsNone) {
  BufferTable table(1);
  EXPECT_EQ(table.attach({}).error(), hal::ErrorCode::InvalidArgument);
  EXPECT_EQ(table.attach({std::span(memory).first(0), Access::Read}).error(),
            hal::ErrorCode::InvalidArgument);
  const std::span<std::byte> around(memory.data(), std::numeric_limits<std::size_t>::max() - 8);
  EXPECT_EQ(table.attach({around, Access::Read}).error(), hal::ErrorCode::InvalidArgument);
  EXPECT_TRUE(table.attach({memory, Access::Read}).has_value());
}

TEST(BufferTableTest, IsFullWhenItIsFull) {
  BufferTable table(2);
  const BufferId first = table.attach({memory, Access::Read}).value();
  static_cast<void>(table.attach({memory, Access::Read}).value());
  const auto third = table.attach({memory, Access::Read});
  ASSERT_EQ(third.error(), hal::ErrorCode::CapacityExceeded);
  EXPECT_EQ(third.error().available(), 2u);
  EXPECT_EQ(third.error().requested(), 3u);
  ASSERT_TRUE(table.detach(first).has_value());
  EXPECT_TRUE(table.attach({memory, Access::Read}).has_value());
}

TEST(BufferTableTest, IdsStayStale) {
  BufferTable table(1);
  std::set<std::uint64_t> seen;
  for (int round = 0; round < 1000; ++round) {
    const BufferId id = table.attach({memory, Access::Read}).value();
    EXPECT_TRUE(seen.insert(id.bits).second) << "used before: " << id.bits;
    for (const std::uint64_t old : seen) {
      ASSERT_EQ(table.find({old}) != nullptr, old == id.bits);
    }
    ASSERT_TRUE(table.detach(id).has_value());
    EXPECT_EQ(table.detach(id).error(), hal::ErrorCode::StaleHandle);
  }
}

TEST(BufferTableTest, AnyBitsAreChecked) {
  BufferTable table(4);
  const BufferId id = table.attach({memory, Access::Read}).value();
  for (const std::uint64_t bits :
       {std::uint64_t{0}, std::uint64_t{1} << 32, id.bits + (std::uint64_t{4} << 32), id.bits + 1,
        std::numeric_limits<std::uint64_t>::max()}) {
    EXPECT_EQ(table.find({bits}), nullptr) << bits;
    EXPECT_EQ(table.detach({bits}).error(), hal::ErrorCode::StaleHandle) << bits;
  }
  EXPECT_NE(table.find(id), nullptr);
}

}  // namespace
}  // namespace drivers::dma
