// SPDX-License-Identifier: Apache-2.0
//
// PoolManager: the pools of a manager's domain, by name.
//
// What it is: what ResourceManager::pool_manager() returns: making, opening, finding and listing
// pools, and their numbers. What it is not: an owner of pools; hal::Pool is what gives blocks.
// Lifetime: a view of its manager, cheap to copy; it goes before the manager. Thread-safety: all
// functions from any thread.
//
//   auto pools = manager->pool_manager();
//   auto frames = pools.create_pool("gpu0/frames", {.block_bytes = 4096, .max_blocks =
//   256}).value(); hal::PoolStats stats = pools.get_pool_stats("gpu0/frames").value();
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <hal/export.hpp>
#include <hal/pool.hpp>
#include <hal/resource.hpp>

namespace hal {

class ResourceManager;

/// A pool of the domain.
struct PoolInfo {
  std::string name;
  Handle handle;
  DriverId owner;
  bool open = false;  ///< in this process
};

class HAL_EXPORT PoolManager {
 public:
  explicit PoolManager(ResourceManager& manager) noexcept : manager_(&manager) {}

  /// As Pool::create().
  [[nodiscard]] Result<Pool> create_pool(std::string_view name, const PoolOptions& options) const {
    return Pool::create(*manager_, name, options);
  }
  /// As Pool::attach().
  [[nodiscard]] Result<Pool> attach_pool(std::string_view name,
                                         const PoolAttachOptions& options = {}) const {
    return Pool::attach(*manager_, name, options);
  }
  [[nodiscard]] Result<Pool> attach_pool(Handle pool, const PoolAttachOptions& options = {}) const {
    return Pool::attach(*manager_, pool, options);
  }
  /// Errors: NotFound, InvalidName, InvalidArgument (not a pool), Disconnected, System.
  [[nodiscard]] Result<Handle> find_pool(std::string_view name) const;
  /// All that are registered. Errors: Disconnected, System.
  [[nodiscard]] Result<std::vector<PoolInfo>> pools() const;

  /// The numbers of a pool, with those of this process if it is open here, and on which nodes its
  /// memory lies: it looks at every group of blocks and at every page, so not for loops. One that
  /// is not open is opened for that on behalf of `driver`. Errors: as Pool::attach().
  [[nodiscard]] Result<PoolStats> get_pool_stats(Handle pool, DriverId driver = {}) const;
  [[nodiscard]] Result<PoolStats> get_pool_stats(std::string_view name, DriverId driver = {}) const;

 private:
  ResourceManager* manager_;
};

}  // namespace hal
