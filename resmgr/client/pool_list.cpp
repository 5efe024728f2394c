// SPDX-License-Identifier: Apache-2.0
#include "resmgr/client/pool_list.hpp"

#include <vector>

#include "resmgr/pool/block_pool.hpp"

namespace resmgr::client {

bool PoolList::add(Handle handle, const std::shared_ptr<pool::BlockPool>& pool) {
  const std::lock_guard lock(mutex_);
  std::erase_if(open_, [](const Open& open) { return open.pool.expired(); });
  if (closed_) {
    pool->close();
    return false;
  }
  open_.push_back({handle, pool});
  return true;
}

std::shared_ptr<pool::BlockPool> PoolList::find(Handle handle) const noexcept {
  const std::lock_guard lock(mutex_);
  for (const Open& open : open_) {
    if (open.handle != handle) continue;
    if (auto pool = open.pool.lock()) return pool;
  }
  return nullptr;
}

void PoolList::close() noexcept {
  std::vector<Open> open;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    open.swap(open_);
  }
  for (const Open& each : open) {
    if (const auto pool = each.pool.lock()) pool->close();
  }
}

}  // namespace resmgr::client
