// SPDX-License-Identifier: Apache-2.0
//
// PoolList: the pools that this process uses as a client of one domain.
//
// What it is: who is closed when the process leaves the domain, and its number of an owner is
// somebody else's; and where a pool that is open already is found. What it is not: an owner.
// Lifetime: of its domain. Thread-safety: all functions from any thread.
//
//   domain.pools().add(handle, pool);
//   domain.pools().find(handle);        // null: not open here
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "resmgr/base/handle.hpp"

namespace resmgr::pool {
class BlockPool;
}

namespace resmgr::client {

class PoolList {
 public:
  /// False: the domain is closed, and so is the pool now. May throw std::bad_alloc.
  [[nodiscard]] bool add(Handle handle, const std::shared_ptr<pool::BlockPool>& pool);
  /// Null: not open here.
  [[nodiscard]] std::shared_ptr<pool::BlockPool> find(Handle handle) const noexcept;
  /// All that there are, and all that come. REQUIRES: nobody is inside a call of one.
  void close() noexcept;

 private:
  struct Open {
    Handle handle;
    std::weak_ptr<pool::BlockPool> pool;
  };

  mutable std::mutex mutex_;
  std::vector<Open> open_;
  bool closed_ = false;
};

}  // namespace resmgr::client
