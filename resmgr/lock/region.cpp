// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/region.hpp"

#include <sys/stat.h>

#include <array>
#include <cstring>
#include <utility>

namespace resmgr::lock {
namespace {

static_assert(sizeof(rm_wait_row) == std::size_t{18} * 64 && sizeof(rm_slot_waits) == 32);

// In the order of enum rm_lock_table.
std::array<TableShape, 15> shapes(const Capacities& c) noexcept {
  return {{{c.slots, sizeof(rm_slot)},
           {c.nodes, sizeof(rm_node)},
           {c.cells, sizeof(rm_cell)},
           {c.contexts, sizeof(rm_context)},
           {c.clients, sizeof(rm_client)},
           {std::uint64_t{c.contexts} * RM_TRACE_RECORDS, sizeof(rm_trace_record)},
           {std::uint64_t{RM_MAX_CLASSES} * (RM_MAX_CLASSES / 64), sizeof(std::uint64_t)},
           {RM_ORDER_EDGES, sizeof(rm_order_edge)},
           {(std::uint64_t{c.nodes} + 63) / 64, sizeof(std::uint64_t)},
           {(std::uint64_t{c.cells} + 63) / 64, sizeof(std::uint64_t)},
           {(std::uint64_t{c.nodes} + 63) / 64, sizeof(std::uint64_t)},
           {c.slots, sizeof(std::uint64_t)},
           {accounts_for(c.clients), sizeof(rm_credits)},
           {std::uint64_t{c.drivers} * RM_RESOURCE_TYPES, sizeof(rm_wait_row)},
           {c.slots, sizeof(rm_slot_waits)}}};
}

}  // namespace

Result<LockRegion> LockRegion::create(const Capacities& capacities,
                                      const RegionIdentity& identity) {
  const auto tables = shapes(capacities);
  auto header = make_header(RM_LOCK_MAGIC, capacities, identity, sizeof(rm_lock_region), tables);
  if (!header) return std::unexpected(std::move(header.error()));
  auto fd = create_region_file("resmgr-locks", header->region_bytes);
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto mapping = Mapping::map_file(fd->get(), header->region_bytes, Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  std::memcpy(mapping->data(), &*header, sizeof(*header));
  LockRegion region(std::move(*fd), std::move(*mapping), *header);
  store_relaxed(region.tables_.region->trace_level, static_cast<std::uint32_t>(RM_TRACE_CONTENDED));
  return region;
}

Result<LockRegion> LockRegion::attach(UniqueFd fd) {
  auto mapped = map_region_file(fd.get(), RM_LOCK_MAGIC, Mapping::Access::ReadWrite);
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  const auto tables = shapes(capacities_of(mapped->header));
  if (auto ok = check_tables(mapped->header, sizeof(rm_lock_region), tables); !ok) {
    return std::unexpected(std::move(ok.error()));
  }
  return LockRegion(std::move(fd), std::move(mapped->mapping), mapped->header);
}

Result<LockRegion> LockRegion::adopt(UniqueFd fd, const rm_region_header& registry) {
  const Capacities capacities = capacities_of(registry);
  const RegionIdentity identity{
      .domain_id = registry.domain_id, .epoch = registry.epoch, .flags = registry.flags};
  auto header =
      make_header(RM_LOCK_MAGIC, capacities, identity, sizeof(rm_lock_region), shapes(capacities));
  if (!header) return std::unexpected(std::move(header.error()));
  auto mapping = map_sealed_file(fd.get(), Mapping::Access::ReadWrite);
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  if (mapping->size() != header->region_bytes) {
    return fail(ErrorCode::InvalidArgument,
                "the lock region has another size than its registry says");
  }
  header->layout_minor = registry.layout_minor;
  header->checksum = header_checksum(*header);
  std::memcpy(mapping->data(), &*header, sizeof(*header));
  return LockRegion(std::move(fd), std::move(*mapping), *header);
}

LockRegion::LockRegion(UniqueFd fd, Mapping mapping, const rm_region_header& header) noexcept
    : fd_(std::move(fd)), mapping_(std::move(mapping)), header_(header) {
  const auto at = [&]<typename T>(T*& table, unsigned number) {
    table = reinterpret_cast<T*>(mapping_.data() + header_.offset[number]);
  };
  tables_.region = reinterpret_cast<rm_lock_region*>(mapping_.data());
  at(tables_.slots, RM_TABLE_SLOTS);
  at(tables_.nodes, RM_TABLE_NODES);
  at(tables_.cells, RM_TABLE_CELLS);
  at(tables_.contexts, RM_TABLE_CONTEXTS);
  at(tables_.clients, RM_TABLE_CLIENTS);
  at(tables_.trace, RM_TABLE_TRACE);
  at(tables_.order_bits, RM_TABLE_ORDER_BITS);
  at(tables_.order_edges, RM_TABLE_ORDER_EDGES);
  at(tables_.nodes_taken, RM_TABLE_NODES_TAKEN);
  at(tables_.cells_taken, RM_TABLE_CELLS_TAKEN);
  at(tables_.nodes_ready, RM_TABLE_NODES_READY);
  at(tables_.meters, RM_TABLE_METERS);
  at(tables_.credits, RM_TABLE_CREDITS);
  at(tables_.wait_rows, RM_TABLE_WAIT_ROWS);
  at(tables_.slot_waits, RM_TABLE_SLOT_WAITS);
  tables_.slot_count = header_.slots;
  tables_.node_count = header_.nodes;
  tables_.cell_count = header_.cells;
  tables_.context_count = header_.contexts;
  tables_.client_count = header_.clients;
  tables_.credit_count = accounts_for(header_.clients);
  tables_.wait_row_count = header_.drivers * RM_RESOURCE_TYPES;
}

std::uint64_t LockRegion::resident_bytes() const noexcept {
  struct stat status{};
  return ::fstat(fd_.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

}  // namespace resmgr::lock
