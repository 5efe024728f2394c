// SPDX-License-Identifier: Apache-2.0
//
// Recorder: the flight recorder's writing side.
//
// What it is: one ring of 32-byte records for each context, in the lock region, so that it survives
// its process. At the default level only contended and lifecycle events are written; an uncontended
// pair costs one load. What it is not: a log; old records are overwritten. Readers check that
// `time` is not 0 and unchanged after they copied a record.
//
// Arguments by operation: WAIT, TIMEOUT: the owner's context. GRANT: nanoseconds waited. RELEASE:
// 0. DEADLOCK: the victim's context. ORDER: held class << 16 | acquired class. LEND: the priority.
// SHARE: the driver. ASK, FENCE: the holder's context. YIELD: how many hold it. QUIESCE: why it is
// not quiet (resmgr::ErrorCode), or 0. Thread-safety: any thread; two threads of one context don't
// share a record.
#pragma once

#include <cstdint>

#include "resmgr/abi/layout.h"
#include "resmgr/base/atomic.hpp"

namespace resmgr::trace {

class Recorder {
 public:
  Recorder() noexcept = default;
  /// `rings` has RM_TRACE_RECORDS records for each of `contexts` contexts.
  Recorder(rm_trace_record* rings, std::uint32_t contexts, const std::uint32_t& level) noexcept
      : rings_(rings), contexts_(contexts), level_(&level) {}

  [[nodiscard]] bool enabled(rm_trace_level level) const noexcept {
    return load_relaxed(*level_) >= static_cast<std::uint32_t>(level);
  }

  /// Writes one record into the ring of context `id`, whose record is `context`. `now` as of
  /// Clock::now(): whoever records has mostly read the clock already.
  void record(rm_context& context, std::uint32_t id, rm_trace_op operation, std::uint8_t mode,
              std::uint32_t slot, std::uint32_t generation, std::uint64_t argument,
              std::uint64_t now) const noexcept {
    if (id - 1 >= contexts_) return;
    const std::uint64_t head = atomic(context.trace_head).fetch_add(1, std::memory_order_relaxed);
    rm_trace_record& to =
        rings_[std::uint64_t{id - 1} * RM_TRACE_RECORDS + head % RM_TRACE_RECORDS];
    // 0 marks the record as being written; the releases keep the fields between the two stores.
    store_relaxed(to.time, 0);
    store_release(to.slot, slot);
    store_release(to.generation, generation);
    store_release(to.argument, argument);
    store_release(to.context, static_cast<std::uint16_t>(id));
    store_release(to.operation, static_cast<std::uint8_t>(operation));
    store_release(to.mode, mode);
    store_release(to.time, now);
  }

 private:
  rm_trace_record* rings_ = nullptr;
  std::uint32_t contexts_ = 0;
  const std::uint32_t* level_ = nullptr;
};

}  // namespace resmgr::trace
