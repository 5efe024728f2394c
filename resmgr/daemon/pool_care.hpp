// SPDX-License-Identifier: Apache-2.0
//
// PoolCare: the block pools behind a domain's resources, and what the dead had in them.
//
// What it is: who could have blocks of which pool, and the return of what he had when he died, in
// steps that delay nobody. What it is not: the files, which the clerk has; nor in anybody's way who
// allocates or frees.
//
// A resource of type Memory and class "pool" is one if the file that it was registered with is the
// memory of a pool; another file is refused for it. Pools of reserved huge pages are refused too:
// any process that has one could have this one stopped by SIGBUS.
//
// A pool that is not registered any more is nobody's care: who dies then takes his blocks along.
//
// Lifetime: borrows the files. Thread-safety: one thread.
//
//   if (auto usable = PoolCare::check(file.get()); !usable) return refused(usable.error());
//   pools.keep(handle, client);
//   pools.opened(handle, another);
//   pools.bury(another);
//   while (!pools.proceed()) serve_others();   // then his number is free
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "resmgr/base/error.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/base/types.hpp"
#include "resmgr/base/unique_fd.hpp"
#include "resmgr/pool/pool_recovery.hpp"

namespace resmgr::daemon {

class PoolCare {
 public:
  using Files = std::unordered_map<Handle, UniqueFd>;
  /// `files`: behind resources, those of pools too.
  explicit PoolCare(const Files& files) noexcept : files_(files) {}

  /// Whether a resource of that type and class has to be a pool.
  [[nodiscard]] static bool is_pool(ResourceType type, std::string_view class_name) noexcept {
    return type == ResourceType::Memory && class_name == "pool";
  }
  /// Errors: those of PoolRegion::attach(), InvalidArgument (of huge pages).
  [[nodiscard]] static Result<void> check(int file);

  /// Its file is kept from now on, by a client, who may have blocks of it.
  void keep(Handle handle, std::uint32_t client);
  /// A predecessor's: any client may have blocks of it. What is no pool is left out.
  void inherit(Handle handle);
  void drop(Handle handle) noexcept { pools_.erase(handle); }
  [[nodiscard]] bool contains(Handle handle) const noexcept { return pools_.contains(handle); }
  /// A client was given the file for writing.
  void opened(Handle handle, std::uint32_t client);

  /// The client is dead. Its number stays its own until proceed() has returned true.
  void bury(std::uint32_t client);
  /// Goes on with what the dead had. Returns whether nothing is left.
  [[nodiscard]] bool proceed();

 private:
  struct Pool {
    bool everybodys = false;
    std::vector<std::uint32_t> clients = {};  ///< who may have blocks
  };
  struct Grave {
    Handle handle;
    std::uint32_t client = 0;
    int attempts = 0;  ///< to map the pool
  };
  /// A moment without a descriptor or an address left passes; a pool that can't be mapped stays so.
  static constexpr int kAttempts = 1000;
  /// A whole pool of ordinary size; of the largest one some hundredths of a second.
  static constexpr std::uint32_t kGroupsAStep = 1u << 16;

  /// Errors: System, CapacityExceeded (they may pass); NotFound and those of check() (for good).
  [[nodiscard]] Result<pool::PoolRecovery> begin(const Grave& grave) const;
  /// Whether there is nothing (more) to do about the first grave.
  [[nodiscard]] bool dig();

  const Files& files_;
  std::unordered_map<Handle, Pool> pools_;
  std::deque<Grave> graves_;
  std::optional<pool::PoolRecovery> digging_;  ///< the first of them
};

}  // namespace resmgr::daemon
