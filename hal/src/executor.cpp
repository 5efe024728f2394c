// SPDX-License-Identifier: Apache-2.0
#include <hal/executor.hpp>

#include "resmgr/lock/executor.hpp"

namespace hal {

ExecutorScope::ExecutorScope() noexcept { resmgr::lock::ExecutorScope::enter(); }
ExecutorScope::~ExecutorScope() { resmgr::lock::ExecutorScope::leave(); }
bool ExecutorScope::inside() noexcept { return resmgr::lock::ExecutorScope::inside(); }

}  // namespace hal
