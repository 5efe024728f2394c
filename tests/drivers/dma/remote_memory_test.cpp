// SPDX-License-Identifier: Apache-2.0
//
// Which files a server maps, and that no other can make it fault.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "drivers/dma/remote_memory.hpp"
#include "tests/drivers/dma/remote_support.hpp"

namespace drivers::dma {
namespace {

using hal::ErrorCode;
using hal::UniqueFd;

ErrorCode refusal(UniqueFd fd, Access access = Access::ReadWrite) {
  const auto memory = RemoteMemory::map(std::move(fd), access);
  return memory ? ErrorCode{} : memory.error().code();
}

UniqueFd reopened(const UniqueFd& file, int flags) {
  return UniqueFd(::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), flags));
}

TEST(RemoteMemoryTest, SealedMemoryIsShared) {
  const MemoryFile file(3 * 4096 + 5);
  auto memory = RemoteMemory::map(file.fd(), Access::ReadWrite);
  ASSERT_TRUE(memory) << memory.error().message();
  ASSERT_EQ(memory->bytes().size(), file.bytes().size());
  memory->bytes().back() = std::byte{7};
  EXPECT_EQ(file.bytes().back(), std::byte{7});
  const RemoteMemory moved = *std::move(memory);
  file.bytes().front() = std::byte{8};
  EXPECT_EQ(moved.bytes().front(), std::byte{8});
}

TEST(RemoteMemoryTest, WhatCouldShrinkIsRefused) {
  EXPECT_EQ(refusal(MemoryFile(4096, 0).fd()), ErrorCode::InvalidArgument);
  EXPECT_EQ(refusal(MemoryFile(4096, F_SEAL_GROW).fd()), ErrorCode::InvalidArgument);
  EXPECT_EQ(refusal(MemoryFile(4096, F_SEAL_GROW | F_SEAL_SHRINK).fd()), ErrorCode{});
  EXPECT_EQ(refusal(UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))),
            ErrorCode::InvalidArgument);
  EXPECT_EQ(refusal(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC))), ErrorCode::InvalidArgument);
  EXPECT_EQ(refusal(UniqueFd()), ErrorCode::InvalidArgument);
}

TEST(RemoteMemoryTest, HugePagesAreRefused) {
  const UniqueFd huge(::memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  if (!huge) GTEST_SKIP() << "this kernel has no huge pages for files";
  ASSERT_EQ(::ftruncate(huge.get(), 2 << 20), 0);
  ASSERT_EQ(::fcntl(huge.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(refusal(huge.duplicate().value()), ErrorCode::InvalidArgument);
}

TEST(RemoteMemoryTest, AnEmptyFileIsRefused) {
  const UniqueFd empty(::memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(empty.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(refusal(empty.duplicate().value()), ErrorCode::InvalidArgument);
}

TEST(RemoteMemoryTest, TheFileMustAllowTheAccess) {
  const MemoryFile file(4096);
  const UniqueFd fd = file.fd();
  EXPECT_EQ(refusal(reopened(fd, O_RDONLY)), ErrorCode::NotPermitted);
  EXPECT_EQ(refusal(reopened(fd, O_RDONLY), Access::Read), ErrorCode{});
  EXPECT_EQ(refusal(reopened(fd, O_WRONLY), Access::Read), ErrorCode::NotPermitted);
  const MemoryFile frozen(4096, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
  EXPECT_EQ(refusal(frozen.fd()), ErrorCode::NotPermitted);
}

TEST(RemoteMemoryTest, TheMappingEndsWithItsOwner) {
  const MemoryFile file(4096);
  std::byte* address = nullptr;
  {
    const auto memory = RemoteMemory::map(file.fd(), Access::Read);
    ASSERT_TRUE(memory);
    address = memory->bytes().data();
    EXPECT_EQ(::msync(address, 4096, MS_ASYNC), 0);
  }
  EXPECT_EQ(::msync(address, 4096, MS_ASYNC), -1);
  EXPECT_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace drivers::dma
