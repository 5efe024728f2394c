// SPDX-License-Identifier: Apache-2.0
#include "resmgr/base/mapping.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "resmgr/base/unique_fd.hpp"

namespace resmgr {
namespace {

UniqueFd file_of(std::size_t bytes) {
  UniqueFd fd(::memfd_create("mapping-test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

TEST(Mapping, LargeOnesBeginAtAHugePageAndEndWhereTheyShould) {
  for (const std::size_t bytes : {std::size_t{1}, kHugePage - 1, kHugePage, 2 * kHugePage + 5000}) {
    const UniqueFd fd = file_of(bytes);
    auto mapping = Mapping::map_file(fd.get(), bytes, Mapping::Access::ReadWrite);
    ASSERT_TRUE(mapping) << mapping.error().message();
    EXPECT_EQ(mapping->size(), bytes);
    if (bytes >= kHugePage) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(mapping->data()) % kHugePage, 0u);
    }
    mapping->data()[0] = std::byte{1};
    mapping->data()[bytes - 1] = std::byte{2};
    const auto again = Mapping::map_file(fd.get(), bytes, Mapping::Access::Read);
    EXPECT_EQ(again->data()[bytes - 1], std::byte{2});
  }
}

TEST(Mapping, BeginsAtAMultipleOfItsAlignment) {
  const UniqueFd fd = file_of(kHugePage);
  for (const std::size_t alignment : {std::size_t{16}, std::size_t{1} << 16, 8 * kHugePage}) {
    for (const std::size_t bytes : {std::size_t{100}, kHugePage}) {
      const auto mapping =
          Mapping::map_file(fd.get(), bytes, Mapping::Access::ReadWrite, 0, alignment);
      ASSERT_TRUE(mapping) << mapping.error().message();
      const auto address = reinterpret_cast<std::uintptr_t>(mapping->data());
      EXPECT_EQ(address % alignment, 0u);
      EXPECT_EQ(bytes < kHugePage ? 0 : address % kHugePage, 0u);
      mapping->data()[bytes - 1] = std::byte{1};
    }
  }
  EXPECT_EQ(Mapping::map_file(fd.get(), 1, Mapping::Access::Read, 0, SIZE_MAX / 2 + 1).error(),
            ErrorCode::InvalidArgument);
}

// Two that are mapped one behind the other leave no address space behind.
TEST(Mapping, GivesBackWhatItDoesNotNeed) {
  const UniqueFd fd = file_of(kHugePage + 1);
  const auto pages_of_space = [] {
    std::size_t pages = 0;
    FILE* const file = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(file, "%zu", &pages), 1);
    std::fclose(file);
    return pages;
  };
  (void)Mapping::map_file(fd.get(), kHugePage + 1, Mapping::Access::Read);
  const std::size_t before = pages_of_space();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Mapping::map_file(fd.get(), kHugePage + 1, Mapping::Access::Read));
  }
  EXPECT_EQ(pages_of_space(), before);
}

TEST(Mapping, WhatCannotBeMappedIsAnErrorAndLeavesNothing) {
  EXPECT_EQ(Mapping::map_file(-1, 2 * kHugePage, Mapping::Access::Read).error().system_errno(),
            EBADF);
  EXPECT_FALSE(Mapping::map_file(-1, SIZE_MAX, Mapping::Access::Read));
  EXPECT_EQ(Mapping::map_file(-1, 0, Mapping::Access::Read).error(), ErrorCode::InvalidArgument);
}

TEST(Mapping, JoiningPagesKeepsWhatIsInThem) {
  const UniqueFd fd = file_of(2 * kHugePage);
  auto mapping = Mapping::map_file(fd.get(), 2 * kHugePage, Mapping::Access::ReadWrite).value();
  std::byte* const second = mapping.data() + kHugePage;
  second[0] = std::byte{7};
  second[kHugePage - 1] = std::byte{8};
  join_pages(second);
  EXPECT_EQ(second[0], std::byte{7});
  EXPECT_EQ(second[kHugePage - 1], std::byte{8});
  EXPECT_EQ(second[4096], std::byte{0});
}

}  // namespace
}  // namespace resmgr
