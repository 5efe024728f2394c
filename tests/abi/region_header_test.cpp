// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/region_header.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace resmgr {
namespace {

constexpr std::uint64_t kMagic = 0x1122334455667788;
constexpr std::uint64_t kFixedBytes = 700;
constexpr std::array<TableShape, 3> kTables{{{100, 64}, {7, 192}, {0, 64}}};

rm_region_header good_header() {
  return make_header(kMagic, {}, {.domain_id = 42, .epoch = 3, .flags = 0}, kFixedBytes, kTables)
      .value();
}

// A region of zeros that starts with this header.
std::vector<std::byte> region_of(const rm_region_header& header) {
  std::vector<std::byte> region(static_cast<std::size_t>(header.region_bytes));
  std::memcpy(region.data(), &header, sizeof header);
  return region;
}

template <typename T>
void expect_error(const Result<T>& result, ErrorCode code, const std::string& what) {
  ASSERT_FALSE(result) << what;
  EXPECT_EQ(result.error().code(), code) << what << ": " << result.error().message();
}

TEST(RegionHeader, DescribesWhatItWasMadeFrom) {
  const Capacities capacities{.slots = 1000,
                              .contexts = 7,
                              .clients = 3,
                              .nodes = 5,
                              .cells = 6,
                              .classes = 8,
                              .drivers = 9,
                              .pairs = 10,
                              .dependencies = 11,
                              .shares = 12};
  const RegionIdentity identity{.domain_id = 42, .epoch = 3, .flags = RM_DOMAIN_COMPACT_HANDLES};
  const auto header = make_header(kMagic, capacities, identity, kFixedBytes, kTables).value();
  EXPECT_EQ(header.magic, kMagic);
  EXPECT_EQ(header.layout_major, RM_LAYOUT_MAJOR);
  EXPECT_EQ(header.domain_id, 42u);
  EXPECT_EQ(header.epoch, 3u);
  EXPECT_EQ(header.flags, RM_DOMAIN_COMPACT_HANDLES);
  EXPECT_EQ(header.index_entries, index_entries_for(1000));
  EXPECT_EQ(capacities_of(header), capacities);

  const auto copy = read_header(region_of(header), kMagic);
  ASSERT_TRUE(copy) << copy.error().message();
  EXPECT_EQ(std::memcmp(&*copy, &header, sizeof header), 0);
  EXPECT_TRUE(check_tables(*copy, kFixedBytes, kTables));
}

TEST(RegionHeader, TablesAreOnPagesOfTheirOwn) {
  const rm_region_header header = good_header();
  EXPECT_EQ(header.offset[0], 4096u);
  EXPECT_EQ(header.offset[1], 4096u + 8192u);
  EXPECT_EQ(header.offset[2], 4096u + 8192u + 4096u);
  EXPECT_EQ(header.region_bytes, header.offset[2]) << "an empty table takes no page";
}

// One test for each byte: nothing of a header can be changed unnoticed.
TEST(RegionHeader, EachChangedByteIsNoticed) {
  const std::vector<std::byte> good = region_of(good_header());
  for (std::size_t i = 0; i < sizeof(rm_region_header); ++i) {
    std::vector<std::byte> changed = good;
    changed[i] ^= std::byte{0x10};
    EXPECT_FALSE(check_header(changed, kMagic)) << "byte " << i;
  }
}

TEST(RegionHeader, AnotherMajorIsNamedTogetherWithOurs) {
  rm_region_header header = good_header();
  header.layout_major = 7;
  header.layout_minor = 5;
  // Its checksum is where version 7 has it, so ours does not fit: the version is what matters.
  const auto refused = check_header(region_of(header), kMagic);
  expect_error(refused, ErrorCode::VersionMismatch, "major 7");
  EXPECT_NE(refused.error().message().find("7.5"), std::string::npos);
  const std::string ours = std::to_string(RM_LAYOUT_MAJOR) + "." + std::to_string(RM_LAYOUT_MINOR);
  EXPECT_NE(refused.error().message().find(ours), std::string::npos);
}

TEST(RegionHeader, MixedMinorsWorkTogether) {
  rm_region_header header = good_header();
  header.layout_minor = RM_LAYOUT_MINOR + 1;
  header.checksum = header_checksum(header);
  EXPECT_TRUE(check_header(region_of(header), kMagic));
}

TEST(RegionHeader, ImpossibleValuesWithARightChecksumAreRefused) {
  const auto refused = [](const char* what, auto change) {
    rm_region_header header = good_header();
    std::vector<std::byte> region = region_of(header);
    change(header);
    header.checksum = header_checksum(header);
    std::memcpy(region.data(), &header, sizeof header);
    expect_error(check_header(region, kMagic), ErrorCode::InvalidArgument, what);
  };
  refused("magic", [](auto& h) { h.magic = RM_LOCK_MAGIC; });
  refused("longer than it is", [](auto& h) { h.region_bytes += 1; });
  refused("header too small", [](auto& h) { h.header_bytes = 8; });
  refused("header too large", [](auto& h) { h.header_bytes = ~0u; });
  refused("no slots", [](auto& h) { h.slots = 0; });
  refused("slots", [](auto& h) { h.slots = ~0u; });
  refused("contexts", [](auto& h) { h.contexts = RM_MAX_CONTEXTS + 1; });
  refused("nodes", [](auto& h) { h.nodes = RM_MAX_WAITS + 1; });
  refused("clients", [](auto& h) { h.clients = 0; });
  refused("classes", [](auto& h) { h.classes = RM_MAX_CLASSES + 1; });
  refused("drivers", [](auto& h) { h.drivers = 0; });
  refused("pairs", [](auto& h) { h.metadata_pairs = ~0u; });
  refused("dependencies", [](auto& h) { h.dependency_edges = ~0u; });
  refused("shares", [](auto& h) { h.share_records = ~0u; });
  refused("index", [](auto& h) { h.index_entries *= 2; });
  refused("index of 0", [](auto& h) { h.index_entries = 0; });
  refused("compact and large", [](auto& h) {
    h.slots = (1u << 20) + 1;
    h.index_entries = index_entries_for(h.slots);
    h.flags = RM_DOMAIN_COMPACT_HANDLES;
  });
  refused("table outside", [](auto& h) { h.offset[1] = h.region_bytes + 64; });
  refused("table not aligned", [](auto& h) { h.offset[1] += 4; });
}

TEST(RegionHeader, ShortRegionsAreRefused) {
  const std::vector<std::byte> good = region_of(good_header());
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{8}, sizeof(rm_region_header) - 1,
                                  sizeof(rm_region_header), good.size() - 1}) {
    expect_error(check_header(std::span(good).first(bytes), kMagic), ErrorCode::InvalidArgument,
                 std::to_string(bytes));
  }
}

TEST(RegionHeader, TablesThatOverlapOrLeaveAreRefused) {
  const rm_region_header good = good_header();
  ASSERT_TRUE(check_tables(good, kFixedBytes, kTables));
  const auto refused = [&](const char* what, auto change) {
    rm_region_header header = good;
    change(header);
    expect_error(check_tables(header, kFixedBytes, kTables), ErrorCode::InvalidArgument, what);
  };
  refused("in the header", [](auto& h) { h.offset[0] = 640; });
  refused("on one another", [](auto& h) { h.offset[1] = h.offset[0]; });
  refused("by one line", [](auto& h) { h.offset[1] = h.offset[0] + 6400 - 64 - 64; });
  refused("past the end", [](auto& h) { h.offset[1] = h.region_bytes - 64; });
  refused("wrapping around", [](auto& h) { h.offset[1] = ~std::uint64_t{0} - 63; });
  refused("fixed part cut", [](auto& h) { h.header_bytes = kFixedBytes - 1; });

  const std::array<TableShape, 1> huge{{{~std::uint64_t{0}, 64}}};
  expect_error(check_tables(good, kFixedBytes, huge), ErrorCode::InvalidArgument, "count");
}

TEST(RegionHeader, RefusesWhatItCantDescribe) {
  const RegionIdentity identity{.domain_id = 1, .epoch = 1, .flags = 0};
  expect_error(make_header(kMagic, {.slots = 0}, identity, kFixedBytes, kTables),
               ErrorCode::InvalidArgument, "capacity");
  expect_error(make_header(kMagic, {}, {.flags = 0x100}, kFixedBytes, kTables),
               ErrorCode::InvalidArgument, "flags");
  const std::array<TableShape, 17> many{};
  expect_error(make_header(kMagic, {}, identity, kFixedBytes, many), ErrorCode::InvalidArgument,
               "tables");
}

// With 192 bytes of an entry and 64 of a slot, and a few for all the rest.
TEST(Capacities, TheIndexLeavesAResourceBelow512Bytes) {
  for (std::uint32_t cells = kMinIndexEntries; cells <= 1u << 24; cells *= 2) {
    const std::uint32_t names = index_is_full_at(cells) + 1;
    const std::uint64_t both = (std::uint64_t{cells} * 2 + cells) * sizeof(rm_index_cell);
    EXPECT_LE(both / names, 512 - sizeof(rm_entry) - sizeof(rm_slot) - 32) << cells;
  }
}

TEST(Capacities, TheIndexIsNeverFull) {
  EXPECT_EQ(index_entries_for(1), kMinIndexEntries);
  for (const std::uint32_t slots : {3u, 255u, 256u, 257u, 1000u, 1u << 20, kMaxSlots}) {
    const std::uint32_t entries = index_entries_for(slots);
    EXPECT_TRUE(std::has_single_bit(entries));
    EXPECT_GE(entries / 16 * 9, slots);
    EXPECT_LE(entries, std::max(kMinIndexEntries, slots * 5)) << slots;
  }
}

}  // namespace
}  // namespace resmgr
