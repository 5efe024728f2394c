// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/region.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "resmgr/abi/region_file.hpp"
#include "resmgr/base/mapping.hpp"

namespace resmgr::registry {
namespace {

static_assert(sizeof(rm_entry) == 192 && offsetof(rm_entry, name) == 8);
static_assert(sizeof(rm_index_cell) == 32 && offsetof(rm_index_cell, identity) == 0);
static_assert(sizeof(rm_pair) == 64);
static_assert(sizeof(rm_dependency) == 32);
static_assert(sizeof(rm_share) == 16);
static_assert(sizeof(rm_tag) == 64);
static_assert(offsetof(rm_registry_region, index_state) % 64 == 0);
static_assert(offsetof(rm_registry_region, live) % 64 == 0);

constexpr const char* kFileName = "resmgr-registry";

// Nothing else is changed from one epoch to the next.
bool is_same_layout(rm_region_header one, const rm_region_header& other) noexcept {
  one.epoch = other.epoch;
  one.checksum = other.checksum;
  return std::memcmp(&one, &other, sizeof one) == 0;
}

// Copies what a file has, and leaves out what it never had pages for. `to` has as many bytes.
Result<void> copy_data(int from, std::span<std::byte> to) noexcept {
  const auto end = static_cast<off_t>(to.size());
  for (off_t at = 0; at < end;) {
    at = ::lseek(from, at, SEEK_DATA);
    if (at < 0 && errno == ENXIO) return {};
    if (at < 0) return fail_errno(errno, "lseek");
    const off_t hole = std::min(::lseek(from, at, SEEK_HOLE), end);
    while (at < hole) {
      const auto part =
          to.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(hole - at));
      const ssize_t bytes = ::pread(from, part.data(), part.size(), at);
      if (bytes < 0) return fail_errno(errno, "pread");
      if (bytes == 0) return fail(ErrorCode::System, "a region shorter than it was");
      at += bytes;
    }
  }
  return {};
}

// The header stays in the file as it is; only its address type changes.
template <typename T>
T* table(std::byte* base, const rm_region_header& header, rm_registry_table number) noexcept {
  return static_cast<T*>(static_cast<void*>(base + header.offset[number]));
}

Tables tables_of(std::byte* base, const rm_region_header& header) noexcept {
  auto* const root = static_cast<rm_registry_region*>(static_cast<void*>(base));
  return {
      .root = root,
      .entries = {table<Word>(base, header, RM_TABLE_ENTRIES), header.slots},
      .index_state = &root->index_state,
      .index = {table<Word>(base, header, RM_TABLE_INDEX), header.index_entries * 2},
      .pairs = {table<Word>(base, header, RM_TABLE_PAIRS), header.metadata_pairs},
      .dependencies = {table<Word>(base, header, RM_TABLE_DEPENDENCIES), header.dependency_edges},
      .shares = {table<Word>(base, header, RM_TABLE_SHARES), header.share_records},
      .classes = {table<Word>(base, header, RM_TABLE_CLASSES), header.classes},
      .drivers = {table<Word>(base, header, RM_TABLE_DRIVERS), header.drivers},
      .budgets = {.rows = table<rm_budget>(base, header, RM_TABLE_BUDGETS),
                  .accounts = table<rm_account>(base, header, RM_TABLE_ACCOUNTS),
                  .changes = &root->budget_changes,
                  .wanted = &root->budget_wanted,
                  .drivers = header.drivers,
                  .account_count = accounts_for(header.clients)},
      .tallies = Tallies(table<rm_tally>(base, header, RM_TABLE_TALLIES), header.drivers),
      .secrets = NameSecrets::of_domain(header.domain_id),
      .identity_end = Word{header.slots} << 32,
      .flags = header.flags,
  };
}

}  // namespace

std::array<TableShape, kRegistryTables> registry_shapes(const Capacities& capacities) noexcept {
  std::array<TableShape, kRegistryTables> shapes{};
  shapes[RM_TABLE_ENTRIES] = {capacities.slots, sizeof(rm_entry)};
  shapes[RM_TABLE_INDEX] = {std::uint64_t{2} * index_entries_for(capacities.slots),
                            sizeof(rm_index_cell)};
  shapes[RM_TABLE_PAIRS] = {capacities.pairs, sizeof(rm_pair)};
  shapes[RM_TABLE_DEPENDENCIES] = {capacities.dependencies, sizeof(rm_dependency)};
  shapes[RM_TABLE_SHARES] = {capacities.shares, sizeof(rm_share)};
  shapes[RM_TABLE_CLASSES] = {capacities.classes, sizeof(rm_tag)};
  shapes[RM_TABLE_DRIVERS] = {capacities.drivers, sizeof(rm_tag)};
  shapes[RM_TABLE_BUDGETS] = {std::uint64_t{capacities.drivers} * RM_RESOURCE_TYPES,
                              sizeof(rm_budget)};
  shapes[RM_TABLE_ACCOUNTS] = {accounts_for(capacities.clients), sizeof(rm_account)};
  shapes[RM_TABLE_TALLIES] = {std::uint64_t{capacities.drivers} * RM_RESOURCE_TYPES,
                              sizeof(rm_tally)};
  return shapes;
}

void reserve(const Tables& tables, void* begin, std::size_t bytes) noexcept {
  const auto* const base = static_cast<const std::byte*>(static_cast<const void*>(tables.root));
  const auto offset = static_cast<const std::byte*>(begin) - base;
  if (::fallocate(tables.file, 0, offset, static_cast<off_t>(bytes)) == 0) populate(begin, bytes);
}

std::unexpected<Error> table_full(const char* table, std::uint64_t requested,
                                  std::uint64_t available) noexcept {
  Error full(ErrorCode::CapacityExceeded, table);
  full.with_amounts(requested, available);
  return std::unexpected(std::move(full));
}

RegistryRegion::RegistryRegion(UniqueFd fd, Mapping mapping, Mapping::Access access,
                               const rm_region_header& header)
    : fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      access_(access),
      header_(header),
      tables_(tables_of(mapping_.data(), header_)) {
  current_ = std::make_unique<CurrentIndex>(*tables_.index_state, tables_.index);
  tables_.current = current_.get();
  tables_.file = fd_.get();
}

Result<RegistryRegion> RegistryRegion::create(const Capacities& capacities,
                                              const RegionIdentity& identity) {
  // Sizes are computed from the capacities, so these are checked before.
  if (auto ok = check_capacities(capacities, identity.flags); !ok) {
    return std::unexpected(std::move(ok.error()));
  }
  if (identity.first_generation == 0 ||
      identity.first_generation > highest_generation(identity.flags)) {
    return fail(ErrorCode::InvalidArgument, "a first generation that no handle has");
  }
  const auto shapes = registry_shapes(capacities);
  auto header =
      make_header(RM_REGISTRY_MAGIC, capacities, identity, sizeof(rm_registry_region), shapes);
  if (!header) return std::unexpected(std::move(header.error()));

  auto fd = create_region_file(kFileName, header->region_bytes);
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto mapping = Mapping::map_file(fd->get(), header->region_bytes, Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));

  RegistryRegion region(std::move(*fd), std::move(*mapping), Mapping::Access::ReadWrite, *header);
  std::memcpy(region.mapping_.data(), &*header, sizeof *header);
  // Entry 0 of both tables of names stands for "none".
  store_release(region.tables_.root->class_count, 1);
  store_release(region.tables_.root->driver_count, 1);
  store_release(region.tables_.root->index_state, kSmallestState);
  store_release(region.tables_.root->first_generation, identity.first_generation);
  return region;
}

Result<RegistryRegion> RegistryRegion::attach(UniqueFd fd, Mapping::Access access) {
  auto mapped = map_region_file(fd.get(), RM_REGISTRY_MAGIC, access);
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  const auto shapes = registry_shapes(capacities_of(mapped->header));
  if (auto ok = check_tables(mapped->header, sizeof(rm_registry_region), shapes); !ok) {
    return std::unexpected(std::move(ok.error()));
  }
  return RegistryRegion(std::move(fd), std::move(mapped->mapping), access, mapped->header);
}

Result<RegistryRegion> RegistryRegion::copy_of(const RegistryRegion& source, std::uint64_t epoch) {
  rm_region_header header = source.header();
  header.epoch = epoch;
  header.checksum = header_checksum(header);
  auto fd = create_region_file(kFileName, header.region_bytes);
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto mapping = Mapping::map_file(fd->get(), header.region_bytes, Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  if (auto copied = copy_data(source.fd(), mapping->bytes()); !copied) {
    return std::unexpected(std::move(copied.error()));
  }
  std::memcpy(mapping->data(), &header, sizeof header);
  return RegistryRegion(std::move(*fd), std::move(*mapping), Mapping::Access::ReadWrite, header);
}

Result<void> RegistryRegion::follow(UniqueFd later) {
  auto region = attach(std::move(later), Mapping::Access::Read);
  if (!region) return std::unexpected(std::move(region.error()));
  if (region->header_.epoch <= header_.epoch || !is_same_layout(region->header_, header_)) {
    return fail(ErrorCode::InvalidArgument, "not a later registry of this domain");
  }
  if (auto replaced = mapping_.replace(region->fd(), Mapping::Access::Read); !replaced) {
    return replaced;
  }
  // Under the same number, for others may be about to use it.
  if (::dup3(region->fd(), fd_.get(), O_CLOEXEC) < 0) return fail_errno(errno, "dup3");
  return {};
}

}  // namespace resmgr::registry
