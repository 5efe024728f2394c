// SPDX-License-Identifier: Apache-2.0
#include "resmgr/pool/pool_region.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "tests/base/support.hpp"

namespace resmgr::pool {
namespace {

using resmgr::test::code_of;

UniqueFd copy_of(const PoolRegion& region) {
  return UniqueFd(::fcntl(region.fd(), F_DUPFD_CLOEXEC, 0));
}

/// A memfd with the same bytes, and those seals.
UniqueFd forged(const PoolRegion& region, int seals) {
  UniqueFd fd(::memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto bytes = region.bytes();
  EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  if (seals != 0) {
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  }
  return fd;
}

TEST(PoolRegion, IsSharedByThoseWhoAttach) {
  auto made = PoolRegion::create({.block_bytes = 100, .max_blocks = 70}, "test").value();
  auto peer = PoolRegion::attach(copy_of(made)).value();
  EXPECT_EQ(peer.tables().capacity, 70u);
  EXPECT_EQ(peer.tables().stride, made.tables().stride);
  std::memcpy(made.tables().block(69), "last", 5);
  EXPECT_STREQ(reinterpret_cast<const char*>(peer.tables().block(69)), "last");
  EXPECT_NE(made.tables().blocks, peer.tables().blocks);
}

TEST(PoolRegion, BlocksAreAligned) {
  for (const std::uint64_t alignment : {64u, 4096u, 1u << 21}) {
    auto made =
        PoolRegion::create({.block_bytes = 100, .max_blocks = 3, .alignment = alignment}, "test");
    ASSERT_TRUE(made);
    auto peer = PoolRegion::attach(copy_of(*made)).value();
    for (std::uint32_t block = 0; block < 3; ++block) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made->tables().block(block)) % alignment, 0u);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(peer.tables().block(block)) % alignment, 0u);
    }
  }
}

TEST(PoolRegion, NobodyChangesItsSizeOrForbidsWriting) {
  auto made = PoolRegion::create({.block_bytes = 64, .max_blocks = 64}, "test").value();
  const auto bytes = static_cast<off_t>(made.geometry().pool_bytes);
  EXPECT_NE(::ftruncate(made.fd(), bytes / 2), 0);
  EXPECT_NE(::ftruncate(made.fd(), bytes * 2), 0);
  EXPECT_NE(::fcntl(made.fd(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
}

TEST(PoolRegion, RefusesWhatIsNoPool) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
  auto made = PoolRegion::create({.block_bytes = 64, .max_blocks = 64}, "test").value();
  EXPECT_TRUE(PoolRegion::attach(forged(made, kSeals)));
  EXPECT_EQ(code_of(PoolRegion::attach(forged(made, 0))), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(PoolRegion::attach(forged(made, F_SEAL_SHRINK))), ErrorCode::InvalidArgument);
  EXPECT_EQ(code_of(PoolRegion::attach(UniqueFd())), ErrorCode::InvalidArgument);
  UniqueFd pipes[2];
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  pipes[0].reset(ends[0]);
  pipes[1].reset(ends[1]);
  EXPECT_EQ(code_of(PoolRegion::attach(std::move(pipes[0]))), ErrorCode::InvalidArgument);

  UniqueFd tiny(::memfd_create("tiny", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(tiny.get(), F_ADD_SEALS, kSeals), 0);
  EXPECT_EQ(code_of(PoolRegion::attach(std::move(tiny))), ErrorCode::InvalidArgument);

  made.bytes()[0] ^= std::byte{1};
  EXPECT_EQ(code_of(PoolRegion::attach(copy_of(made))), ErrorCode::InvalidArgument);
}

TEST(PoolRegion, DiscardedPagesAreZerosAndCostNothing) {
  auto made = PoolRegion::create({.block_bytes = 4096, .max_blocks = 64}, "test").value();
  std::memset(made.tables().blocks, 0xff, made.tables().blocks_bytes);
  struct stat before{};
  struct stat after{};
  ASSERT_EQ(::fstat(made.fd(), &before), 0);
  made.discard(32, 64);
  ASSERT_EQ(::fstat(made.fd(), &after), 0);
  EXPECT_EQ(before.st_blocks - after.st_blocks, 32 * 8);
  EXPECT_EQ(*made.tables().block(31), std::byte{0xff});
  EXPECT_EQ(*made.tables().block(32), std::byte{0});
}

}  // namespace
}  // namespace resmgr::pool
