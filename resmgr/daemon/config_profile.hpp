// SPDX-License-Identifier: Apache-2.0
//
// A profile in a configuration: what the file leaves out is as the machine has room for.
//
// What it is: budget::Profile put where no key and no rule of the file is. What it is not: a choice
// of its own; nor anything that changes while a domain lives, but its budgets, as with each reload.
// Lifetime: borrows for the call. Thread-safety: pure functions.
//
//   apply_profile(config, given, detect_platform());
#pragma once

#include "resmgr/budget/platform.hpp"
#include "resmgr/daemon/config.hpp"
#include "resmgr/daemon/config_checks.hpp"

namespace resmgr::daemon {

/// Sizes of tables that no key names, and budgets of all drivers together that no rule is about.
/// Nothing where the file asks for no profile. May throw std::bad_alloc.
void apply_profile(Config& config, const GivenConfig& given, const budget::Platform& platform);

}  // namespace resmgr::daemon
