// SPDX-License-Identifier: Apache-2.0
#include "resmgr/lock/executor.hpp"

namespace resmgr::lock {
namespace {

constinit thread_local std::uint32_t depth = 0;

}  // namespace

void ExecutorScope::enter() noexcept { ++depth; }
void ExecutorScope::leave() noexcept { --depth; }
bool ExecutorScope::inside() noexcept { return depth != 0; }

}  // namespace resmgr::lock
