// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/pool_care.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "resmgr/pool/pool_region.hpp"

namespace resmgr::daemon {

Result<void> PoolCare::check(int file) {
  UniqueFd copy(::fcntl(file, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno(errno, "a pool's descriptor");
  const auto region = pool::PoolRegion::attach(std::move(copy));
  if (!region) return std::unexpected(region.error());
  if (region->geometry().huge_pages) {
    return fail(ErrorCode::InvalidArgument, "a pool of reserved huge pages is its process's alone");
  }
  return {};
}

void PoolCare::keep(Handle handle, std::uint32_t client) {
  pools_.try_emplace(handle);
  opened(handle, client);
}

void PoolCare::inherit(Handle handle) {
  const auto file = files_.find(handle);
  if (file == files_.end() || !check(file->second.get())) return;
  pools_[handle] = {.everybodys = true};
}

void PoolCare::opened(Handle handle, std::uint32_t client) {
  const auto found = pools_.find(handle);
  if (found == pools_.end()) return;
  std::vector<std::uint32_t>& clients = found->second.clients;
  if (std::ranges::find(clients, client) == clients.end()) clients.push_back(client);
}

void PoolCare::bury(std::uint32_t client) {
  for (auto& [handle, pool] : pools_) {
    if (std::erase(pool.clients, client) != 0 || pool.everybodys) {
      graves_.push_back({handle, client});
    }
  }
}

Result<pool::PoolRecovery> PoolCare::begin(const Grave& grave) const {
  const auto file = files_.find(grave.handle);
  if (file == files_.end()) return fail(ErrorCode::NotFound, "the pool is not registered any more");
  auto copy = file->second.duplicate();
  if (!copy) return std::unexpected(std::move(copy.error()));
  // Blocks are owned by numbers of clients, and 1, for that 0 is nobody.
  return pool::PoolRecovery::begin(std::move(*copy), static_cast<pool::Owner>(grave.client + 1));
}

bool PoolCare::dig() {
  if (!digging_) {
    Grave& grave = graves_.front();
    auto begun = begin(grave);
    if (!begun) {
      const bool passes =
          begun.error() == ErrorCode::System || begun.error() == ErrorCode::CapacityExceeded;
      return !passes || ++grave.attempts == kAttempts;
    }
    digging_ = std::move(*begun);
  }
  return digging_->step(kGroupsAStep);
}

bool PoolCare::proceed() {
  if (!graves_.empty() && dig()) {
    digging_.reset();
    graves_.pop_front();
  }
  return graves_.empty();
}

}  // namespace resmgr::daemon
