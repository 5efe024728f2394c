// SPDX-License-Identifier: Apache-2.0
//
// Wait: one wait, from its node being taken to its outcome.
//
// What it is: what the files of the engine that wait tell each other about it, and what stays of a
// wait that no thread sleeps for: between LockEngine::begin() and finish() it is in the lists of
// its context, by address. What it is not: the truth about a wait, which is its node. Lifetime: on
// the stack of the waiting thread, or until finish(). Thread-safety: that of its context.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "resmgr/base/error.hpp"
#include "resmgr/lock/engine.hpp"

namespace resmgr::lock {

/// How a request waits that is not an upgrade.
[[nodiscard]] constexpr std::uint8_t mode_of(HoldKind kind) noexcept {
  return kind == HoldKind::Shared ? RM_WAIT_SHARED : RM_WAIT_EXCLUSIVE;
}

/// What is said where no node is left for one more wait.
[[nodiscard]] inline std::unexpected<Error> out_of_nodes(const LockTables& tables) {
  Error error(ErrorCode::CapacityExceeded, "waits");
  error.with_amounts(std::uint64_t{tables.node_count} + 1, tables.node_count);
  return std::unexpected(std::move(error));
}

struct Wait {
  Handle handle;
  Request request;
  rm_slot* slot = nullptr;  ///< null: it was not begun, or its context was closed; then,
  ErrorCode ended = ErrorCode::Disconnected;  ///< what its outcome is
  std::uint64_t deadline_ns = kNoDeadline;
  std::uint32_t wake_target = 0;          ///< as rm_node.wake_target; for begin()
  bool of_a_thread = false;               ///< which waits for nothing else, and spins first
  Waiter waiter{};                        ///< as published
  Account account{};                      ///< where it is counted
  rm_cell* cell = nullptr;                ///< of a shared request, or of the hold to upgrade
  std::unique_ptr<ErrorDetail> report{};  ///< the cycle, once it is known
  std::uint16_t rank_looked_at = 0;       ///< when cycles were looked for last
  /// Of a wait for any of several, whose own node stands in no queue: where it waits.
  std::span<Wait> members{};
  std::uint32_t members_waiting = 0;  ///< as looked at last
  Wait* whole = nullptr;              ///< of a member
  /// The neighbours in the context's list of waits, which is that of the nodes: a wait that is
  /// somewhere in the middle leaves it without a walk.
  Wait* newer = nullptr;
  Wait* older = nullptr;

  [[nodiscard]] bool is_for_any() const noexcept { return !members.empty(); }
  [[nodiscard]] bool timed() const noexcept {
    return request.mode == AcquisitionMode::Timeout || request.mode == AcquisitionMode::Emergency;
  }
  /// From here on it is to be called elsewhere, as rm_node.wake_target. REQUIRES: it is begun, and
  /// sleep_on() follows. (Seq_cst, as that and who decides: either finds what the other did.)
  void call_at(std::uint32_t target) noexcept {
    wake_target = target;
    store(waiter.node->wake_target, target);
  }
};

/// E2 for a node that is in the inbox: whether an exclusive holder will serve it when he lets go.
[[nodiscard]] bool leave_to_holder(rm_slot& slot, std::uint32_t generation) noexcept;

}  // namespace resmgr::lock
