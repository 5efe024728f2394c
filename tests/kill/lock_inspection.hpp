// SPDX-License-Identifier: Apache-2.0
//
// What must be true of a lock region once its dead are recovered, and living ones who wait in it.
//
// What it is: checks of single words, waits and pools, each an expectation of the running test, and
// queue_up(), which lets a context wait that has no thread. What it is not: recovery itself, nor a
// look at what a registry says. Lifetime: an inspection borrows tables and ids. Thread-safety:
// nobody else may be in the region.
//
//   rm_node& node = queue_up(tables, context, handle, RM_WAIT_EXCLUSIVE, 1);
//   ...                                             // somebody dies, and recovery runs
//   const LockInspection inspection(tables, dead_contexts);
//   inspection.word_is_settled(handle);
//   inspection.wait_is_served_or_blocked(node);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "resmgr/abi/capacities.hpp"
#include "resmgr/base/handle.hpp"
#include "resmgr/lock/context.hpp"
#include "resmgr/lock/tables.hpp"

namespace resmgr::lock::test {

/// Of a domain with clients up to that number, in which one is stopped step by step: as little
/// memory as it takes, for all of it is compared after each instruction.
[[nodiscard]] constexpr Capacities tiny_capacities(std::uint32_t last_client) noexcept {
  return {.slots = 8,
          .contexts = 8,
          .clients = last_client + 1,
          .nodes = 16,
          .cells = 32,
          .classes = 2,
          .drivers = 2,
          .pairs = 0,
          .dependencies = 0,
          .shares = 0};
}

/// `who` asks for the resource and sleeps: its node is in the queue. `mode`: RM_WAIT_*.
rm_node& queue_up(const LockTables& tables, Context& who, Handle handle, std::uint8_t mode,
                  std::uint64_t ticket);

class LockInspection {
 public:
  /// `dead`: the contexts that nothing may name any more.
  LockInspection(const LockTables& tables, std::span<const std::uint16_t> dead) noexcept
      : t_(tables), dead_(dead) {}

  /// Nobody is in the middle of anything, and who holds is alive and may (I1 to I4).
  void word_is_settled(Handle handle) const;
  /// I6
  void wait_is_served_or_blocked(const rm_node& node) const;
  /// `waits`: how many requests of the living have a node.
  void nothing_is_lost(std::size_t waits) const;

 private:
  [[nodiscard]] bool is_dead(std::uint32_t context) const;
  [[nodiscard]] std::size_t taken_nodes() const;

  const LockTables& t_;
  std::span<const std::uint16_t> dead_;
};

}  // namespace resmgr::lock::test
