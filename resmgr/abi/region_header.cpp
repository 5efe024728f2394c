// SPDX-License-Identifier: Apache-2.0
#include "resmgr/abi/region_header.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "resmgr/abi/version.hpp"
#include "resmgr/base/hash.hpp"
#include "resmgr/base/random.hpp"

namespace resmgr {
namespace {

constexpr std::size_t kMaxTables = std::extent_v<decltype(rm_region_header::offset)>;
constexpr std::uint32_t kKnownDomainFlags = RM_DOMAIN_COMPACT_HANDLES;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) / alignment * alignment;
}

std::unexpected<Error> damaged(const char* what) noexcept {
  return fail(ErrorCode::InvalidArgument, what);
}

}  // namespace

RegionIdentity new_identity(std::uint32_t flags) noexcept {
  const std::uint64_t id = random_id();
  return {.domain_id = id,
          .flags = flags,
          .first_generation = static_cast<std::uint32_t>(id % highest_generation(flags)) + 1};
}

std::uint64_t header_checksum(const rm_region_header& header) noexcept {
  std::array<unsigned char, offsetof(rm_region_header, checksum)> bytes{};
  std::memcpy(bytes.data(), &header, bytes.size());
  return fnv1a(bytes);
}

Capacities capacities_of(const rm_region_header& header) noexcept {
  return {.slots = header.slots,
          .contexts = header.contexts,
          .clients = header.clients,
          .nodes = header.nodes,
          .cells = header.cells,
          .classes = header.classes,
          .drivers = header.drivers,
          .pairs = header.metadata_pairs,
          .dependencies = header.dependency_edges,
          .shares = header.share_records};
}

Result<rm_region_header> make_header(std::uint64_t magic, const Capacities& capacities,
                                     const RegionIdentity& identity, std::uint64_t fixed_bytes,
                                     std::span<const TableShape> tables) {
  if (auto ok = check_capacities(capacities, identity.flags); !ok) {
    return std::unexpected(std::move(ok.error()));
  }
  if ((identity.flags & ~kKnownDomainFlags) != 0) {
    return fail(ErrorCode::InvalidArgument, "unknown domain flag");
  }
  if (tables.size() > kMaxTables) return fail(ErrorCode::InvalidArgument, "too many tables");

  rm_region_header header{};
  header.magic = magic;
  header.layout_major = RM_LAYOUT_MAJOR;
  header.layout_minor = RM_LAYOUT_MINOR;
  header.header_bytes = static_cast<std::uint32_t>(fixed_bytes);
  header.domain_id = identity.domain_id;
  header.epoch = identity.epoch;
  header.slots = capacities.slots;
  header.nodes = capacities.nodes;
  header.cells = capacities.cells;
  header.contexts = capacities.contexts;
  header.clients = capacities.clients;
  header.classes = capacities.classes;
  header.drivers = capacities.drivers;
  header.index_entries = index_entries_for(capacities.slots);
  header.metadata_pairs = capacities.pairs;
  header.dependency_edges = capacities.dependencies;
  header.share_records = capacities.shares;
  header.flags = identity.flags;

  std::uint64_t end = round_up(fixed_bytes, kTableAlignment);
  for (std::size_t i = 0; i < tables.size(); ++i) {
    header.offset[i] = end;
    end = round_up(end + tables[i].count * tables[i].element_bytes, kTableAlignment);
  }
  header.region_bytes = end;
  header.checksum = header_checksum(header);
  return header;
}

Result<rm_region_header> read_header(std::span<const std::byte> region, std::uint64_t magic) {
  rm_region_header header{};
  if (region.size() < sizeof header) return damaged("region too small for a header");
  std::memcpy(&header, region.data(), sizeof header);

  if (header.magic != magic) return damaged("not a region of the expected kind");
  // Only magic and version keep their places across majors, so the version comes before the rest.
  if (header.layout_major != RM_LAYOUT_MAJOR) {
    return std::unexpected(version_mismatch("attach", "the region has layout",
                                            {header.layout_major, header.layout_minor},
                                            {RM_LAYOUT_MAJOR, RM_LAYOUT_MINOR}));
  }
  if (header.checksum != header_checksum(header)) return damaged("damaged region header");
  if (header.header_bytes < sizeof header || header.header_bytes > header.region_bytes) {
    return damaged("region header of an impossible size");
  }
  if (header.region_bytes > region.size()) return damaged("region shorter than its header says");
  if (auto ok = check_capacities(capacities_of(header), header.flags); !ok) {
    return std::unexpected(std::move(ok.error()));
  }
  if (header.index_entries != index_entries_for(header.slots)) {
    return damaged("name index of an impossible size");
  }
  for (const std::uint64_t offset : header.offset) {
    if (offset > header.region_bytes || offset % 64 != 0) {
      return damaged("table outside of its region");
    }
  }
  return header;
}

Result<void> check_header(std::span<const std::byte> region, std::uint64_t magic) {
  auto header = read_header(region, magic);
  if (!header) return std::unexpected(std::move(header.error()));
  return {};
}

Result<void> check_tables(const rm_region_header& header, std::uint64_t fixed_bytes,
                          std::span<const TableShape> tables) noexcept {
  struct Extent {
    std::uint64_t begin;
    std::uint64_t end;
  };
  if (tables.size() > kMaxTables) return damaged("too many tables");
  if (header.header_bytes < fixed_bytes) return damaged("region header of an impossible size");

  std::array<Extent, kMaxTables> extents{};
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const std::uint64_t begin = header.offset[i];
    const TableShape& table = tables[i];
    if (begin < header.header_bytes || begin > header.region_bytes || begin % 64 != 0) {
      return damaged("table outside of its region");
    }
    const std::uint64_t room = header.region_bytes - begin;
    if (table.element_bytes != 0 && table.count > room / table.element_bytes) {
      return damaged("table outside of its region");
    }
    extents[i] = {begin, begin + table.count * table.element_bytes};
  }
  const auto used = std::span(extents).first(tables.size());
  std::ranges::sort(used, {}, &Extent::begin);
  for (std::size_t i = 1; i < used.size(); ++i) {
    if (used[i].begin < used[i - 1].end) return damaged("tables overlap");
  }
  return {};
}

}  // namespace resmgr
