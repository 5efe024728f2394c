// SPDX-License-Identifier: Apache-2.0
#include <hal/pool_manager.hpp>

#include <memory>
#include <utility>

#include <hal/resource_manager.hpp>

#include "hal/src/guard.hpp"
#include "resmgr/client/domain.hpp"
#include "resmgr/pool/block_pool.hpp"

namespace hal {
namespace {

using resmgr::fail;
using resmgr::pool::BlockPool;

bool is_pool(const ResourceInfo& info) noexcept {
  return info.metadata.type == ResourceType::Memory && info.metadata.class_name == "pool";
}

/// With the pages, where the kernel says where they are.
PoolStats with_nodes(const BlockPool& pool) {
  constexpr std::uint64_t kPageBytes = 4096;
  PoolStats stats = pool.statistics();
  if (auto pages = pool.nodes()) {
    for (std::uint64_t& count : pages->by_node) count *= kPageBytes;
    stats.node_bytes = std::move(pages->by_node);
  }
  return stats;
}

}  // namespace

PoolManager ResourceManager::pool_manager() noexcept { return PoolManager(*this); }

Result<Handle> PoolManager::find_pool(std::string_view name) const {
  const auto handle = manager_->find(name);
  if (!handle) return handle;
  const auto info = manager_->info(*handle);
  if (!info) return std::unexpected(info.error());
  if (!is_pool(*info)) return fail(ErrorCode::InvalidArgument, "not a pool");
  return handle;
}

Result<std::vector<PoolInfo>> PoolManager::pools() const {
  return guard("pools", [&]() -> Result<std::vector<PoolInfo>> {
    std::vector<PoolInfo> found;
    const auto visited = manager_->for_each([&](const ResourceInfo& info) {
      if (is_pool(info)) {
        const bool open = manager_->domain()->pools().find(info.handle) != nullptr;
        found.push_back(
            {.name = info.name, .handle = info.handle, .owner = info.owner, .open = open});
      }
      return true;
    });
    if (!visited) return std::unexpected(visited.error());
    return found;
  });
}

Result<PoolStats> PoolManager::get_pool_stats(Handle pool, DriverId driver) const {
  return guard("pool statistics", [&]() -> Result<PoolStats> {
    const auto info = manager_->info(pool);
    if (!info) return std::unexpected(info.error());
    if (const auto open = manager_->domain()->pools().find(info->handle)) return with_nodes(*open);
    auto attached = Pool::attach(*manager_, info->handle, {.driver = driver});
    if (!attached) return std::unexpected(std::move(attached.error()));
    const auto mine = manager_->domain()->pools().find(info->handle);
    if (!mine) return fail(ErrorCode::Disconnected, "pool");
    return with_nodes(*mine);
  });
}

Result<PoolStats> PoolManager::get_pool_stats(std::string_view name, DriverId driver) const {
  const auto handle = find_pool(name);
  if (!handle) return std::unexpected(handle.error());
  return get_pool_stats(*handle, driver);
}

}  // namespace hal
