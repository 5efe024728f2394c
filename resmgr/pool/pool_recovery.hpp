// SPDX-License-Identifier: Apache-2.0
//
// PoolRecovery: takes back what a dead process had in a pool, in small steps, for who can't trust
// the pool.
//
// What it is: Depot::recover() for resmgrd, which serves others meanwhile. What stands in the pool
// is copied by read(), and the mapping is touched only where the copy says that the dead had
// something: so pages that nobody wrote cost nobody memory, and a pool of any size delays nobody.
// What it is not: needed by processes that use the pool. It can be dropped between two steps and
// begun anew, by another process too.
//
// Lifetime: owns a mapping of its own. Thread-safety: one thread.
//
//   auto recovery = PoolRecovery::begin(std::move(fd), owner).value();
//   while (!recovery.step(1 << 16)) serve_others();
#pragma once

#include <cstdint>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/pool/depot.hpp"
#include "resmgr/pool/pool_region.hpp"
#include "resmgr/pool/words.hpp"

namespace resmgr::pool {

class PoolRecovery {
 public:
  /// REQUIRES: as Depot::recover(), until step() has returned true. Errors: those of
  /// PoolRegion::attach(). May throw std::bad_alloc.
  [[nodiscard]] static Result<PoolRecovery> begin(UniqueFd fd, Owner dead);
  /// Looks at about so many groups more. Returns whether that was all.
  [[nodiscard]] bool step(std::uint32_t groups) noexcept;
  /// Blocks that came back, so far.
  [[nodiscard]] std::uint32_t recovered() const noexcept { return recovered_; }

 private:
  /// Groups that are copied at once: their words fill a page.
  static constexpr std::uint32_t kChunk = 512;

  PoolRecovery(PoolRegion region, Owner dead);
  void look_at(std::uint32_t groups) noexcept;
  [[nodiscard]] bool has_something(std::uint32_t place) const noexcept;

  PoolRegion region_;
  Depot depot_;
  Owner dead_;
  std::uint32_t next_ = 0;  ///< group
  std::uint32_t end_;
  std::uint32_t recovered_ = 0;
  std::vector<std::uint64_t> words_;
  std::vector<std::uint16_t> tags_;
};

}  // namespace resmgr::pool
