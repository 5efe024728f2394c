// SPDX-License-Identifier: Apache-2.0
//
// LockEngine::Wait: one wait, from its node being taken to its outcome.
//
// What it is: what the files of the engine that wait tell each other about it. What it is not: part
// of the engine's interface; wait.cpp and deadlock.cpp include it. Lifetime: on the stack of the
// waiting thread. Thread-safety: his alone.
#pragma once

#include <cstdint>
#include <memory>

#include "resmgr/base/error.hpp"
#include "resmgr/lock/engine.hpp"

namespace resmgr::lock {

struct LockEngine::Wait {
  rm_slot& slot;
  Handle handle;
  const Request& request;
  std::uint64_t deadline_ns = kNoDeadline;
  Waiter waiter{};                        ///< as published
  rm_cell* cell = nullptr;                ///< of a shared request, or of the hold to upgrade
  std::unique_ptr<ErrorDetail> report{};  ///< the cycle, once it is known
};

}  // namespace resmgr::lock
