// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/region_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>

#include "resmgr/abi/region_header.hpp"

namespace resmgr {
namespace {

constexpr std::uint64_t kMagic = 0x1122334455667788;
constexpr std::array<TableShape, 1> kTables{{{100, 64}}};

UniqueFd region_file() {
  const auto header = make_header(kMagic, {}, {.domain_id = 1}, 512, kTables).value();
  auto fd = create_region_file("region-file-test", header.region_bytes).value();
  EXPECT_EQ(::pwrite(fd.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  return fd;
}

TEST(RegionFile, KeepsItsSize) {
  const UniqueFd fd = region_file();
  EXPECT_EQ(::fcntl(fd.get(), F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW),
            F_SEAL_SHRINK | F_SEAL_GROW);
  EXPECT_NE(::ftruncate(fd.get(), 0), 0);
  EXPECT_NE(::ftruncate(fd.get(), 1 << 20), 0);
  EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(RegionFile, IsMappedWhole) {
  const UniqueFd fd = region_file();
  const auto region = map_region_file(fd.get(), kMagic, Mapping::Access::ReadWrite);
  ASSERT_TRUE(region) << region.error().message();
  EXPECT_EQ(region->mapping.size(), region->header.region_bytes);
  EXPECT_EQ(region->header.domain_id, 1u);
  region->mapping.data()[region->mapping.size() - 1] = std::byte{7};
  const auto other = map_region_file(fd.get(), kMagic, Mapping::Access::Read);
  ASSERT_TRUE(other) << other.error().message();
  EXPECT_EQ(other->mapping.data()[other->mapping.size() - 1], std::byte{7}) << "shared";
}

TEST(RegionFile, AnotherKindIsRefused) {
  const UniqueFd fd = region_file();
  const auto region = map_region_file(fd.get(), kMagic + 1, Mapping::Access::Read);
  ASSERT_FALSE(region);
  EXPECT_EQ(region.error().code(), ErrorCode::InvalidArgument);
}

TEST(RegionFile, AnUnsealedFileIsRefused) {
  const UniqueFd sealed = region_file();
  std::array<char, 512> bytes{};
  ASSERT_EQ(::pread(sealed.get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  const UniqueFd open(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.get(), 1 << 20), 0);
  ASSERT_EQ(::pwrite(open.get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  const auto refused = map_region_file(open.get(), kMagic, Mapping::Access::Read);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::InvalidArgument);
  // The seals alone make the difference.
  ASSERT_EQ(::fcntl(open.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_TRUE(map_region_file(open.get(), kMagic, Mapping::Access::Read));
}

TEST(RegionFile, MoreAccessThanTheDescriptorHasIsRefused) {
  const UniqueFd fd = region_file();
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  const UniqueFd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(reader);
  EXPECT_TRUE(map_region_file(reader.get(), kMagic, Mapping::Access::Read));
  const auto refused = map_region_file(reader.get(), kMagic, Mapping::Access::ReadWrite);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::NotPermitted);
}

}  // namespace
}  // namespace resmgr
