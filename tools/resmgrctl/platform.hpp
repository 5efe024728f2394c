// SPDX-License-Identifier: Apache-2.0
//
// What a domain has to work with on this machine, and what it is made like.
//
// What it is: a Platform and a Profile as text or JSON, for whoever sets a domain up. What it is
// not: a look at a domain. Lifetime and thread-safety: pure functions.
//
//   fmt::print("{}", show_platform(platform, profile, json));
#pragma once

#include <string>

#include "resmgr/budget/platform.hpp"
#include "resmgr/budget/profile.hpp"

namespace resmgrctl {

[[nodiscard]] std::string show_platform(const resmgr::budget::Platform& platform,
                                        const resmgr::budget::Profile& profile, bool json);

}  // namespace resmgrctl
