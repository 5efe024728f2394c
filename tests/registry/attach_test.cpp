// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "resmgr/abi/region_file.hpp"
#include "resmgr/abi/region_header.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::registry::test {
namespace {

// Attaches to a copy of a good region whose header was changed; its checksum is right again.
Result<RegistryRegion> attach_changed(const std::function<void(rm_region_header&)>& change) {
  const World world;
  rm_region_header header = world.region.header();
  change(header);
  header.checksum = header_checksum(header);
  std::vector<std::byte> bytes(world.region.bytes().begin(), world.region.bytes().end());
  std::memcpy(bytes.data(), &header, sizeof header);
  return RegistryRegion::attach(file_of(bytes), Mapping::Access::Read);
}

TEST(Attach, AnUnchangedRegionIsAccepted) {
  const auto region = attach_changed([](rm_region_header&) {});
  ASSERT_TRUE(succeeded(region));
  EXPECT_EQ(region->header().domain_id, 0x5eedu);
  EXPECT_EQ(capacities_of(region->header()), small_capacities());
}

TEST(Attach, AnotherKindOfRegionIsRefused) {
  EXPECT_TRUE(failed_with(attach_changed([](auto& h) { h.magic = RM_LOCK_MAGIC; }),
                          ErrorCode::InvalidArgument));
}

TEST(Attach, AnotherMajorIsRefusedAnotherMinorIsNot) {
  const auto other = attach_changed([](auto& h) { h.layout_major = 9; });
  ASSERT_TRUE(failed_with(other, ErrorCode::VersionMismatch));
  EXPECT_NE(other.error().message().find("9." + std::to_string(RM_LAYOUT_MINOR)), std::string::npos)
      << other.error().message();
  const std::string ours = std::to_string(RM_LAYOUT_MAJOR) + "." + std::to_string(RM_LAYOUT_MINOR);
  EXPECT_NE(other.error().message().find(ours), std::string::npos) << other.error().message();
  EXPECT_TRUE(succeeded(attach_changed([](auto& h) { h.layout_minor = 9; })));
}

TEST(Attach, TablesOutsideTheRegionAreRefused) {
  for (unsigned table = 0; table < kRegistryTables; ++table) {
    for (const std::uint64_t offset :
         {std::uint64_t{0}, std::uint64_t{64}, std::uint64_t{1} << 40, ~std::uint64_t{0} - 63}) {
      EXPECT_TRUE(failed_with(attach_changed([&](auto& h) { h.offset[table] = offset; }),
                              ErrorCode::InvalidArgument))
          << table << " at " << offset;
    }
    EXPECT_TRUE(failed_with(attach_changed([&](auto& h) { h.offset[table] += 8; }),
                            ErrorCode::InvalidArgument))
        << "not aligned";
    EXPECT_TRUE(failed_with(
        attach_changed([&](auto& h) { h.offset[table] = h.offset[(table + 1) % kRegistryTables]; }),
        ErrorCode::InvalidArgument))
        << "overlapping";
  }
}

TEST(Attach, CapacitiesBeyondTheTablesAreRefused) {
  EXPECT_TRUE(
      failed_with(attach_changed([](auto& h) { h.slots = 1u << 20; }), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(attach_changed([](auto& h) {
                            h.slots = 1u << 20;
                            h.index_entries = index_entries_for(h.slots);
                          }),
                          ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(attach_changed([](auto& h) { h.metadata_pairs = 1u << 20; }),
                          ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(attach_changed([](auto& h) { h.region_bytes *= 2; }),
                          ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(attach_changed([](auto& h) { h.header_bytes = 600; }),
                          ErrorCode::InvalidArgument));
}

TEST(Attach, FilesThatAreNoRegionsAreRefused) {
  const auto attach = [](UniqueFd fd) {
    return RegistryRegion::attach(std::move(fd), Mapping::Access::Read);
  };
  EXPECT_TRUE(failed_with(attach(UniqueFd()), ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(attach(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC))),
                          ErrorCode::InvalidArgument));
  EXPECT_TRUE(failed_with(attach(create_region_file("zeros", 1u << 16).value()),
                          ErrorCode::InvalidArgument));
  EXPECT_TRUE(
      failed_with(attach(create_region_file("short", 100).value()), ErrorCode::InvalidArgument));
  EXPECT_TRUE(
      failed_with(attach(create_region_file("empty", 0).value()), ErrorCode::InvalidArgument));

  // The right bytes, but someone could still pull them out from under the mapping.
  const World world;
  UniqueFd open(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(open.get(), world.region.bytes().data(), world.region.bytes().size()),
            static_cast<ssize_t>(world.region.bytes().size()));
  EXPECT_TRUE(failed_with(attach(std::move(open)), ErrorCode::InvalidArgument));
}

TEST(Attach, CreationChecksItsCapacities) {
  const auto refused = [](auto change) {
    Capacities capacities = small_capacities();
    change(capacities);
    return failed_with(RegistryRegion::create(capacities, {.domain_id = 1}),
                       ErrorCode::InvalidArgument);
  };
  EXPECT_TRUE(refused([](Capacities& c) { c.slots = 0; }));
  EXPECT_TRUE(refused([](Capacities& c) { c.slots = kMaxSlots + 1; }));
  EXPECT_TRUE(refused([](Capacities& c) { c.classes = 1; }));
  EXPECT_TRUE(refused([](Capacities& c) { c.drivers = RM_MAX_DRIVERS + 1; }));
  EXPECT_TRUE(refused([](Capacities& c) { c.pairs = ~0u; }));
  EXPECT_TRUE(failed_with(
      RegistryRegion::create(small_capacities(), {.domain_id = 1, .flags = 0x80000000u}),
      ErrorCode::InvalidArgument));
}

TEST(Attach, TheSizeOfARegionStaysAsItIs) {
  const World world;
  EXPECT_NE(::ftruncate(world.region.fd(), 0), 0);
  EXPECT_NE(::ftruncate(world.region.fd(), 1 << 30), 0);
}

}  // namespace
}  // namespace resmgr::registry::test
